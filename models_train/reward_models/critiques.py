"""Critiques between texts and training: written by a language model, read as token ids, and given to pairs.

Three kinds of pairs of the same preferences: with critiques of their own responses (`own`), with critiques of other
responses (`others`, a placebo), and with true critiques that are given (`true`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from models_train.data.chat import Rendered as Read
from models_train.data.chat import Renderer, RenderError, answer_alone
from models_train.data.critiques import asking, critique_of, own_score
from models_train.data.records import Preference, Prompt, prompt_id
from models_train.errors import UserError
from models_train.logprobs.packed_engine import rows_that_count
from models_train.modeling.base_models import ModelSource
from models_train.policies.prompts import PolicyPrompt
from models_train.policies.sampling import LENGTH, STOP, PolicyText, TransformersEngine, sampled_rows
from models_train.reward_models.data import CritiquedPair, CritiquedResponse, Rendered
from models_train.study.teachers import Policy
from models_train.study.training import CritiqueRecipe, Precision
from warehouse.contracts.responses import OK

GIVEN = "given"
"""finish_reason of a critique that was not written here."""
MISSING = "no critique of this response is given"
CONTRADICTING, TIED, WITHOUT_SCORE, WITHOUT_CRITIQUE = "contradicting", "tied", "without_score", "without_critique"
"""Reasons for which a pair with its own critiques is left out."""

Advance = Callable[[int, int], None]
"""Called with numbers of critiques, and of tokens."""


@dataclass(frozen=True)
class Written:
    """A critique, or why there is none. status: ok, or the reason; a critique that was cut is not ok, and keeps its
    text. n_tokens: written, the end included; None for one that is given."""

    text: str
    n_tokens: int | None
    finish_reason: str
    status: str

    @classmethod
    def given(cls, text: str | None) -> Written:
        """A critique that is given; None where there is none."""
        return cls(text or "", None, GIVEN, MISSING if text is None else OK)


class CritiqueReader:
    """Prompt, response and critique as the token ids that a critique reward model reads."""

    def __init__(self, renderer: Renderer, request: str) -> None:
        self.renderer, self.request = renderer, request

    def asked(self, prompt: Prompt, response: str) -> Prompt:
        """The conversation that asks for a critique. Raises RenderError for a response without text."""
        if not response.strip():
            raise RenderError("empty response")
        answer = answer_alone(response) if self.renderer.thoughts == "cut" else response
        return asking(prompt, answer, self.request)

    def read(self, prompt: Prompt, response: str, critique: str) -> Read:
        """Token ids, of which the first `n_prompt_tokens` come before the critique. Raises RenderError, TooLong."""
        return self.renderer.render(self.asked(prompt, response), critique)

    def response(self, prompt: Prompt, response: str, critique: str) -> tuple[CritiquedResponse, Sequence[Read]]:
        """An example of one response."""
        read = self.read(prompt, response, critique)
        return CritiquedResponse(read.token_ids, read.n_prompt_tokens), (read,)

    def pair(self, one: Preference, critiques: tuple[str, str]) -> tuple[CritiquedPair, Sequence[Read]]:
        """An example of a pair. critiques: of the chosen and the rejected response."""
        both = [
            self.read(one.prompt, response, critique)
            for response, critique in zip((one.chosen, one.rejected), critiques, strict=True)
        ]
        chosen, rejected = both
        starts = chosen.n_prompt_tokens, rejected.n_prompt_tokens
        return CritiquedPair(chosen.token_ids, rejected.token_ids, starts), both


class CritiqueWriter:
    """A language model that writes critiques of at most `recipe.critique_tokens` tokens, by Transformers.

    model: with an attention that takes a cache. name: of the reward model; a part of every seed, so that a critique
    depends on model, prompt, response and number alone. greedy: the likeliest token each time, else at temperature 1.
    Raises UserError where critiques leave no room for prompts.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        source: ModelSource,
        tokenizer: PreTrainedTokenizerBase,
        config: PreTrainedConfig,
        recipe: CritiqueRecipe,
        precision: Precision,
        *,
        greedy: bool,
        name: str,
    ) -> None:
        policy = Policy(
            policy_id=name,
            model_id=source.name,
            max_tokens=recipe.critique_tokens,
            top_k=1 if greedy else 0,
            precision=precision,
        )
        self._text = PolicyText(policy, tokenizer, config)
        n_rows = rows_that_count(model, self._text.largest_token_id)
        self._engine = TransformersEngine(model, policy, self._text.ends(source), n_rows)

    def write(
        self, asked: Sequence[Prompt | str], n_each: int, advance: Advance | None = None
    ) -> list[tuple[Written, ...]]:
        """`n_each` critiques for each conversation that asks for one; equal ones get equal critiques.

        asked: or the reason why there is no conversation, which becomes the status.
        """
        names = [None if isinstance(one, str) else prompt_id(one) for one in asked]
        distinct = {name: one for name, one in zip(names, asked, strict=True) if name and not isinstance(one, str)}
        # Side by side are those of about the same length: a batch is as long as its longest prompt.
        prompts = [
            PolicyPrompt("critiques", name, "measure", turns, "")
            for name, turns in sorted(distinct.items(), key=lambda one: (_length(one[1]), one[0]))
        ]
        rows = sampled_rows(self._engine, self._text, prompts, range(n_each), advance) if prompts else []
        found: dict[str | None, list[Written]] = {}
        for row in rows:
            found.setdefault(row["prompt_id"], []).append(self._written(row))
        return [
            (Written("", None, "error", one),) * n_each if isinstance(one, str) else tuple(found[name])
            for name, one in zip(names, asked, strict=True)
        ]

    def _written(self, row: Mapping[str, Any]) -> Written:
        status, text = row["status"], row["text"].strip()
        if status == OK and row["finish_reason"] == LENGTH:
            status = f"the critique was cut: it did not end within {self._text.policy.max_tokens} tokens"
        elif status == OK and not text:
            status = "the critique is empty"
        return Written(text, row["n_tokens"], row["finish_reason"], status)


def _length(prompt: Prompt) -> int:
    return sum(len(turn.text) for turn in prompt)


@dataclass(frozen=True)
class Critiqued:
    """Preferences, and the critiques of both responses of each, chosen first. left_out: preferences by reason."""

    preferences: list[Preference] = field(default_factory=list)
    critiques: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def rendered(self, reader: CritiqueReader) -> Rendered[CritiquedPair]:
        """The pairs as token ids; those that cannot be read are counted."""
        return rendered(
            [(one, reader.pair, (one, both)) for one, both in zip(self.preferences, self.critiques, strict=True)]
        )


def rendered(made: Sequence[tuple[Any, Callable[..., tuple[Any, Sequence[Read]]], tuple[Any, ...]]]) -> Rendered[Any]:
    """Examples of records. made: each record, with a prompt_id; what makes its example; and the arguments for that."""
    examples, prompt_ids, left_out = [], [], Counter[str]()
    n_truncated = n_with_thoughts = 0
    for record, make, arguments in made:
        try:
            example, read = make(*arguments)
        except RenderError as error:
            left_out[str(error)] += 1
            continue
        examples.append(example)
        prompt_ids.append(record.prompt_id)
        n_truncated += any(one.is_truncated for one in read)
        n_with_thoughts += any(one.has_thoughts for one in read)
    return Rendered(tuple(examples), tuple(prompt_ids), n_truncated, left_out, n_with_thoughts)


def with_own(
    preferences: Sequence[Preference], written: Sequence[Sequence[tuple[Written, Written]]], *, filtered: bool
) -> Critiqued:
    """Pairs with critiques of their own responses.

    written: the tries of each pair, critiques of the chosen and the rejected response. filtered: of a pair the first
    try is taken whose scores agree with the label; where none does, the pair is left out, for the reason of the last.
    Else the first try of two whole critiques is taken, whatever it says.
    """
    found = Critiqued()
    for one, tries in zip(preferences, written, strict=True):
        reason = WITHOUT_CRITIQUE
        for both in tries:
            reason = disagreement(both) if filtered else _not_whole(both)
            if not reason:
                found.preferences.append(one)
                found.critiques.append((both[0].text, both[1].text))
                break
        if reason:
            found.left_out[reason] += 1
    return found


def disagreement(both: tuple[Written, Written]) -> str:
    """Why the critiques of the chosen and the rejected response do not agree with the label; empty where they do."""
    if reason := _not_whole(both):
        return reason
    chosen, rejected = (own_score(one.text) for one in both)
    if chosen is None or rejected is None:
        return WITHOUT_SCORE
    return "" if chosen > rejected else TIED if chosen == rejected else CONTRADICTING


def _not_whole(both: tuple[Written, Written]) -> str:
    return "" if all(one.status == OK for one in both) else WITHOUT_CRITIQUE


def with_others(own: Critiqued, seed: int) -> Critiqued:
    """The same pairs, each response with the critique of a response of another pair: a placebo.

    Whether that one was chosen or rejected plays no part. Raises UserError for fewer than two prompts.
    """
    texts = [text for both in own.critiques for text in both]
    prompts = [one.prompt_id for one in own.preferences for _ in range(2)]
    taken = [texts[place] for place in other_places(prompts, seed)]
    return Critiqued(own.preferences, list(zip(taken[0::2], taken[1::2], strict=True)))


def with_given(preferences: Sequence[Preference], known: Mapping[tuple[str, str], str]) -> Critiqued:
    """Pairs with critiques that are given, by `by_response`; pairs without them are left out."""
    found = Critiqued()
    for one in preferences:
        chosen, rejected = (critique_of(known, one.prompt, response) for response in (one.chosen, one.rejected))
        if chosen is None or rejected is None:
            found.left_out[WITHOUT_CRITIQUE] += 1
        else:
            found.preferences.append(one)
            found.critiques.append((chosen, rejected))
    return found


def other_places(groups: Sequence[Hashable], seed: int) -> list[int]:
    """For each place a place of another group, by a random order that every place follows to the next such place.

    Raises UserError where there is one group only: nothing else could be taken.
    """
    if len(set(groups)) < 2:
        raise UserError("critiques of other responses need at least two prompts; add rows")
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    found = [0] * len(groups)
    for position, place in enumerate(order):
        step = 1
        while groups[other := order[(position + step) % len(order)]] == groups[place]:
            step += 1
        found[place] = other
    return found


def is_whole(written: Written) -> bool:
    """True for a critique that can be read: written to its end, or given."""
    return written.status == OK and written.finish_reason in (STOP, GIVEN)
