"""Rewards by critique reward models: some critiques of each completion, a reward after each, and their mean.

A critique that was cut, or that cannot be read, has a status and no reward. A completion without any whole critique has
a status, too; else its reward is the mean over those that are whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from models_train.data.chat import Rendered as Read
from models_train.data.chat import Renderer, RenderError
from models_train.data.records import Prompt
from models_train.policies.sampling import STOP
from models_train.reward_benchmarks.items import Completion, Item
from models_train.reward_models.critique_model import CritiqueModel
from models_train.reward_models.critiques import (
    GIVEN,
    CritiqueReader,
    CritiqueWriter,
    Written,
    is_whole,
    other_places,
)
from models_train.reward_models.scoring import OK, Outcome, Progress, Scorer, score_items, token_rewards
from warehouse.contracts.scores import REWARD

_NOT_KNOWN = "the text is not known"

Rows = list[dict[str, Any]]
Places = list[tuple[Item, Completion]]


def items_scored(
    reward_model: Scorer,
    renderer: Renderer,
    items: Sequence[Item],
    weights: Mapping[str, float] | None = None,
    tokens_per_pack: int | None = None,
    progress: Progress | None = None,
    n_critiques: int | None = None,
) -> tuple[Rows, Rows]:
    """`score_items` for any reward model, and the rows of critiques, by item and completion; none for most.

    n_critiques: of each completion, where the reward model writes any; None: as many as for a benchmark.
    """
    if not isinstance(reward_model, CritiqueModel):
        return score_items(reward_model, renderer, items, weights, tokens_per_pack, progress), []
    written = written_critiques(reward_model, renderer, items, n_critiques, progress)
    return critiqued_items(reward_model, renderer, items, written, tokens_per_pack, progress)


def written_critiques(
    reward_model: CritiqueModel,
    renderer: Renderer,
    items: Sequence[Item],
    n_critiques: int | None = None,
    progress: Progress | None = None,
) -> list[tuple[Written, ...]]:
    """Critiques of each completion, item after item, by the reward model itself. Greedily where one is written."""
    critic = reward_model.critic
    n_each = n_critiques or critic.n_of_benchmarks
    reader = CritiqueReader(renderer, critic.recipe.request)
    asked = [_asked(reader, item, completion) for item, completion in _places(items)]
    with reward_model.as_writer() as model:
        writer = CritiqueWriter(
            model,
            critic.source,
            renderer.tokenizer,
            reward_model.config,
            critic.recipe,
            critic.precision,
            greedy=n_each == 1,
            name=critic.name,
        )
        return writer.write(asked, n_each, None if progress is None else lambda n, tokens: progress(0, tokens))


def critiqued_items(
    reward_model: CritiqueModel,
    renderer: Renderer,
    items: Sequence[Item],
    written: Sequence[Sequence[Written]],
    tokens_per_pack: int | None = None,
    progress: Progress | None = None,
) -> tuple[Rows, Rows]:
    """Rows of completion_rewards and of critiques, without reward_id, benchmark first. written: of each completion."""
    reader = CritiqueReader(renderer, reward_model.critic.recipe.request)
    places = _places(items)
    read = [
        [_read(reader, item, completion, one) for one in critiques]
        for (item, completion), critiques in zip(places, written, strict=True)
    ]
    sequences = [one.token_ids for of_one in read for one in of_one if isinstance(one, Read)]
    say = None if progress is None else lambda _, tokens: progress(0, tokens)
    outcomes = iter(token_rewards(reward_model, sequences, tokens_per_pack, say))
    rewards: Rows = []
    critiques: Rows = []
    for (item, completion), texts, reads in zip(places, written, read, strict=True):
        key = {
            "benchmark": item.benchmark,
            "subset": item.subset,
            "item_id": item.item_id,
            "completion": completion.name,
        }
        found = [next(outcomes) if isinstance(one, Read) else Outcome(None, one) for one in reads]
        for number, (text, one, outcome) in enumerate(zip(texts, reads, found, strict=True)):
            critiques.append(key | {"critique_no": number} | _critique_row(text, one, outcome))
        rewards.append(key | _reward_row(reads, found))
        if progress is not None:
            progress(1, 0)
    return rewards, critiques


def others(items: Sequence[Item], written: Sequence[Sequence[Written]], seed: int = 0) -> list[Sequence[Written]]:
    """For each completion the critiques of a completion of another item: a placebo.

    Raises UserError where there is one item only.
    """
    groups = [(item.subset, item.item_id) for item, _ in _places(items)]
    return [written[place] for place in other_places(groups, seed)]


def written_status(row: Mapping[str, Any]) -> str:
    """Status of a critique as a text, by its row of critiques: one that was written to its end can be read again."""
    return OK if row["finish_reason"] in (STOP, GIVEN) and row["text"] else str(row["status"])


def _places(items: Sequence[Item]) -> Places:
    return [(item, completion) for item in items for completion in item.completions]


def _asked(reader: CritiqueReader, item: Item, completion: Completion) -> Prompt | str:
    if item.prompt is None or completion.text is None:
        return _NOT_KNOWN
    try:
        return reader.asked(item.prompt, completion.text)
    except RenderError as error:
        return str(error)


def _read(reader: CritiqueReader, item: Item, completion: Completion, written: Written) -> Read | str:
    """Token ids of a completion with a critique, or why there are none."""
    if not is_whole(written):
        return written.status
    if item.prompt is None or completion.text is None:
        return _NOT_KNOWN
    try:
        return reader.read(item.prompt, completion.text, written.text)
    except RenderError as error:
        return str(error)


def _critique_row(written: Written, read: Read | str, outcome: Outcome) -> dict[str, Any]:
    return {
        "text": written.text,
        "n_tokens": written.n_tokens,
        "n_tokens_read": len(read.token_ids) if isinstance(read, Read) else None,
        "reward": None if outcome.rewards is None else outcome.rewards[REWARD],
        "finish_reason": written.finish_reason,
        "status": outcome.status,
    }


def _reward_row(reads: Sequence[Read | str], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The reward of a completion: the mean over its critiques that have one. n_tokens: of the longest sequence."""
    known = [outcome.rewards[REWARD] for outcome in outcomes if outcome.rewards is not None]
    lengths = [len(one.token_ids) for one in reads if isinstance(one, Read)]
    return {
        "attribute": REWARD,
        "reward": math.fsum(known) / len(known) if known else None,
        "n_tokens": max(lengths, default=None),
        "is_truncated": any(one.is_truncated for one in reads if isinstance(one, Read)),
        "status": OK if known else outcomes[0].status,
        "source": None,
    }
