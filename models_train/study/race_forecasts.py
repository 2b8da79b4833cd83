"""What is known of the candidates of a race before it begins: predictions of the performance model, public benchmarks.

Both are read from parts, as they were written last. Torch-free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Any

from models_train.parts import newest_runs, part_path, part_rows
from models_train.store import Parts
from models_train.study.models import Candidate
from models_train.study.race_ids import RacePlan
from warehouse.contracts import TABLES

_PREDICTOR, _PROTOCOL, _REFERENCE, _TARGET = "average", "leave_publisher_out", "mean", "score"
_WIDTH = 2 * NormalDist().inv_cdf(0.95)
"""Width of a 90 % interval, in standard deviations."""


@dataclass(frozen=True)
class Forecast:
    """What is known of a candidate. mean, sd: of its score at the full data, in points; benchmark: mean of the public
    benchmarks that all candidates have, in points. None where not known."""

    mean: float | None = None
    sd: float | None = None
    benchmark: float | None = None


def forecasts(parts: Parts, plan: RacePlan) -> dict[str, Forecast]:
    """Forecast of each candidate, and nothing where nothing is known of it.

    The prediction is that of a fit without the candidate's own publisher. It is left out where the average of the
    predictors is not shown to be better than the mean, and where another benchmark decides than the answer's.
    """
    predicted = _predicted(parts, plan)
    benchmarks = _benchmarks(parts, plan)
    found = {}
    for name in plan.candidates:
        mean, sd = predicted.get(name, (None, None))
        found[name] = Forecast(mean, sd, benchmarks.get(name))
    return found


def _predicted(parts: Parts, plan: RacePlan) -> dict[str, tuple[float, float]]:
    study = plan.study
    if plan.benchmark != (study.answer_on or study.reward_benchmarks[0]):
        return {}
    own = {"objective": plan.objective, "target": _TARGET, "protocol": _PROTOCOL, "predictor": _PREDICTOR}
    comparisons = _rows(parts, "performance_comparisons", study.study_id, own | {"reference": _REFERENCE})
    if not any(row["verdict"] == "better" for row in comparisons):
        return {}
    held_out = _rows(parts, "performance_predictions", study.study_id, own)
    known = [(row["model_id"], row["predicted"], row["interval_low"], row["interval_high"]) for row in held_out]
    wanted = {"objective": plan.objective, "basis": "predicted", "size_limit_b": None}
    new = _rows(parts, "recommendations", study.study_id, wanted)
    known += [(row["model_id"], row["expected_score"], row["interval_low"], row["interval_high"]) for row in new]
    return {
        name: (mean, (high - low) / _WIDTH)
        for name, mean, low, high in known
        if name in plan.candidates and None not in (mean, low, high) and high > low
    }


def _benchmarks(parts: Parts, plan: RacePlan) -> dict[str, float]:
    """Mean over the benchmarks, each by its first metric and source, that all candidates have a value of."""
    found: dict[str, dict[str, float]] = {name: {} for name in plan.candidates}
    for row in _rows(parts, "benchmark_results", plan.study.study_id, {}):
        if row["model_id"] in found:
            found[row["model_id"]].setdefault(f"{row['benchmark']} {row['metric']}", row["value"])
    for name, model in plan.models.items():
        for value in model.benchmarks if isinstance(model, Candidate) else ():
            found[name].setdefault(f"{value.benchmark} {value.metric}", value.value)
    shared = sorted(set.intersection(*(set(values) for values in found.values())))
    return {name: fmean(values[one] for one in shared) for name, values in found.items()} if shared else {}


def _rows(parts: Parts, table: str, study_id: str, wanted: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """Rows of a study in the parts of a table that count, with these values."""
    contract = TABLES[table]
    runs = sorted(run_id for _, run_id in newest_runs(parts, contract, study_id))
    rows = [row for run_id in runs for row in part_rows(part_path(parts, table, study_id, run_id))]
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]
