"""The data of a search as a model reads them: what is trained on, what validates, what had to be left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from models_train.data.chat import Renderer, RenderError, TooLong
from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.records import Preference, Rating
from models_train.errors import UserError
from models_train.reward_models.objectives import Example, TokenPair, TokenRating
from models_train.study.settings import Objective
from models_train.study.training import Training

Record = TypeVar("Record", Preference, Rating)
Tokens = TypeVar("Tokens", TokenPair, TokenRating)


@dataclass(frozen=True)
class Rendered(Generic[Tokens]):
    """Examples in the order of the data, and the prompt of each.

    n_truncated: examples whose prompt was cut. left_out: reasons, with the number of examples.
    """

    examples: tuple[Tokens, ...]
    prompt_ids: tuple[str, ...]
    n_truncated: int
    left_out: Counter[str]

    @property
    def n_left_out(self) -> int:
        """Examples that cannot be rendered, or cannot be cut to the limit."""
        return self.left_out.total()


@dataclass(frozen=True)
class SearchData:
    """What a search trains on and chooses by. validation_ratings: of regression, for its validation loss; else None."""

    train: Rendered[TokenPair] | Rendered[TokenRating]
    validation: Rendered[TokenPair]
    validation_ratings: Rendered[TokenRating] | None

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
    for data that cannot be used, LocationError where they are not there, and UserError where rendering leaves nothing.
    """
    preferences = load_preferences(training.preferences, study_folder)
    validation = render_pairs(preferences.validation, renderer)
    if objective == "bradley_terry":
        pairs = render_pairs(preferences.train, renderer)
        return _refuse_empty(SearchData(pairs, validation, None))
    assert training.ratings is not None, "Training refuses regression without ratings"
    ratings = load_ratings(training.ratings, study_folder, preferences.validation_prompt_ids)
    rated, validating = (render_ratings(split, renderer) for split in (ratings.train, ratings.validation))
    return _refuse_empty(SearchData(rated, validation, validating))


def render_pairs(preferences: Iterable[Preference], renderer: Renderer) -> Rendered[TokenPair]:
    """Pairs whose two responses can both be rendered."""

    def tokens(one: Preference) -> tuple[TokenPair, bool]:
        chosen, rejected = renderer.render(one.prompt, one.chosen), renderer.render(one.prompt, one.rejected)
        return TokenPair(chosen.token_ids, rejected.token_ids), chosen.is_truncated or rejected.is_truncated

    return _render(preferences, tokens)


def render_ratings(ratings: Iterable[Rating], renderer: Renderer) -> Rendered[TokenRating]:
    """Rated responses that can be rendered."""

    def tokens(one: Rating) -> tuple[TokenRating, bool]:
        response = renderer.render(one.prompt, one.response)
        return TokenRating(response.token_ids, one.attributes), response.is_truncated

    return _render(ratings, tokens)


def _render(records: Iterable[Record], tokens: Callable[[Record], tuple[Tokens, bool]]) -> Rendered[Tokens]:
    examples: list[Tokens] = []
    prompt_ids: list[str] = []
    n_truncated, left_out = 0, Counter[str]()
    for record in records:
        try:
            example, is_truncated = tokens(record)
        except TooLong:
            left_out["too long, and the rule for over-long examples cannot shorten them"] += 1
        except RenderError as error:
            left_out[str(error)] += 1
        else:
            examples.append(example)
            prompt_ids.append(record.prompt_id)
            n_truncated += is_truncated
    return Rendered(tuple(examples), tuple(prompt_ids), n_truncated, left_out)


def _refuse_empty(data: SearchData) -> SearchData:
    for what, rendered in (("to train on", data.train), ("to validate with", data.validation)):
        if not rendered.examples:
            reason, n = next(iter(rendered.left_out.most_common(1)), ("there are none", 0))
            raise UserError(
                f"of the examples none are left {what}: {n} of {rendered.n_left_out} are left out, because: {reason}. "
                "Raise max_tokens of the recipe, or mend the data"
            )
    return data
