"""Fit the performance model of every study and write its parts (paper, section 4.2 and Appendix F).

Inputs per study: `<inputs>/<study>/{features,results,models,size_groups,pipeline_values}.parquet` and `study.json`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.parts import content_hash, write_part
from models_train.selection.components import capability_components
from models_train.selection.features import TooLittleData, feature_table
from models_train.selection.other_studies import OtherStudy
from models_train.selection.performance import (
    FITTED,
    PerformanceResult,
    PerformanceSettings,
    mix_verdict,
    performance,
    verdict,
)
from models_train.selection.protocols import Forecast
from models_train.selection.recommendation import recommend
from models_train.store import Parts
from warehouse.contracts import PERFORMANCE_TABLES

SCORE = "score"


@dataclass(frozen=True)
class Inputs:
    """Frames of one study, its benchmarks that are averages of others, and a hash of all of it.

    benchmark: the one of reward models that the scores are of.
    """

    study_id: str
    features: pl.DataFrame
    results: pl.DataFrame
    models: pl.DataFrame
    size_groups: pl.DataFrame
    pipeline_values: pl.DataFrame
    aggregates: tuple[str, ...]
    benchmark: str | None
    content: str


def run(
    inputs: Path, parts: Parts, targets: str, folds: str, others: str, bootstraps: int, jobs: int, report: Reporter
) -> dict[str, Any]:
    """Fit every study in the folder of inputs; returns figures. Raises UserError.

    targets: JSON, study -> targets. folds: JSON, study -> publisher or lineage. others: JSON, study -> other studies.
    """
    wanted: dict[str, list[str]] = json.loads(targets)
    left_out: dict[str, str] = json.loads(folds)
    learned_from: dict[str, list[str]] = json.loads(others)
    studies = sorted(path for path in inputs.glob("*") if path.is_dir())
    if not studies:
        raise UserError(f"{inputs} holds no study's inputs; materialize parts/performance_inputs first")
    figures: dict[str, Any] = {}
    for folder in studies:
        study = read_inputs(folder)
        by_lineage = left_out.get(study.study_id) == "lineage"
        settings = PerformanceSettings(
            aggregates=study.aggregates,
            lineages=dict(study.models.select("model_id", "lineage").iter_rows()) if by_lineage else None,
            n_bootstraps=bootstraps,
            n_jobs=jobs,
        )
        try:
            beside = other_studies(study, inputs, learned_from.get(study.study_id, []), report)
            found = fit_study(study, wanted.get(study.study_id, [SCORE]), settings, parts, report, beside)
        except UserError as error:
            raise UserError(f"{study.study_id}: {error}") from error
        figures |= {f"{study.study_id}: {name}": value for name, value in found.items()}
    return figures


def read_inputs(folder: Path) -> Inputs:
    """The inputs of one study."""
    names = ("features", "results", "models", "size_groups", "pipeline_values")
    frames = {name: pl.read_parquet(folder / f"{name}.parquet", glob=False) for name in names}
    facts = json.loads((folder / "study.json").read_text())
    digest = hashlib.sha256(json.dumps(facts).encode())
    for name in names:
        digest.update(frames[name].write_csv().encode())
    aggregates, benchmark, content = tuple(facts["aggregates"]), facts["benchmark"], digest.hexdigest()
    return Inputs(folder.name, **frames, aggregates=aggregates, benchmark=benchmark, content=content)


def other_studies(study: Inputs, folder: Path, names: Sequence[str], report: Reporter) -> list[Inputs]:
    """Inputs of the studies that are learned from, too, with their results of all pairs.

    Only results of all pairs of the same benchmark compare between studies; what cannot be learned from for now is
    said. Raises UserError for a study without inputs.
    """
    found = []
    for name in names:
        if not (folder / name).is_dir():
            raise UserError(
                f"also_learn_from: there are no inputs of {name}; materialize parts/performance_inputs first"
            )
        other = read_inputs(folder / name)
        whole = other.results.filter("is_complete")
        if other.benchmark != study.benchmark:
            report.say(f"{study.study_id}: nothing is learned from {name}, whose scores are of another benchmark")
        elif not study.results["is_complete"].all():
            report.say(
                f"{study.study_id}: nothing is learned from {name}, since not all results here have all test pairs"
            )
        elif whole.is_empty():
            report.say(f"{study.study_id}: nothing is learned from {name}, which has no result of all test pairs yet")
        else:
            found.append(replace(other, results=whole))
    return found


def fit_study(
    inputs: Inputs,
    targets: Sequence[str],
    settings: PerformanceSettings,
    parts: Parts,
    report: Reporter,
    others: Sequence[Inputs] = (),
) -> dict[str, int | float | str]:
    """Fit, recommend and write the parts of one study; returns figures for the log.

    Raises UserError for broken input. Targets that cannot be predicted become rows of performance_abstentions.
    """
    began = time.monotonic()
    objectives = sorted(inputs.results["objective"].unique())
    report.say(f"{inputs.study_id}: fitting {', '.join(objectives)} on {', '.join(targets)}")
    beside = [
        OtherStudy(
            other.study_id,
            other.features,
            other.results,
            other.pipeline_values,
            dict(other.models.select("model_id", "lineage").iter_rows()),
        )
        for other in others
    ]
    result = performance(inputs.features, inputs.results, objectives, targets, settings, inputs.pipeline_values, beside)
    frames = {f"performance_{name}": getattr(result, name) for name in (*FITTED, "comparisons")}
    frames["capability_components"] = components(inputs)
    frames["recommendations"] = recommendations(inputs, objectives, targets, result)
    chosen: dict[str, Any] = {
        "targets": list(targets),
        "bootstraps": settings.n_bootstraps,
        "by_lineage": settings.lineages is not None,
    }
    if others:
        chosen["others"] = {other.study_id: other.content for other in others}
    run_id = content_hash({"inputs": inputs.content, **chosen})
    for name, frame in frames.items():
        write_part(parts, PERFORMANCE_TABLES[name], frame, study_id=inputs.study_id, run_id=run_id)
    figures: dict[str, int | float | str] = {
        "rows": sum(frame.height for frame in frames.values()),
        "abstentions": result.abstentions.height,
        "largest duality gap": result.largest_gap,
        "seconds": round(time.monotonic() - began, 1),
    }
    for objective, target in result.scores.select("objective", "target").unique(maintain_order=True).iter_rows():
        figures[f"verdict, {objective}, {target}"] = verdict(result.comparisons, objective, target)
        if mix := mix_verdict(result.comparisons, objective, target):
            figures[f"pre-training mix, {objective}, {target}"] = mix
    report.say(f"{inputs.study_id}: {figures['rows']} rows in {figures['seconds']} s")
    return figures


def components(inputs: Inputs) -> pl.DataFrame:
    """Rows of capability_components; none where there are too few models or benchmarks."""
    observed = frozenset(inputs.results["model_id"])
    try:
        return capability_components(feature_table(inputs.features, observed, aggregates=inputs.aggregates))
    except TooLittleData:
        return _empty("capability_components")


def recommendations(
    inputs: Inputs, objectives: Sequence[str], targets: Sequence[str], result: PerformanceResult
) -> pl.DataFrame:
    """Rows of recommendations for every objective; every model of the inputs is in them, if only as an abstention."""
    frames = [
        recommend(
            objective,
            inputs.results,
            inputs.models,
            inputs.size_groups,
            forecasts_of_score(inputs, objective, targets, result),
        )
        for objective in objectives
    ]
    return pl.concat(frames) if frames else _empty("recommendations")


def forecasts_of_score(
    inputs: Inputs, objective: str, targets: Sequence[str], result: PerformanceResult
) -> list[Forecast]:
    """One forecast or stated abstention for every model of the inputs that has no score for the objective."""
    found = result.forecasts.get((objective, SCORE), [])
    measured = inputs.results.filter(pl.col("objective") == objective, pl.col(SCORE).is_not_null())["model_id"]
    settled = {*measured, *(forecast.model_id for forecast in found)}
    left = [model for model in inputs.models["model_id"].sort() if model not in settled]
    reason = _no_forecast(objective, targets, result)
    return [*found, *(Forecast(model, "", None, None, None, reason, np.empty(0)) for model in left)]


def _no_forecast(objective: str, targets: Sequence[str], result: PerformanceResult) -> str:
    """Reason why the score of a model was not predicted for the objective."""
    if (objective, SCORE) in result.forecasts:
        return "none of its features is known"
    reasons = result.abstentions.filter(pl.col("objective") == objective, pl.col("target") == SCORE)["reason"]
    if SCORE not in targets:
        why = "score is not among the predicted targets"
    else:
        why = str(reasons[0]).rstrip(".") if len(reasons) else "no reason is known"
    return f"no performance model of the score was fitted: {why}"


def _empty(table: str) -> pl.DataFrame:
    return pl.DataFrame(schema=pl.Schema(PERFORMANCE_TABLES[table].filled_columns))


main = partial(run_job, "fit_performance_model")

if __name__ == "__main__":
    main()
