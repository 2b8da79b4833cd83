"""The published study as polars frames, made from the seed files for the tests.

Mirrors the marts `fct_regression_features` and `fct_reward_model_results`; the product reads the marts.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

SEEDS = Path(__file__).resolve().parents[2] / "dbt" / "seeds"
CATEGORIES = ("chat", "chat_hard", "safety", "reasoning", "score")
_FAMILIES = (
    ("phi-3", "Phi-3"),
    ("gemma-2-", "Gemma 2"),
    ("gemma", "Gemma"),
    ("llama-3.2", "Llama 3.2"),
    ("llama-3", "Llama 3"),
    ("yi-", "Yi"),
    ("qwen2.5", "Qwen2.5"),
    ("qwen1.5", "Qwen1.5"),
    ("qwen2", "Qwen2"),
    ("stablelm", "StableLM"),
    ("nemotron", "Nemotron"),
    ("mistral", "Mistral"),
    ("falcon3", "Falcon3"),
)


def family_of(model: str) -> str:
    """Model family by name, as people speak of it: the pre-training it shares with its relatives."""
    for pattern, family in _FAMILIES:
        if pattern in model.lower():
            return family
    raise ValueError(f"no family is known for {model}")


def models() -> pl.DataFrame:
    """Table 3 with the family, 40 rows."""
    return (
        pl.read_csv(SEEDS / "table_3_models.csv")
        .with_columns(family=pl.col("model_id").map_elements(family_of, return_dtype=pl.String))
        .select("model_id", "publisher", "family", "params_b", "tokens_t")
    )


def benchmark_values() -> pl.DataFrame:
    """One value per model and benchmark: exact before close, never loose or duplicate, preferred entry first."""
    metric = pl.when(pl.col("benchmark") == "leaderboard_math").then(pl.lit("leaderboard_normalised_mathverify"))
    metric = metric.when(pl.col("benchmark").str.starts_with("leaderboard_")).then(pl.lit("raw_accuracy_pct"))
    return (
        pl.read_csv(SEEDS / "benchmark_results.csv", infer_schema_length=None)
        .with_columns(wanted=metric.otherwise(pl.lit(None)))
        .filter(
            pl.col("match").is_in(["exact", "close"]),
            pl.col("wanted").is_null() | (pl.col("metric") == pl.col("wanted")),
        )
        .with_columns(
            by_match=pl.col("match").replace_strict({"exact": 0, "close": 1}, return_dtype=pl.Int8),
            by_entry=(~pl.col("note").fill_null("").str.contains("preferred entry")).cast(pl.Int8),
        )
        .sort("by_match", "by_entry", "metric", "source_repo", "source_path", "value")
        .unique(["model_id", "benchmark"], keep="first", maintain_order=True)
        .select("model_id", feature="benchmark", value=pl.col("value").cast(pl.Float64))
    )


def features() -> pl.DataFrame:
    """Long feature frame: benchmarks, params_b, log10_params and tokens_t of the 40 models."""
    table = models().with_columns(log10_params=pl.col("params_b").log10())
    training = table.unpivot(
        ["params_b", "log10_params", "tokens_t"], index="model_id", variable_name="feature", value_name="value"
    ).with_columns(feature_kind=pl.lit("training"))
    benchmarks = benchmark_values().with_columns(feature_kind=pl.lit("benchmark"))
    return (
        pl.concat([benchmarks, training.select(benchmarks.columns)])
        .join(table.select("model_id", "publisher", "family"), on="model_id")
        .with_columns(study_id=pl.lit("published"))
    )


def results() -> pl.DataFrame:
    """Tables 4 and 5: objective, model, four categories, score (percent points)."""
    frames = [
        pl.read_csv(SEEDS / file).with_columns(objective=pl.lit(objective), study_id=pl.lit("published"))
        for objective, file in (
            ("regression", "table_4_regression.csv"),
            ("bradley_terry", "table_5_bradley_terry.csv"),
        )
    ]
    return pl.concat(frames).select("study_id", "objective", "model_id", *CATEGORIES)
