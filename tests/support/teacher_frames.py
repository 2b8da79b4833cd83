"""Made evidence on base models and policies whose truth is known, and the marts that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from models_train.selection.teacher_predictors import predictor_comparisons, predictor_statistics
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


def partners_mart() -> pl.DataFrame:
    """Rows of fct_ensemble_partners: `a` has a better partner in b than in its other seed, `b` no second seed."""
    own = {
        "study_id": "s", "kind": "policy", "measured_on": "p-llama", "gold_id": "gold", "objective": "regression",
        "data_id": "clean", "is_level": False, "params_ratio": 1.0, "error": 0.3, "partner_error": 0.35,
        "both_wrong": 0.1, "low": 0.08, "high": 0.12, "n_seeds": 2, "n_items": 96, "status": "ok",
    }  # fmt: skip
    paired = {"both_wrong_of_seeds": 0.2, "difference": -0.1, "difference_low": -0.12, "difference_high": -0.08}
    unpaired = dict.fromkeys(paired) | {"status": "no second seed of the first base model was measured"}
    return pl.DataFrame(
        [
            own | paired | {"base_model": "a", "partner": "b", "place": 1},
            own | paired | {"base_model": "a", "partner": "c", "place": 2, "is_level": True},
            own | unpaired | {"base_model": "b", "partner": "a", "place": 1},
        ],
        infer_schema_length=None,
    )


def own_statistics(study_id: str, resamples: int = 200) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of fct_teacher_predictors and of the comparisons: 10 reward models on two policies; accuracy ranks gains."""
    rng = np.random.default_rng(0)
    cell = {"study_id": study_id, "gold": "gold", "selection": "all"}
    rows = []
    for policy in ("p-llama", "q-llama"):
        for model in range(10):
            skill = 0.1 * model
            values = {
                "reward_variance": rng.normal(), "on_policy_accuracy": skill + 0.05 * rng.normal(),
                "rewardbench": skill + 0.3 * rng.normal(), "rewardbench_chat_hard": rng.normal(),
                "base_mmlu": rng.normal(),
            }  # fmt: skip
            targets = {("rloo", "gold_gain"): skill, ("best of n", "best_of_n_gain"): skill + 0.1 * rng.normal()}
            rows += [
                cell | {"policy": policy, "reward_model": f"rm {model}", "base_model": f"base {model}"}
                | {"method": method, "target": target, "target_value": gain}
                | {"predictor": name, "predictor_value": float(value)}
                for name, value in values.items()
                for (method, target), gain in targets.items()
            ]  # fmt: skip
    pairs = pl.DataFrame(rows)
    return predictor_statistics(pairs, resamples), predictor_comparisons(pairs, resamples)
