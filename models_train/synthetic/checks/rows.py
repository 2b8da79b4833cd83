"""One row of the checks, and the schema that they leave with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from models_train.synthetic.checks.resampling import Floats, interval

SCHEMA: dict[str, Any] = {
    "check_name": pl.String,
    "domain": pl.String,
    "score_kind": pl.String,
    "compared_with": pl.String,
    "objective": pl.String,
    "model_id": pl.String,
    "statistic": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "baseline": pl.Float64,
    "baseline_name": pl.String,
    "n": pl.Int64,
    "reason": pl.String,
}
SIZE = "log10_parameters"
TOO_FEW = "fewer than 4 pre-trained models have what it takes"
NO_SPREAD = "one side is the same for all models"


@dataclass(frozen=True)
class Check:
    """One figure held against the truth: value with interval, what to beat, and over how many models or pairs.

    A value is None with a reason. What does not apply (domain, score_kind, ...) is None.
    """

    check_name: str
    statistic: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    baseline_name: str | None = None
    domain: str | None = None
    score_kind: str | None = None
    compared_with: str | None = None
    objective: str | None = None
    model_id: str | None = None
    reason: str | None = None


def estimated(
    statistic: Callable[[Floats], Floats],
    weights: Floats,
    baseline: Callable[[Floats], Floats] | float | None,
    enough: bool,
) -> dict[str, Any]:
    """Value, interval and baseline of a statistic, as fields of a Check.

    statistic: from weights (resamples, n) to (resamples,); weights: those of the resamples. enough: whether there are
    models enough to say anything.
    """
    if not enough:
        return {"reason": TOO_FEW}
    sample = np.ones((1, weights.shape[1]))
    compared = _number(baseline(sample)[0]) if callable(baseline) else baseline
    value = _number(statistic(sample)[0])
    if value is None:
        return {"reason": NO_SPREAD, "baseline": compared}
    low, high = interval(statistic(weights)) or (None, None)
    return {"value": value, "low": low, "high": high, "baseline": compared}


def frame(checks: list[Check]) -> pl.DataFrame:
    """The checks as rows of `SCHEMA`."""
    return pl.DataFrame([asdict(check) for check in checks], schema=SCHEMA)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
