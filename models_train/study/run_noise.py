"""Run-to-run noise of a reward model: how far a second training of the same base would land from the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self, get_args

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import NotNegative, Objective, Settings, Target

Basis = Literal["twins", "seeds"]


class TargetNoise(Settings):
    """Standard deviation between trainings of one base model, in points, per result."""

    score: NotNegative
    """Of the score."""
    chat: NotNegative
    """Of the accuracy on Chat."""
    chat_hard: NotNegative
    """Of the accuracy on Chat Hard."""
    safety: NotNegative
    """Of the accuracy on Safety."""
    reasoning: NotNegative
    """Of the accuracy on Reasoning."""


# Root of half the mean squared difference of five pairs of near-twins among the published rows: gemma-7b-it and
# gemma-1.1-7b-it, gemma-2b-it and gemma-1.1-2b-it, Tulu-3 DPO and RLVR, Phi-3-mini and Phi-3.5-mini, Mistral v0.2 and
# v0.3. A test computes these digits from the seeds.
TWINS = {
    "regression": TargetNoise(score=0.74, chat=1.62, chat_hard=2.15, safety=2.72, reasoning=3.30),
    "bradley_terry": TargetNoise(score=1.39, chat=7.89, chat_hard=5.26, safety=2.56, reasoning=2.82),
}


class RunNoise(Settings):
    """Run-to-run noise per objective (definitions, Section 1). It enters every chance of being best and every lead."""

    basis: Basis = "twins"
    """`twins`: estimated from published reward models of near-equal bases, which differ in the base a little, too.
    `seeds`: measured here, from several trainings of one base with different seeds."""
    regression: TargetNoise = TWINS["regression"]
    """Of regression reward models."""
    bradley_terry: TargetNoise = TWINS["bradley_terry"]
    """Of Bradley-Terry reward models."""

    @model_validator(mode="after")
    def _no_zero_without_seeds(self) -> Self:
        """Refuse a noise of 0 that nobody measured."""
        zero = [f"{objective}.{target}" for objective, target, deviation in self.rows() if deviation == 0]
        if zero and self.basis != "seeds":
            text = f"{', '.join(zero)}: 0 says that trainings do not differ; set basis: seeds if that was measured"
            raise PydanticCustomError("run_noise", "{text}", {"text": text})
        return self

    def rows(self) -> Iterator[tuple[Objective, Target, float]]:
        """(objective, target, standard deviation in points) of each setting."""
        for objective in get_args(Objective):
            for target in get_args(Target):
                yield objective, target, getattr(getattr(self, objective), target)
