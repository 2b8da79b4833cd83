"""Run-to-run noise of a reward model: how far a second training of the same base would land from the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import Field

from models_train.study.settings import Objective, Settings, Target

Basis = Literal["twins", "seeds"]
Deviation = Annotated[float, Field(ge=0, le=50, allow_inf_nan=False)]


class TargetNoise(Settings):
    """Standard deviation between trainings of one base model, in points, per result."""

    score: Deviation
    """Of the score."""
    chat: Deviation
    """Of the accuracy on Chat."""
    chat_hard: Deviation
    """Of the accuracy on Chat Hard."""
    safety: Deviation
    """Of the accuracy on Safety."""
    reasoning: Deviation
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

    def rows(self) -> Iterator[tuple[Objective, Target, float]]:
        """(objective, target, standard deviation in points) of each setting."""
        for objective in get_args(Objective):
            for target in get_args(Target):
                yield objective, target, getattr(getattr(self, objective), target)
