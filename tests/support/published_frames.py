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


def pipeline_values() -> pl.DataFrame:
    """Exact and close values of the seed, which has none twice: model_id, pipeline, metric, match, feature, value.

    Mirrors int_pipeline_values; the value is its `measured_value`.
    """
    return (
        pl.read_csv(SEEDS / "benchmark_results.csv", infer_schema_length=None)
        .filter(pl.col("match").is_in(["exact", "close"]))
        .select(
            "model_id", "pipeline", "metric", "match",
            feature="benchmark", measured_value=pl.col("value").cast(pl.Float64),
        )
    )  # fmt: skip


def benchmark_values(minimum_shared: int = 3) -> pl.DataFrame:
    """One value per model and benchmark, a second writing of definitions 3: main pipeline, or minus a mean difference.

    Columns: model_id, feature, value, pipeline, measured_value, is_main_pipeline, pipeline_offset,
    pipeline_offset_error.
    """
    priority = {(b, m): int(p) for b, m, p, _ in pl.read_csv(SEEDS / "benchmark_metrics.csv").iter_rows()}
    chosen: dict[tuple[str, str], tuple[float, dict[str, object]]] = {}
    for (feature,), values in pipeline_values().group_by("feature", maintain_order=True):
        tables = {
            str(name): dict(one.select("model_id", "measured_value").iter_rows())
            for (name,), one in values.group_by("pipeline")
        }
        place = {}
        for (name,), one in values.group_by("pipeline"):
            n_exact = (one["match"] == "exact").sum()
            place[name] = (-one.height, -n_exact, min(priority[feature, metric] for metric in one["metric"]))
        (main,) = (name for name in place if place[name] == min(place.values()))
        for name, table in tables.items():
            differences = pl.Series([table[m] - tables[main][m] for m in table if m in tables[main]], dtype=pl.Float64)
            if name != main and differences.len() < minimum_shared:
                continue
            offset = 0.0 if name == main else float(differences.mean())
            error = None if name == main else float(differences.std()) / differences.len() ** 0.5
            for model_id, value in table.items():
                row = {"value": value - offset, "pipeline": name, "measured_value": value}
                row |= {"is_main_pipeline": name == main, "pipeline_offset": offset, "pipeline_offset_error": error}
                rank = -1.0 if error is None else error
                if (model_id, feature) not in chosen or rank < chosen[model_id, feature][0]:
                    chosen[model_id, feature] = (rank, row)
    rows = [{"model_id": m, "feature": f} | row for (m, f), (_, row) in chosen.items()]
    return pl.DataFrame(rows, schema_overrides={"pipeline_offset_error": pl.Float64}, infer_schema_length=None)


def features() -> pl.DataFrame:
    """Long feature frame: benchmarks, params_b, log10_params and tokens_t of the 40 models."""
    table = models().with_columns(log10_params=pl.col("params_b").log10())
    training = table.unpivot(
        ["params_b", "log10_params", "tokens_t"], index="model_id", variable_name="feature", value_name="value"
    ).with_columns(feature_kind=pl.lit("training"), measured_value="value", is_main_pipeline=True, pipeline_offset=0.0)
    benchmarks = benchmark_values().with_columns(feature_kind=pl.lit("benchmark"))
    return (
        pl.concat([benchmarks, training], how="diagonal")
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
