"""Run-to-run noise: the default digits come from the published near-twins; 0 needs a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from models_train.study.run_noise import RunNoise
from tests.support.studies import SETTINGS, changed, study_of

SEEDS = Path(__file__).resolve().parents[3] / "dbt" / "seeds"
TWINS = (
    ("gemma-7b-it", "gemma-1.1-7b-it"),
    ("gemma-2b-it", "gemma-1.1-2b-it"),
    ("Llama-3.1-Tulu-3-8B-DPO", "Llama-3.1-Tulu-3-8B"),
    ("Phi-3-mini-4k-instruct", "Phi-3.5-mini-instruct"),
    ("Mistral-7B-Instruct-v0.2", "Mistral-7B-Instruct-v0.3"),
)


@pytest.mark.parametrize(
    ("objective", "seed"), [("regression", "table_4_regression"), ("bradley_terry", "table_5_bradley_terry")]
)
def test_the_default_is_the_spread_of_the_published_twins(objective: str, seed: str) -> None:
    """A difference of two trainings has twice the variance of one."""
    table = {row["model_id"]: row for row in pl.read_csv(SEEDS / f"{seed}.csv").to_dicts()}
    stated = {target: deviation for name, target, deviation in RunNoise().rows() if name == objective}
    assert set(stated) == {"score", "chat", "chat_hard", "safety", "reasoning"}
    for target, deviation in stated.items():
        differences = [table[first][target] - table[second][target] for first, second in TWINS]
        assert deviation == pytest.approx(np.sqrt(np.mean(np.square(differences)) / 2), abs=0.005), target


def no_noise(basis: str) -> dict[str, Any]:
    nothing = dict.fromkeys(("score", "chat", "chat_hard", "safety", "reasoning"), 0.0)
    return {"basis": basis, "regression": nothing}


def test_zero_is_refused_unless_it_was_measured() -> None:
    with pytest.raises(ValidationError, match=r"run_noise.regression.score: 0 says .+; set basis: seeds if"):
        study_of(changed(SETTINGS, "run_noise", no_noise("twins")))
    study = study_of(changed(SETTINGS, "run_noise", no_noise("seeds")))
    assert study.run_noise.regression.score == 0 and study.run_noise.bradley_terry.score == 1.39
    assert study_of(SETTINGS).run_noise == RunNoise()
