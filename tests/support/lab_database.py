"""The marts of a lab for a fixture study: checks computed from planted scores, mixes and settings."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl

from models_train.data.records import ATTRIBUTES
from models_train.synthetic.checks import check_rows
from models_train.synthetic.preferences import TRUE_WEIGHTS

DOMAINS = ("Book", "Github")
KINDS = ("presence_score", "bits_per_byte", "min_k", "min_k_plus_plus")


def write_lab_marts(connection: duckdb.DuckDBPyConnection, study_id: str, models: list[str]) -> None:
    """Add the marts of a lab to a database of `marts_database.write_marts`: presence_score and bits_per_byte follow the
    share of a domain, the others do not; a reward model by regression and a rate search on every model.
    """
    mixes, scores, searches = _mixes(models), _scores(models), _searches(models)
    weights = pl.DataFrame({"attribute": ATTRIBUTES, "weight": TRUE_WEIGHTS})
    checks = check_rows(scores, _histograms(models), searches, weights, KINDS, 200, "fixture")
    settings = {"preference_noise": 0.5, "weight_verbosity": -0.4}
    tables = {
        "fct_lab_truth_checks": checks.with_columns(pl.lit(study_id).alias("study_id")),
        "dim_lab_mixes": mixes.with_columns(pl.lit(study_id).alias("study_id")),
        "dim_lab_settings": pl.DataFrame(
            {"study_id": [study_id] * 2, "setting": list(settings), "value": list(settings.values())}
        ),
    }
    for name, frame in tables.items():
        connection.register("frame", frame.to_arrow())
        connection.execute(f"create or replace table marts.{name} as select * from frame")
        connection.unregister("frame")


def share(place: int, n: int) -> float:
    """Share of Github in the mix of a model, the rest is Book."""
    return (place + 0.5) / n


def _mixes(models: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "model_id": name, "domain": domain, "pretrained_model_id": models[0] if place == 1 else name,
                "share": share(place, len(models)) if domain == "Github" else 1 - share(place, len(models)),
                "pretraining_tokens": 2_000_000, "parameters_m": 0.1 + 0.2 * (place % 3),
            }
            for place, name in enumerate(models)
            for domain in DOMAINS
        ]
    )  # fmt: skip


def _scores(models: list[str]) -> pl.DataFrame:
    noise = np.random.default_rng(0)
    mixes = _mixes(models).with_columns((6 + pl.col("parameters_m").log10()).alias("log10_parameters"))
    frames = [
        mixes.with_columns(
            pl.lit(kind).alias("score_kind"),
            pl.col("share").alias("mean_score") if "_b" in kind or "_s" in kind else pl.Series(
                "mean_score", noise.normal(size=mixes.height)
            ),
        )
        for kind in KINDS
    ]  # fmt: skip
    return pl.concat(frames)


def _histograms(models: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"model_id": name, "domain": domain, "score_kind": kind, "bin": number, "n": n}
            for domain in (*DOMAINS, "all")
            for kind in KINDS
            for place, name in enumerate(models)
            for number, n in enumerate((10 + 10 * place, 10 * (len(models) - place) + 5))
        ]
    )


def _searches(models: list[str]) -> pl.DataFrame:
    rows = []
    for objective in ("regression", "bradley_terry"):
        for place, name in enumerate(models):
            weights = [w if objective == "regression" else None for w in TRUE_WEIGHTS]
            rows.append(
                {"model_id": name, "pretrained_model_id": name, "objective": objective, "n_rates": 3}
                | {"accuracy_other_half": 70.0 + place, "accuracy_mean_rate": 68.0, "accuracy_best_rate": 71.0 + place}
                | {f"weight_{key}": weight for key, weight in zip(ATTRIBUTES, weights, strict=True)}
            )
    return pl.DataFrame(rows, infer_schema_length=None)
