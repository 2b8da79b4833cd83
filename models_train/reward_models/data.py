"""The examples of a reward model: data sets as token ids, their order over the steps, and the packs of a batch.

The order is a pure function of data, seed and step. Every epoch has its own permutation, drawn from a counter-based
generator, so step 500 is known without the 499 before it and a resumed run meets the same examples in the same order. A
step never mixes epochs: the last batch of an epoch keeps the rest, however few, and its loss is the mean over these.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from models_train.data import chat
from models_train.data.chat import Renderer, RenderError, TooLong
from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.records import Loaded, Preference, Rating
from models_train.errors import UserError
from models_train.modeling.packing import Pack, bins, pack
from models_train.study.settings import Objective
from models_train.study.training import Training


@dataclass(frozen=True)
class TokenPair:
    """A preference as token ids of prompt and response, for the chosen and the rejected response."""

    chosen: Sequence[int]
    rejected: Sequence[int]

    @property
    def sequences(self) -> tuple[Sequence[int], ...]:
        """The sequences that go through the model, chosen first."""
        return self.chosen, self.rejected


@dataclass(frozen=True)
class TokenRating:
    """A rated response as token ids, and its five attributes (helpfulness ... verbosity, 0 to 4)."""

    token_ids: Sequence[int]
    attributes: tuple[float, ...]

    @property
    def sequences(self) -> tuple[Sequence[int], ...]:
        """The sequences that go through the model."""
        return (self.token_ids,)


MOST_LOST = 0.05
"""Largest share of the training rows that may be lost for reasons that nobody stated (definitions, Section 9)."""
_TOO_LONG = "too long, and the rule for over-long examples cannot shorten them"
_REMEDIES = {
    "split": "are of prompts that validate: give all rows of a prompt one split, the same in preferences and ratings",
    "over_long": "are too long: raise max_tokens of the recipe, or state `over_long: drop`",
    "bad": "cannot be used: correct them, or take them out of the data",
}

Example: TypeAlias = TokenPair | TokenRating
Record = TypeVar("Record", Preference, Rating)
Tokens = TypeVar("Tokens", TokenPair, TokenRating)


@dataclass(frozen=True)
class Rendered(Generic[Tokens]):
    """Examples in the order of the data, and the prompt of each.

    n_truncated: examples whose prompt was cut. left_out: reasons, with the number of examples. n_with_thoughts:
    examples with thoughts in a response, kept or cut.
    """

    examples: tuple[Tokens, ...]
    prompt_ids: tuple[str, ...]
    n_truncated: int
    left_out: Counter[str]
    n_with_thoughts: int = 0

    @property
    def n_left_out(self) -> int:
        """Examples that cannot be rendered, or cannot be cut to the limit."""
        return self.left_out.total()


@dataclass(frozen=True)
class Losses:
    """Training rows that are not trained on. stated: by reason, where definition or study file leave them out (ties,
    repeated rows, over-long ones under `over_long: drop`); lost: by reason, all others. Reasons: `tie`, `repeated`,
    `split`, `over_long`, `bad`. n_rows: all training rows of the data."""

    n_rows: int
    stated: Mapping[str, int]
    lost: Mapping[str, int]


@dataclass(frozen=True)
class SearchData:
    """Training and validation data of a search. validation_ratings: for the loss of regression; else None.

    notes: sentences on what was read.
    """

    train: Rendered[TokenPair] | Rendered[TokenRating]
    validation: Rendered[TokenPair]
    validation_ratings: Rendered[TokenRating] | None
    losses: Losses
    notes: tuple[str, ...] = ()

    @property
    def longest_sequence(self) -> int:
        """Tokens of the longest sequence of all."""
        return max(len(ids) for example in self._all() for ids in example.sequences)

    @property
    def longest_example(self) -> int:
        """Tokens of all sequences of the longest training example, which share a pack."""
        return max(sum(len(ids) for ids in example.sequences) for example in self.train.examples)

    @property
    def largest_token(self) -> int:
        """Largest token id of all sequences."""
        return max(max(ids) for example in self._all() for ids in example.sequences)

    def _all(self) -> Iterable[Example]:
        yield from self.train.examples
        yield from self.validation.examples
        yield from self.validation_ratings.examples if self.validation_ratings else ()


def load_search_data(training: Training, objective: Objective, study_folder: Path, renderer: Renderer) -> SearchData:
    """Load and render the data of an objective.

    Nothing is trained on a validation prompt of the preferences, which both objectives are chosen by. Raises UserError
    for data that cannot be used, LocationError where they are not there, and UserError where rendering leaves nothing
    or more than MOST_LOST of the training rows are lost.
    """
    drops = training.recipe(objective).over_long == "drop"
    preferences = load_preferences(training.preferences, study_folder)
    notes = [f"preferences: {note}" for note in preferences.notes]
    validation = render_pairs(preferences.validation, renderer)
    if objective == "bradley_terry":
        pairs = render_pairs(preferences.train, renderer)
        losses = _losses(preferences, pairs, drops)
        return _refuse_losses("preferences", _refuse_empty(SearchData(pairs, validation, None, losses, tuple(notes))))
    assert training.ratings is not None, "Training refuses regression without ratings"
    ratings = load_ratings(training.ratings, study_folder, preferences.validation_prompt_ids)
    notes += [f"ratings: {note}" for note in ratings.notes]
    rated, validating = (render_ratings(split, renderer) for split in (ratings.train, ratings.validation))
    losses = _losses(ratings, rated, drops)
    return _refuse_losses("ratings", _refuse_empty(SearchData(rated, validation, validating, losses, tuple(notes))))


def render_pairs(preferences: Iterable[Preference], renderer: Renderer) -> Rendered[TokenPair]:
    """Pairs whose two responses can both be rendered, and differ then."""

    def tokens(one: Preference) -> tuple[TokenPair, Sequence[chat.Rendered]]:
        chosen, rejected = renderer.render(one.prompt, one.chosen), renderer.render(one.prompt, one.rejected)
        if chosen.token_ids == rejected.token_ids:
            raise RenderError("both responses are the same to the model")
        return TokenPair(chosen.token_ids, rejected.token_ids), (chosen, rejected)

    return _render(preferences, tokens)


def render_ratings(ratings: Iterable[Rating], renderer: Renderer) -> Rendered[TokenRating]:
    """Rated responses that can be rendered."""

    def tokens(one: Rating) -> tuple[TokenRating, Sequence[chat.Rendered]]:
        response = renderer.render(one.prompt, one.response)
        return TokenRating(response.token_ids, one.attributes), (response,)

    return _render(ratings, tokens)


def _render(
    records: Iterable[Record], tokens: Callable[[Record], tuple[Tokens, Sequence[chat.Rendered]]]
) -> Rendered[Tokens]:
    examples: list[Tokens] = []
    prompt_ids: list[str] = []
    n_truncated, n_with_thoughts, left_out = 0, 0, Counter[str]()
    for record in records:
        try:
            example, responses = tokens(record)
        except TooLong:
            left_out[_TOO_LONG] += 1
        except RenderError as error:
            left_out[str(error)] += 1
        else:
            examples.append(example)
            prompt_ids.append(record.prompt_id)
            n_truncated += any(response.is_truncated for response in responses)
            n_with_thoughts += any(response.has_thoughts for response in responses)
    return Rendered(tuple(examples), tuple(prompt_ids), n_truncated, left_out, n_with_thoughts)


def _refuse_empty(data: SearchData) -> SearchData:
    for what, rendered in (("to train on", data.train), ("to validate with", data.validation)):
        if not rendered.examples:
            reason, n = next(iter(rendered.left_out.most_common(1)), ("there are none", 0))
            raise UserError(
                f"of the examples none are left {what}: {n} of {rendered.n_left_out} are left out, because: {reason}. "
                "Raise max_tokens of the recipe, or correct the data"
            )
    return data


def _losses(loaded: Loaded[Record], rendered: Rendered[Tokens], drops: bool) -> Losses:
    """drops: whether the recipe drops over-long examples."""
    found = dict(loaded.train_losses)
    too_long = rendered.left_out[_TOO_LONG]
    stated = {"tie": found["tie"], "repeated": found["repeated"]} | ({"over_long": too_long} if drops else {})
    lost = {"split": found["split"], "bad": found["bad"] + rendered.n_left_out - too_long}
    return Losses(loaded.n_train_rows, stated, lost if drops else lost | {"over_long": too_long})


def _refuse_losses(what: str, data: SearchData) -> SearchData:
    """Nothing is lost silently: a few rows are counted, many end the job. Ties and repeats are no part of the share."""
    n = data.losses.n_rows - sum(data.losses.stated.values())
    lost = {reason: count for reason, count in data.losses.lost.items() if count}
    total = sum(lost.values())
    if total > MOST_LOST * n:
        reasons = "; ".join(f"{count:,} {_REMEDIES[reason]}" for reason, count in lost.items())
        raise UserError(
            f"{what}: {total:,} of {n:,} training rows ({total / n:.1%}) would be lost; at most {MOST_LOST:.0%} may "
            f"be. {reasons}"
        )
    return data


def data_hash(examples: Sequence[Example]) -> str:
    """Hash of the token ids of examples, and of their attributes."""
    found = hashlib.sha256()
    for example in examples:
        for ids in example.sequences:
            found.update(len(ids).to_bytes(8, "little"))
            found.update(np.asarray(ids, dtype="<i8").tobytes())
        if isinstance(example, TokenRating):
            found.update(np.asarray(example.attributes, dtype="<f8").tobytes())
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class DataOrder:
    """The order of `n_examples` examples over `epochs` epochs in global batches of `global_batch`."""

    n_examples: int
    global_batch: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, the last one smaller where the examples do not divide evenly."""
        return -(-self.n_examples // self.global_batch)

    @property
    def n_steps(self) -> int:
        """Steps of the whole recipe."""
        return self.epochs * self.steps_per_epoch

    def batch(self, step: int) -> np.ndarray:
        """Indices of the examples of a step, counted from 1: (at most global_batch,) int64. Raises ValueError."""
        if not 1 <= step <= self.n_steps:
            raise ValueError(f"step {step} is not one of the {self.n_steps} steps of this recipe")
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        start = place * self.global_batch
        return permutation(self.n_examples, self.seed, epoch)[start : start + self.global_batch]


def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """(n,) int64: a permutation by sorting raw Philox numbers, whose stream NumPy promises never to change."""
    keys = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(n)
    return np.argsort(keys, kind="stable")


@dataclass(frozen=True)
class TrainingPack:
    """Examples that go through the model at once; the sequences of an example stay together, in order."""

    examples: tuple[Example, ...]
    pack: Pack


def training_packs(examples: Sequence[Example], tokens_per_pack: int) -> list[TrainingPack]:
    """The packs of one global batch, by `packing.bins` over the tokens of whole examples.

    An example longer than `tokens_per_pack` has a pack to itself. Raises ValueError for an empty sequence.
    """
    return [
        TrainingPack(members, pack([ids for member in members for ids in member.sequences]))
        for one in bins([n_tokens(example) for example in examples], tokens_per_pack)
        for members in (tuple(examples[index] for index in one),)
    ]


def n_tokens(example: Example) -> int:
    """Tokens of all sequences of an example."""
    return sum(len(ids) for ids in example.sequences)
