"""A small DuckDB file with the marts' columns, made from a handful of models: what the report tests read.

The arithmetic is a plain second writing of definitions.md 1-4 (NumPy and SciPy over a few rows), good enough
to give the report realistic shapes; the marts themselves are tested against SciPy elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from scipy import stats

from tests.support import performance_database
from warehouse.reports import elements

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"&\u2028"

CATEGORIES = ("chat", "chat_hard", "safety", "reasoning")
CATEGORY_PAIRS = {"chat": 358, "chat_hard": 456, "safety": 740, "reasoning": 1431}
SIZE_GROUPS = {"<3": (0.0, 3.0), ">=3 and <6": (3.0, 6.0), ">=6": (6.0, 1e9)}
COVERAGE_KS = (5, 10, 15, 20, 25, 30)
MIN_MODELS = 8
RUN_DEVIATIONS = {"regression": 0.74, "bradley_terry": 1.39}
REACH = 1.959963984540054


@dataclass(frozen=True)
class Study:
    """What a fixture study is made of.

    models: (model_id, publisher, family, params_b, tokens_t); results: (objective, model_id, four
    categories); values: (model_id, feature, value); defaults: size group -> model; post_training: (model_id,
    stage, parent or None).
    """

    study_id: str
    title: str
    models: pl.DataFrame
    results: pl.DataFrame
    values: pl.DataFrame
    defaults: dict[str, str]
    post_training: list[tuple[str, str, str | None]] = field(default_factory=list)
    post_training_results: pl.DataFrame | None = None
    synthetic: bool = False
    source: str = "arXiv 2505.10775"


def small_study(
    study_id: str = "published",
    *,
    suffix: str = "",
    synthetic: bool = False,
    seed: int = 7,
    per_group: int = 6,
) -> Study:
    """A study of 3 x per_group models with made-up but plausible figures; suffix is put into every name."""
    rng = np.random.default_rng(seed)
    centres = {"<3": 1.5, ">=3 and <6": 4.0, ">=6": 8.0}
    models, results, values, defaults = [], [], [], {}
    for group, centre in centres.items():
        for position in range(per_group):
            name = f"model-{centre:.0f}B-{position}{suffix}"
            params = round(centre + 0.1 * position, 2)
            publisher = f"publisher {position % 4}{suffix}"
            models.append((name, publisher, f"family {position % 4}{suffix}", params, 2.0 + position))
            defaults.setdefault(group, name)
            skill = 60 + 12 * np.log10(params + 1) + rng.normal(0, 3)
            for objective, shift in (("regression", 6.0), ("bradley_terry", 0.0)):
                accuracies = [round(float(skill + shift + rng.normal(0, 3)), 1) for _ in CATEGORIES]
                results.append((objective, name, *accuracies))
            for number in range(4):
                values.append((name, f"benchmark_{number}{suffix}", float(skill + rng.normal(0, 2 + 3 * number))))
    rare = [(row[0], f"rare_benchmark{suffix}", float(n)) for n, row in enumerate(models[:3])]
    chain = [name for name, *_ in models if name.startswith("model-8B")][:4]
    stages = ["base", "sft", "dpo", "rlvr"]
    parents = [None, *chain[:3]]
    frame = pl.DataFrame(results, schema=["objective", "model_id", *CATEGORIES], orient="row")
    return Study(
        study_id=study_id,
        title=f"A study{suffix}",
        models=pl.DataFrame(models, schema=["model_id", "publisher", "family", "params_b", "tokens_t"], orient="row"),
        results=frame,
        values=pl.DataFrame(values + rare, schema=["model_id", "feature", "value"], orient="row"),
        defaults=defaults,
        post_training=list(zip(chain, stages[: len(chain)], parents, strict=False)),
        post_training_results=frame.filter(
            pl.col("model_id").is_in(chain) & (pl.col("objective") == "regression")
        ).drop("objective"),
        synthetic=synthetic,
        source=f"made for a test{suffix}",
    )


def study_of(connection: duckdb.DuckDBPyConnection, study_id: str = "published") -> elements.Study:
    """A study of the marts as the report's topics read it."""
    return elements.Study(connection, study_id, "A study", "a test", synthetic=False, slug=study_id)


def write_marts(path: Path, studies: list[Study]) -> Path:
    """Write the marts of the studies into a new DuckDB file at path and return it."""
    tables: dict[str, list[pl.DataFrame]] = {}
    for study in studies:
        for name, table in study_marts(study).items():
            tables.setdefault(name, []).append(table.select(pl.lit(study.study_id).alias("study_id"), pl.all()))
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema marts")
        for name, frames in tables.items():
            whole = pl.concat(frames, how="vertical_relaxed").to_arrow()
            connection.register("whole", whole)
            connection.execute(f"create table marts.{name} as select * from whole")
            connection.unregister("whole")
    return path


def study_marts(study: Study) -> dict[str, pl.DataFrame]:
    """All marts of one study, without the study_id column."""
    results = _results(study)
    features = _features(study)
    correlations, coverage = _feature_marts(study, results, features)
    counts = study.values.group_by("feature").len().sort("feature")
    gains = _gains(study, results)
    return {
        "dim_studies": pl.DataFrame(
            {
                "title": [study.title],
                "synthetic": [study.synthetic],
                "answer_benchmark": ["rewardbench"],
                "answer_chance": [50.0],
                "source": [study.source],
                "n_models": [study.models.height],
            }
        ),
        "dim_sources": pl.DataFrame(
            {
                "seed": [f"table_4{study.title}"],
                "file": ["dbt/seeds/table_4.csv"],
                "paper_table": ["Table 4"],
                "source": [study.source],
                "licence": ["CC BY 4.0"],
                "n_rows": [study.models.height],
                "sha256": ["ab12" * 16],
            }
        ),
        "dim_base_models": _base_models(study),
        "dim_benchmarks": counts.select(
            pl.col("feature").alias("benchmark"),
            pl.lit("lm_eval").alias("framework"),
            pl.lit("General").alias("topic"),
            pl.lit("5").alias("shots"),
            pl.lit("LGPQ").alias("model_families"),
            pl.lit("Someone et al., 2024").alias("citation"),
            pl.lit("board").alias("main_pipeline"),
            pl.col("len").cast(pl.Int32).alias("n_models"),
            pl.lit(0, pl.Int32).alias("n_joined"),
            pl.col("len").cast(pl.Int32).alias("n_exact"),
            pl.lit(0, pl.Int32).alias("n_close"),
            pl.lit(2, pl.Int32).alias("n_loose"),
            pl.lit(None, pl.String).alias("note"),
        ),
        "fct_pipeline_offsets": _pipelines(counts),
        "fct_reward_model_results": results,
        "fct_size_group_gains": gains,
        "fct_size_group_winners": winners(gains, results),
        "fct_objective_differences": _differences(results),
        "fct_post_training_stages": _post_training(study),
        "fct_benchmark_correlations": correlations,
        "fct_benchmark_coverage": coverage,
    } | performance_database.performance_marts(study, results, features, _overlap)


def _pipelines(counts: pl.DataFrame) -> pl.DataFrame:
    """Every value is of the pipeline `board`, but two of the first benchmark are of `card`, by an offset."""
    rows = []
    for place, (feature, n) in enumerate(counts.iter_rows()):
        own = {"feature": feature, "main_pipeline": "board", "is_joined": True}
        n_card = 2 if place == 0 else 0
        rows.append(
            own
            | {"pipeline": "board", "is_main_pipeline": True, "n_models": n - n_card, "n_shared_models": n - n_card}
            | {"pipeline_offset": 0.0, "standard_error": None, "n_used": n - n_card}
        )
        if n_card:
            rows.append(
                own
                | {"pipeline": "card", "is_main_pipeline": False, "n_models": 5, "n_shared_models": 3}
                | {"pipeline_offset": -18.8, "standard_error": 1.4, "n_used": n_card}
            )
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"standard_error": pl.Float64})


def _size_group(params_b: float) -> str:
    return next(name for name, (low, high) in SIZE_GROUPS.items() if low <= params_b < high)


def _base_models(study: Study) -> pl.DataFrame:
    rows = []
    for row in study.models.iter_rows(named=True):
        group = _size_group(row["params_b"])
        rows.append(
            {
                "model_id": row["model_id"],
                "hub_id": f"hub/{row['model_id']}",
                "publisher": row["publisher"],
                "family": row["family"],
                "params_b": row["params_b"],
                "tokens_t": row["tokens_t"],
                "stage": "instruct",
                "size_group": group,
                "is_default": study.defaults[group] == row["model_id"],
                "is_compared": True,
                "release_month": "09/2024",
            }
        )
    return pl.DataFrame(rows, schema_overrides={"tokens_t": pl.Float64})


def _results(study: Study) -> pl.DataFrame:
    groups = {row["model_id"]: _size_group(row["params_b"]) for row in study.models.iter_rows(named=True)}
    variance = sum(
        (pl.col(name) / 100 * (1 - pl.col(name) / 100) / pairs for name, pairs in CATEGORY_PAIRS.items()),
        start=pl.lit(0.0),
    )
    return study.results.with_columns(
        pl.col("model_id").replace_strict(groups, return_dtype=pl.String).alias("size_group"),
        pl.mean_horizontal(*CATEGORIES).round(1).alias("score"),
        (100 * variance.sqrt() / 4).alias("score_standard_error_approximate"),
        pl.lit(None, pl.Float64).alias("score_standard_error"),
        pl.lit("binomial, category sizes").alias("standard_error_method"),
        pl.col("objective").replace_strict(RUN_DEVIATIONS, return_dtype=pl.Float64).alias("run_deviation"),
        pl.lit("twins").alias("run_noise_basis"),
        pl.lit(None, pl.String).alias("near_chance_categories"),
        pl.lit(None, pl.Float64).alias("reasoning_unweighted"),
        pl.lit("rewardbench").alias("benchmark"),
        pl.lit("chat, chat_hard, reasoning, safety").alias("score_categories"),
        pl.lit(0).alias("n_left_out"),
        pl.lit(2985).alias("n_pairs"),
        pl.lit("complete").alias("status"),
        pl.lit(None, pl.String).alias("status_reason"),
        pl.lit(True).alias("is_comparable"),
        pl.lit("published").alias("basis"),
    ).with_columns((pl.col("score") - REACH * pl.col("score_standard_error_approximate") <= 55).alias("is_near_chance"))


def _gains(study: Study, results: pl.DataFrame) -> pl.DataFrame:
    defaults = pl.DataFrame({"size_group": list(study.defaults), "default_model_id": list(study.defaults.values())})
    positions = {name: number for number, name in enumerate(SIZE_GROUPS)}
    base = results.select(
        "objective",
        pl.col("model_id").alias("default_model_id"),
        pl.col("score").alias("default_score"),
        pl.col("score_standard_error_approximate").alias("default_error"),
        pl.col("is_near_chance").alias("is_default_near_chance"),
    )
    within = ["objective", "size_group"]
    is_default = pl.col("model_id") == pl.col("default_model_id")
    variance = pl.col("score_standard_error_approximate") ** 2 + pl.col("default_error") ** 2
    median = pl.col("score").median().over(within)
    return (
        results.join(defaults, on="size_group")
        .join(base, on=["objective", "default_model_id"])
        .join(study.models.select("model_id", "params_b"), on="model_id")
        .with_columns(
            (pl.col("score") - pl.col("default_score")).alias("gain_points"),
            pl.when(~is_default).then(variance.sqrt()).alias("gain_standard_error"),
            pl.when(~is_default)
            .then((variance + 2 * pl.col("run_deviation") ** 2).sqrt())
            .alias("gain_error_with_runs"),
            pl.when(~is_default).then(False).alias("is_paired"),
            is_default.alias("is_default"),
        )
        .select(
            "objective",
            "size_group",
            pl.col("size_group").replace_strict(positions, return_dtype=pl.Int32).alias("size_group_position"),
            "model_id",
            "params_b",
            "default_model_id",
            "is_default",
            "score",
            "is_near_chance",
            "default_score",
            "is_default_near_chance",
            median.alias("group_median_score"),
            "gain_points",
            (100 * pl.col("gain_points") / pl.col("default_score")).alias("gain_percent"),
            (pl.col("score") - median).alias("gain_over_median_points"),
            "is_paired",
            "gain_standard_error",
            (pl.col("gain_points") - REACH * pl.col("gain_standard_error")).alias("gain_low"),
            (pl.col("gain_points") + REACH * pl.col("gain_standard_error")).alias("gain_high"),
            "gain_error_with_runs",
            (pl.col("gain_points") - REACH * pl.col("gain_error_with_runs")).alias("gain_low_with_runs"),
            (pl.col("gain_points") + REACH * pl.col("gain_error_with_runs")).alias("gain_high_with_runs"),
            pl.col("score").rank("min", descending=True).over(within).cast(pl.Int32).alias("rank_in_group"),
            pl.len().over(within).cast(pl.Int32).alias("n_in_group"),
        )
    )


def winners(gains: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    """Best model of each objective and size group, and its lead over the second; model by model, without items."""
    errors = {
        (row["objective"], row["model_id"]): (row["score_standard_error_approximate"], row["run_deviation"])
        for row in results.iter_rows(named=True)
    }
    schema = {
        "runner_up": pl.String, "runner_up_score": pl.Float64, "gap_points": pl.Float64, "is_gap_paired": pl.Boolean,
        "gap_error": pl.Float64, "gap_error_with_runs": pl.Float64, "n_close": pl.Int32,
    }  # fmt: skip
    rows, leads = [], []
    for (objective, _), group in gains.group_by("objective", "size_group", maintain_order=True):
        best, *others = group.sort("score", "model_id", descending=[True, False]).to_dicts()
        gaps = []
        for row in others:
            mine, other = (errors[objective, name] for name in (best["model_id"], row["model_id"]))
            gaps.append(
                (best["score"] - row["score"], False, np.hypot(mine[0], other[0]), np.linalg.norm(mine + other))
            )
        second = (others[0]["model_id"], others[0]["score"], *gaps[0]) if others else (None,) * 6
        n_close = sum(gap < REACH * spread for gap, _, _, spread in gaps)
        rows.append(best)
        leads.append((*second, n_close))
    left_out = ("group_median_score", "gain_standard_error", "gain_error_with_runs", "rank_in_group")
    if not rows:
        return gains.drop(left_out).with_columns(pl.lit(None, dtype).alias(name) for name, dtype in schema.items())
    firsts = pl.DataFrame(rows, schema=gains.schema).drop(left_out)
    return pl.concat([firsts, pl.DataFrame(leads, schema=schema, orient="row")], how="horizontal")


def _differences(results: pl.DataFrame) -> pl.DataFrame:
    long = results.unpivot(
        on=[*CATEGORIES, "score"],
        index=["objective", "model_id", "size_group"],
        variable_name="category",
        value_name="value",
    )
    sides = [
        long.filter(pl.col("objective") == name).drop("objective").rename({"value": name})
        for name in ("regression", "bradley_terry")
    ]
    return (
        sides[0]
        .join(sides[1], on=["model_id", "size_group", "category"])
        .with_columns(difference_points=pl.col("regression") - pl.col("bradley_terry"))
        .with_columns(
            difference_percent=100 * pl.col("difference_points") / pl.col("bradley_terry"),
            is_paired=pl.lit(False),
            standard_error=pl.lit(1.3),
            error_with_runs=pl.lit(2.0),
            low_with_runs=pl.col("difference_points") - REACH * 2.0,
            high_with_runs=pl.col("difference_points") + REACH * 2.0,
            is_distinguishable=pl.col("difference_points").abs() > REACH * 2.0,
        )
    )


def _post_training(study: Study) -> pl.DataFrame:
    schema = {
        "objective": pl.String, "model_id": pl.String, "stage": pl.String, "stage_position": pl.Int32,
        "base_model_id": pl.String, "parent_model_id": pl.String, "category": pl.String, "value": pl.Float64,
        "base_value": pl.Float64, "change_points": pl.Float64, "change_percent": pl.Float64,
        "change_from_parent_points": pl.Float64, "change_from_parent_percent": pl.Float64, "is_paired": pl.Boolean,
        "change_error": pl.Float64, "change_error_with_runs": pl.Float64, "is_change_distinguishable": pl.Boolean,
        "change_from_parent_error": pl.Float64, "change_from_parent_error_with_runs": pl.Float64,
        "is_change_from_parent_distinguishable": pl.Boolean,
    }  # fmt: skip
    rows = []
    if study.post_training_results is not None:
        figures = {row["model_id"]: row for row in study.post_training_results.iter_rows(named=True)}
        base = study.post_training[0][0]
        for position, (model, stage, parent) in enumerate(study.post_training):
            for category in (*CATEGORIES, "score"):
                value, start, before = (_category(figures[name], category) for name in (model, base, parent or model))
                change, step = value - start, value - before
                is_base = parent is None
                rows.append(
                    ("regression", model, stage, position, base, parent, category, value, start)
                    + ((None,) * 4 if is_base else (change, 100 * change / start, step, 100 * step / before))
                    + ((None,) * 7 if is_base else (False, 1.1, 1.5, abs(change) > 3, 1.1, 1.5, abs(step) > 3))
                )
    return pl.DataFrame(rows, schema=schema, orient="row")


def _category(row: dict, category: str) -> float:
    if category != "score":
        return float(row[category])
    return float(row["score"]) if "score" in row else round(float(np.mean([row[name] for name in CATEGORIES])), 1)


def _features(study: Study) -> dict[str, tuple[str, dict[str, float]]]:
    """feature -> (kind, model -> value), the sizes and token counts among them."""
    features = {
        name[0]: ("benchmark", dict(zip(part["model_id"], part["value"], strict=True)))
        for name, part in study.values.group_by("feature", maintain_order=True)
    }
    for name in ("params_b", "tokens_t"):
        features[name] = ("training", dict(zip(study.models["model_id"], study.models[name], strict=True)))
    logs = study.models["params_b"].log10()
    features["log10_params"] = ("training", dict(zip(study.models["model_id"], logs, strict=True)))
    return features


def _feature_marts(
    study: Study, results: pl.DataFrame, features: dict[str, tuple[str, dict[str, float]]]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    size = features["log10_params"][1]
    correlations, coverage = [], []
    for objective in results["objective"].unique(maintain_order=True):
        part = results.filter(pl.col("objective") == objective)
        for target in (*CATEGORIES, "score"):
            scores = dict(zip(part["model_id"], part[target], strict=True))
            for feature, (kind, values) in features.items():
                key = {"objective": objective, "target": target, "feature": feature, "feature_kind": kind}
                key["topic"] = "Training" if kind == "training" else "General"
                shared = [name for name in scores if name in values]
                x, y, z = (np.array([side[name] for name in shared]) for side in (values, scores, size))
                correlations.append(key | _statistics(x, y, z))
                if len(shared) < MIN_MODELS:
                    continue
                lines = {k: _overlap(x, y, k) for k in COVERAGE_KS if k < len(shared)}
                main, appendix = (lines.get(5, 0) >= 0.4 and lines.get(10, 0) >= at for at in (0.7, 0.6))
                for k, value in lines.items():
                    coverage.append(
                        key
                        | {"k": k, "n": len(shared), "coverage": value, "chance": k / len(shared)}
                        | {"size_coverage": _overlap(z, y, k)}
                        | {"size_difference_low": -0.3, "size_difference_high": 0.3}
                        | {"passes_main_filter": bool(main), "passes_appendix_filter": bool(appendix)}
                    )
    # Jackknife and Benjamini-Hochberg are not the report's concern: the fixture shows the raw p in their place.
    return pl.DataFrame(correlations, infer_schema_length=None), pl.DataFrame(coverage, infer_schema_length=None)


def _statistics(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> dict:
    n = len(x)
    names = (
        "pearson", "pearson_low", "pearson_high", "clustered_low", "clustered_high", "spearman",
        "t_statistic", "p_value", "q_value", "critical_r", "clustered_p_value", "clustered_q_value",
        "partial_pearson_given_size", "partial_low", "partial_high",
    )  # fmt: skip
    empty: dict = dict.fromkeys(names) | {"n": n, "n_publishers": min(n, 4), "is_significant": None}
    if n < MIN_MODELS:
        return empty | {"status": "too_few_models"}
    if np.ptp(x) == 0:
        return empty | {"status": "constant"}
    result = stats.pearsonr(x, y)
    r, interval = float(result.statistic), result.confidence_interval()
    t = stats.t.ppf(0.975, n - 2)
    r_xz, r_yz = (float(np.corrcoef(side, z)[0, 1]) for side in (x, y))
    room = (1 - r_xz**2) * (1 - r_yz**2)
    return empty | {
        "pearson": r,
        "pearson_low": float(interval.low),
        "pearson_high": float(interval.high),
        "clustered_low": max(-1.0, float(interval.low) - 0.05),
        "clustered_high": min(1.0, float(interval.high) + 0.02),
        "spearman": float(stats.spearmanr(x, y).statistic),
        "t_statistic": r * np.sqrt((n - 2) / (1 - r * r)),
        "p_value": float(result.pvalue),
        "q_value": float(result.pvalue),
        "critical_r": float(t / np.sqrt(n - 2 + t * t)),
        "is_significant": bool(result.pvalue < 0.05),
        "clustered_p_value": float(result.pvalue),
        "clustered_q_value": float(result.pvalue),
        "partial_pearson_given_size": float((r - r_xz * r_yz) / np.sqrt(room)) if room > 1e-9 else None,
        "partial_low": -0.5 if room > 1e-9 else None,
        "partial_high": 0.9 if room > 1e-9 else None,
        "status": "tested",
    }


def _overlap(x: np.ndarray, y: np.ndarray, k: int) -> float:
    return len(set(np.argsort(-x, kind="stable")[:k]) & set(np.argsort(-y, kind="stable")[:k])) / k
