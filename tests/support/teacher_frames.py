"""Made evidence on base models and policies whose truth is known, and the marts that come of it."""

from __future__ import annotations

from typing import Any

import polars as pl

from models_train.teachers.recommendation import Tables, recommend_teachers

BASES = {
    "llama-1": "Llama",
    "llama-2": "Llama",
    "qwen-1": "Qwen",
    "qwen-2": "Qwen",
    "gemma-1": "Gemma",
    "gemma-2": "Gemma",
}
POLICIES = {
    "p-llama": "Llama",
    "q-llama": "Llama",
    "r-llama": "Llama",
    "p-qwen": "Qwen",
    "lonely": "Falcon",
    "unknown": None,
}
SIZES = {"llama-1": 1.0, "llama-2": 8.0, "qwen-1": 1.5, "qwen-2": 7.0, "gemma-1": 2.0, "gemma-2": None}
TRUTH = {"llama-1": 0.5, "llama-2": 0.4, "qwen-1": 0.3, "qwen-2": 0.2, "gemma-1": 0.1, "gemma-2": 0.0}


def row(
    evidence: str, base: str, value: float, policy: str | None = None, error: float | None = 0.01, **more: Any
) -> dict:
    known = {
        "study_id": "s",
        "use": "rl" if policy else None,
        "policy_id": policy,
        "gold_id": "gold" if policy else None,
    }
    return (
        known
        | {"evidence": evidence, "reward_id": f"{base}/s0", "base_model": None, "value": value, "error": error}
        | more
    )


def tables(rows: list[dict], bases: dict[str, str] = BASES) -> Tables:
    candidates = [
        {"study_id": "s", "base_model": name, "objective": "regression", "reward_id": f"{name}/s0"}
        | {"family": family, "params_b": SIZES.get(name)}
        for name, family in bases.items()
    ]
    policies = [{"study_id": "s", "policy_id": name, "family": family} for name, family in POLICIES.items()]
    schema = {
        **dict.fromkeys(("study_id", "use", "policy_id", "gold_id", "evidence", "reward_id", "base_model"), pl.String),
        **dict.fromkeys(("value", "error"), pl.Float64),
        "draws": pl.Binary,
    }
    return Tables(pl.DataFrame(candidates), pl.DataFrame(policies), pl.DataFrame(rows, schema=schema, orient="row"))


def gains(*policies: str, shift: float = 0.0, error: float | None = 0.01, **more: Any) -> list[dict]:
    return [
        row("measured", base, value + shift, policy, error, **more)
        for policy in policies
        for base, value in TRUTH.items()
    ]


def recommendations_mart(made: Tables) -> pl.DataFrame:
    """Rows of fct_teacher_recommendations of made evidence; of the costs only that of llama-1 is known."""
    own = made.candidates.select(pl.col("base_model"), "family", "params_b").unique("base_model", maintain_order=True)
    policies = made.policies.select("policy_id", pl.col("family").alias("policy_family"))
    return (
        recommend_teachers(made)
        .join(own, on="base_model", how="left", maintain_order="left")
        .join(policies, on="policy_id", how="left", maintain_order="left")
        .with_columns(
            (pl.col("family") == pl.col("policy_family")).alias("is_same_family"),
            pl.when(pl.col("base_model") == "llama-1").then(1.5).alias("training_hours"),
            pl.lit(None, pl.Float64).alias("teaching_hours"),
        )
        .drop("policy_family")
    )
