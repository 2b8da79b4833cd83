"""Settings of the quality of preference data: variants of the data, and the estimate of their noise. Torch-free."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import Distinct, Identifier, Name, Objective, Seed, Settings, Text

LabelKind = Literal["original", "same", "opposite", "toxic", "vague", "repetitive", "empty", "flipped"]
"""What is known of a pair's label: `original` is that of the data, unchecked; `flipped` was turned round here."""
GIVEN_KINDS = tuple(kind for kind in get_args(LabelKind) if kind not in ("original", "flipped"))
"""Kinds that a file of labels may have."""
CleaningRule = Literal["drop", "flip"]
_LIKE_A_SEED = re.compile(r"s\d+")


def _no_seed(value: str) -> str:
    if _LIKE_A_SEED.fullmatch(value):
        raise PydanticCustomError("data_id", "looks like the seed of a further reward model; give it another name")
    return value


DataId = Annotated[Identifier, AfterValidator(_no_seed)]


class DataVariant(Settings):
    """Preferences with other labels or fewer pairs, and the reward models that are trained on them: either `labels`,
    `flip` or `rule`. Validation pairs stay as they are: they choose the checkpoint of every reward model."""

    data_id: DataId
    """Name of the variant: lower-case letters, digits and "_"; not like a seed, such as `s1`."""
    of: DataId | None = None
    """Variant that this one begins from, listed before it; by default the preferences themselves."""
    labels: Text | None = None
    """File of labels: rows of `pair_id` and `label_kind` (same, opposite, toxic, vague, repetitive or empty)."""
    keep: Annotated[tuple[LabelKind, ...], Field(strict=False, min_length=1), Distinct] = ("same", "opposite")
    """Kinds of labels whose pairs are kept; opposite ones are turned round. Pairs without a label are `original`."""
    flip: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the training pairs that are turned round, to see what noise does."""
    seed: Seed = 0
    """Seed of the pairs that `flip` turns round; a larger share turns round these pairs and others."""
    rule: CleaningRule | None = None
    """Drop the pairs, or turn them round, whose label the cross-fitted estimate under `noise` gives a probability below
    a threshold, which is chosen on `clean` pairs alone."""
    clean: Text | None = None
    """File of labels of validation pairs, for `rule`: those with the kind same or opposite are the clean ones."""
    models: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct]
    """model_id of the base models that get a further reward model, trained on the variant at the rate that the search
    chose."""
    objectives: Annotated[tuple[Objective, ...], Field(strict=False, min_length=1), Distinct] = ("bradley_terry",)
    """Objectives of these reward models, of those that are trained on preferences."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(one is not None for one in (self.labels, self.flip, self.rule)) != 1:
            raise PydanticCustomError("variant", "needs either labels, flip or rule, one of them")
        if (self.rule is None) != (self.clean is None):
            raise PydanticCustomError("variant", "needs both rule and clean, or neither")
        if "regression" in self.objectives:
            text = "lists the objective regression, which is trained on ratings and not on preferences; remove it"
            raise PydanticCustomError("variant", text)
        return self


class NoiseEstimate(Settings):
    """Estimate of the noise in preferences, of each variant without a `rule`, too: Bradley-Terry reward models are
    trained on all folds of the training pairs but one, and judge the labels of that one."""

    model_id: Name
    """Base model of these reward models, a small one; they are trained at the rate that its search chose."""
    folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Folds; pairs of one prompt are in one fold."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1), Distinct] = (0,)
    """Seeds; each gives a reward model per fold, and a pair has the mean of their margins."""
