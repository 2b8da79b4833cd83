"""The marts of a lab for a fixture study: checks computed from planted scores, mixes, rewards and settings."""

from __future__ import annotations

from itertools import combinations

import duckdb
import numpy as np
import polars as pl

from models_train.data.records import ATTRIBUTES
from models_train.synthetic.checks import SCHEMA, LabTables, check_rows
from models_train.synthetic.preferences import TRUE_WEIGHTS

DOMAINS = ("Book", "Github")
KINDS = ("presence_score", "bits_per_byte", "centred_presence_score", "centred_bits_per_byte")
N_DOCUMENTS = 12


def write_lab_marts(connection: duckdb.DuckDBPyConnection, study_id: str, models: list[str]) -> None:
    """Add the marts of a lab to a database of `marts_database.write_marts`: one cell, whose presence_score follows the
    share of a domain, and bits_per_byte does not; a reward model by regression and a rate search on every model.
    """
    weights = pl.DataFrame({"attribute": ATTRIBUTES, "weight": TRUE_WEIGHTS})
    scores = _scores(models)
    lab = LabTables(scores, _distances(scores), _documents(scores), _outcomes(models), _searches(models), weights)
    checks = pl.concat([check_rows(lab, 200, "fixture"), _variance()])
    settings = {"preference_noise": 0.5, "weight_verbosity": -0.4}
    tables = {
        "fct_lab_truth_checks": checks.with_columns(pl.lit(study_id).alias("study_id")),
        "dim_lab_mixes": _mixes(models).with_columns(pl.lit(study_id).alias("study_id")),
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
                "pretraining_tokens": 2_000_000, "parameters_m": 0.1 + 0.2 * (place % 3), "architecture": "llama",
                "hidden": 64, "layers": 2, "vocabulary": 512,
            }
            for place, name in enumerate(models)
            for domain in DOMAINS
        ]
    )  # fmt: skip


def _scores(models: list[str]) -> pl.DataFrame:
    noise = np.random.default_rng(0)
    mixes = _mixes(models).select("model_id", "domain", "share", "pretraining_tokens")
    of_model = pl.DataFrame({"model_id": models, "mix": range(1, len(models) + 1), "cell": "the only one"})
    return pl.concat(
        mixes.join(of_model, on="model_id", maintain_order="left").with_columns(
            pl.lit(kind).alias("score_kind"),
            pl.col("share").alias("mean_score")
            if "presence" in kind
            else pl.Series("mean_score", noise.normal(size=mixes.height)),
        )
        for kind in KINDS
    )


def _documents(scores: pl.DataFrame) -> pl.DataFrame:
    """Documents whose scores spread evenly around the mean of their domain."""
    spread = np.linspace(-1, 1, N_DOCUMENTS)
    return (
        scores.filter(~pl.col("score_kind").str.starts_with("centred"))
        .join(pl.DataFrame({"document_id": [f"d{place}" for place in range(N_DOCUMENTS)], "off": spread}), how="cross")
        .with_columns((pl.col("mean_score") + pl.col("off")).alias("score"))
    )


def _distances(scores: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for kind in KINDS[:2]:
        github = scores.filter(score_kind=kind, domain="Github").sort("model_id").to_dicts()
        for a, b in combinations(github, 2):
            off, truth = abs(a["mean_score"] - b["mean_score"]), abs(a["share"] - b["share"])
            rows.append(
                {"score_kind": kind, "model_a": a["model_id"], "model_b": b["model_id"], "cell_a": a["cell"]}
                | {"cell_b": b["cell"], "mix_a": a["mix"], "mix_b": b["mix"], "budget_distance": 0.0}
                | dict.fromkeys(("all_documents", "domain_wise", "centred_means"), round(off, 6))
                | {"share_distance": round(truth, 6), "mix_distance": round(truth, 6)}
            )
    return pl.DataFrame(rows)


def _outcomes(models: list[str]) -> pl.DataFrame:
    """Twenty test pairs for each model: the merged reward wins all, equal weights nine of ten, the true ones half."""
    frames = [
        pl.DataFrame(
            {"model_id": name, "pretrained_model_id": name, "subset": "hep-python"}
            | {"item_id": [str(item) for item in range(20)], "margin_merged": 1.0}
            | {"margin_equal": [1.0 if item % 10 else -1.0 for item in range(20)]}
            | {"margin_true": [1.0 if item % 2 else -1.0 for item in range(20)]}
            | {f"margin_{attribute}": 1.0 for attribute in ATTRIBUTES}
        )
        for name in models
    ]
    return pl.concat(frames)


def _variance() -> pl.DataFrame:
    shares = {"share_mix": 0.1, "share_size": 0.2, "share_tokens": 0.6, "share_rest": 0.1}
    rows = [
        {"check_name": "variance", "score_kind": kind, "statistic": name, "value": value, "n": 8}
        for kind in KINDS
        for name, value in shares.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


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
