"""Reward models on several benchmarks: their figures, how the benchmarks rank them, and what errors they share."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels, queries
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import MOST_DRAWN, parts
from warehouse.reports.tables import COUNT, MODEL, PROSE, TEXT, Col, Row, Table, decimals

OWN_BENCHMARK = "rewardbench"
ROW_HEIGHT = 24
RELATIONS = {"same": "same", "different": "other", "unknown": "unknown"}
FEWEST_RANKED = 4
"""Fewest reward models whose rank correlation is shown."""
_SHARE = decimals(2)


def section(study: Study) -> Section | None:
    """Matrix, rank correlations, shared errors and family preference; None with RewardBench of own models alone."""
    scores = main_scores(study)
    if not scores.filter((pl.col("benchmark") != OWN_BENCHMARK) | (pl.col("kind") != "trained")).height:
        return None
    items = (
        _matrix(scores, study),
        _places(scores, study),
        _rank_correlations(rank_correlations(study), study),
        _herding_map(base_correlations(study), study),
        _herding_classes(herding(study), study),
        _family_preference(family_preferences(study), study),
    )
    return Section(
        "reward-benchmarks",
        "Reward models on all benchmarks",
        (SUMMARY,),
        items=items,
        headlines=_headlines(scores),
    )


def main_scores(study: Study) -> pl.DataFrame:
    """One row per reward and benchmark with its figure; rewards of the most benchmarks and the highest mean first."""
    whole = queries.reward_scores(study.connection, study.study_id)
    if not whole.height:
        return whole if whole.width else pl.DataFrame(schema={"benchmark": pl.String, "kind": pl.String})
    order = pl.len().over("reward_id"), pl.col("value").mean().over("reward_id"), pl.col("reward_id")
    return whole.sort(*order, "benchmark", descending=[True, True, False, False], nulls_last=True)


def rank_correlations(study: Study) -> pl.DataFrame:
    """One row per pair of benchmarks, in both orders."""
    frame = study.read(
        "fct_benchmark_rank_correlations",
        "benchmark_a, benchmark_b, n_rewards, spearman, low, high, status",
        "benchmark_a, benchmark_b",
    )
    turned = frame.rename({"benchmark_a": "benchmark_b", "benchmark_b": "benchmark_a"}).select(frame.columns)
    return pl.concat([frame, turned])


def base_correlations(study: Study) -> pl.DataFrame:
    """Mean phi of the pairs of rewards of two base models by benchmark, in both orders.

    A base that is not known goes by the name of its reward.
    """
    frame = study.read(
        "fct_error_correlations",
        "benchmark, coalesce(base_a, reward_a) as base_a, coalesce(base_b, reward_b) as base_b, phi, excess",
        "benchmark, reward_a, reward_b",
    )
    turned = frame.rename({"base_a": "base_b", "base_b": "base_a"}).select(frame.columns)
    both = pl.concat([frame, turned.filter(pl.col("base_a") != pl.col("base_b"))])
    return (
        both.filter(pl.col("phi").is_not_null())
        .group_by("benchmark", "base_a", "base_b")
        .agg(pl.col("phi").mean(), pl.len().alias("n"))
        .sort("benchmark", "base_a", "base_b")
    )


def herding(study: Study) -> pl.DataFrame:
    """One row per benchmark and class of pairs of rewards."""
    return study.read(
        "fct_herding",
        "benchmark, base_relation, data_relation, n_reward_pairs, n_rewards, mean_phi, low, high, all_wrong, "
        "all_wrong_if_independent, status",
        "benchmark, list_position(['all', 'same', 'different', 'unknown'], base_relation), "
        "list_position(['all', 'same', 'different', 'unknown'], data_relation)",
    )


def family_preferences(study: Study) -> pl.DataFrame:
    """One row per benchmark, family of rewards and family of generators."""
    return study.read(
        "fct_family_preference",
        "benchmark, reward_family, generator_family, is_own_family, n_rewards, n_other_rewards, n_items, preference, "
        "low, high, status",
        "benchmark, reward_family, generator_family",
    )


SUMMARY = (
    "Each reward model on every benchmark that it has rewards on, of this study or imported. Figures of two benchmarks "
    "are not comparable: a coin has 50 on pairs, 25 on the best of four, 10 on one right and nine wrong answers. "
    "Within a benchmark, models are compared on the items that both have."
)


def _headlines(scores: pl.DataFrame) -> tuple[tuple[str, str, str], ...]:
    """Per benchmark: its name, the reward model with the highest figure, and what can be told from it."""
    best_first = scores.sort("benchmark", "value", "reward_id", descending=[False, True, False], nulls_last=True)
    found = []
    for benchmark, part in parts(best_first, "benchmark"):
        best, figure, remarks = labels.best_reward(part.to_dicts())
        if figure:
            found.append((labels.reward_benchmark(benchmark), best, "; ".join((figure, *remarks))))
    return tuple(found)


def matrix(frame: pl.DataFrame) -> alt.LayerChart:
    """Rewards x benchmarks, colour and text = the figure with its 95 % interval; frame: rows of `main_scores`."""
    half = (pl.col("high") - pl.col("low")) / 2
    frame = charts.ranked(frame, "reward_id").with_columns(
        charts.named("benchmark", labels.reward_benchmark, "benchmark_text"),
        pl.when(half.is_not_null())
        .then(pl.format("{} ± {}", _one_digit(pl.col("value")), _one_digit(half)))
        .otherwise(_one_digit(pl.col("value")))
        .alias("text"),
        pl.when(pl.col("is_comparable") & (pl.col("metric") != "mean_of_present"))
        .then(pl.lit(""))
        .otherwise(pl.lit("°"))
        .alias("mark"),
    )
    frame = frame.with_columns(pl.concat_str("text", "mark", ignore_nulls=True).alias("text"))
    tips: charts.Tooltip = (
        ("reward_id:N", "Reward model"),
        ("benchmark_text:N", "Benchmark"),
        ("metric:N", "Figure"),
        ("value:Q", "Value (%)", ".1f"),
        ("low:Q", "95 % interval, low", ".1f"),
        ("high:Q", "95 % interval, high", ".1f"),
        ("n:Q", "Items"),
        ("n_ties:Q", "Ties"),
        ("n_errors:Q", "Items without a reward"),
        ("best_place:Q", "Best possible place"),
        ("worst_place:Q", "Worst possible place"),
        ("status:N", "Status"),
    )
    base = charts.row_chart(frame, "reward_id", tips).encode(x=_column_axis("benchmark_text"))
    color = charts.heat_color("value", "Figure (%)", (0, 100), "ramp", "d", values=[0, 25, 50, 75, 100])
    styles = {"datum.value >= 70": "cell-strong", "!(datum.value >= 70)": "cell-weak"}
    return charts.layered(charts.heat_map(base, color, styles), ROW_HEIGHT * frame["reward_id"].n_unique())


def _one_digit(column: pl.Expr) -> pl.Expr:
    return column.map_elements(lambda value: labels.number(value, 1), return_dtype=pl.String)


def _column_axis(column: str) -> alt.X:
    return alt.X(f"{column}:N", title=None, axis=alt.Axis(orient="top", style="heat-axis"))


def _matrix(scores: pl.DataFrame, study: Study) -> Figure:
    names = scores["reward_id"].unique(maintain_order=True)
    drawn = scores.filter(pl.col("reward_id").is_in(names.head(MOST_DRAWN).to_list()))
    more = (
        f" The first {MOST_DRAWN} of {len(names)} are drawn; all are in the table." if len(names) > MOST_DRAWN else ""
    )
    n_benchmarks = scores["benchmark"].n_unique()
    return Figure(
        name=study.name("benchmark_matrix"),
        title="Reward models by benchmark",
        caption=(
            "Percent, ± half of the 95 % interval over items. RewardBench: mean of the four categories; RewardBench 2 "
            "and RM-Bench: mean of six subsets and of four domains; others: share of items whose right answer has the "
            "highest reward, a tie not won. °: on fewer items than another model, or the mean of those parts that are "
            f"there.{more}"
        ),
        panels=(
            Panel(
                f"{labels.plural(len(names), 'reward model')}, {labels.plural(n_benchmarks, 'benchmark')}",
                f"Heat map: figures of {len(names)} reward models on {n_benchmarks} benchmarks, with intervals.",
                matrix(drawn),
            ),
        ),
        key="Percent ± half of the 95 % interval over items; °: not on all items",
        panel_width=max(320, 130 * n_benchmarks),
    )


def _places(scores: pl.DataFrame, study: Study) -> Table:
    rows: list[Row] = [
        row | {"benchmark_text": labels.reward_benchmark(row["benchmark"])}
        for row in scores.sort("benchmark", "value", descending=[False, True], nulls_last=True).to_dicts()
    ]
    return Table(
        study.name("benchmark_places"),
        "Places that the comparisons leave possible",
        "A model's best place is one more than the number of models that are clearly better, by paired tests on the "
        "same items with Holm's correction over all pairs of models of the benchmark; its worst place likewise. These "
        "stand in place of ranks: models whose places overlap may be equally good.",
        rows,
        [
            Col("Reward model", "reward_id", MODEL),
            Col("Benchmark", "benchmark_text"),
            Col("Figure (%)", "value", decimals(1), note=_interval_note),
            Col("Possible places", _place_text, TEXT, sort=lambda row: row["best_place"]),
            Col("Items", "n", COUNT),
            Col("Remark", lambda row: None if row["status"] == "ok" else row["status"], PROSE),
        ],
    )


def _interval_note(row: Row) -> str:
    return "" if row["low"] is None else f"{labels.number(row['low'])} to {labels.number(row['high'])}"


def _place_text(row: Row) -> str | None:
    if row["best_place"] is None:
        return None
    if row["best_place"] == row["worst_place"]:
        return str(row["best_place"])
    return f"{row['best_place']} to {row['worst_place']}"


def rank_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Benchmarks x benchmarks, colour and text = Spearman's correlation; frame: rows of `rank_correlations`."""
    shown = pl.when(pl.col("n_rewards") >= FEWEST_RANKED).then(pl.col("spearman"))
    frame = charts.ranked(
        frame.with_columns(shown.alias("spearman"))
        .with_columns(
            charts.named("benchmark_a", labels.reward_benchmark, "row"),
            charts.named("benchmark_b", labels.reward_benchmark, "column"),
            pl.when(pl.col("spearman").is_null())
            .then(pl.format("n = {}", "n_rewards"))
            .otherwise(pl.format("{} (n = {})", charts.two_digits("spearman"), "n_rewards"))
            .alias("text"),
            (pl.col("spearman").abs() >= 0.78).fill_null(False).alias("is_strong"),
        )
        .sort("row", "column"),
        "row",
    )
    tips: charts.Tooltip = (
        ("row:N", "Benchmark"),
        ("column:N", "Benchmark"),
        ("spearman:Q", "Spearman's rank correlation", ".2f"),
        ("low:Q", "95 % interval, low", ".2f"),
        ("high:Q", "95 % interval, high", ".2f"),
        ("n_rewards:Q", "Reward models (n)"),
        ("status:N", "Status"),
    )
    base = charts.row_chart(frame, "row", tips).encode(x=_column_axis("column"))
    color = charts.heat_color("spearman", "Spearman", (-1, 1), "diverging", values=[-1, 0, 1])
    styles = {"datum.is_strong": "cell-strong", "!datum.is_strong": "cell-weak"}
    return charts.layered(charts.heat_map(base, color, styles), 30 * frame["row"].n_unique())


def _rank_correlations(frame: pl.DataFrame, study: Study) -> Figure:
    n = frame["benchmark_a"].n_unique()
    panels = (
        Panel(
            f"{n} benchmarks",
            f"Heat map: Spearman's correlation of {n} benchmarks over the reward models that both rank.",
            rank_map(frame),
        ),
    )
    return Figure(
        name=study.name("benchmark_ranks"),
        title="How alike the benchmarks rank reward models",
        caption=(
            "Spearman's correlation of two benchmarks over the reward models that have all items of both; n is their "
            "number, and the 95 % interval over them is in the tooltip; below 4 nothing is shown. With few models it "
            "is wide: at n = 6 it takes 0.89 to be significant."
        ),
        panels=panels if frame.height else (),
        empty="No two benchmarks share two comparable reward models, so their ranks cannot be compared.",
        key="Spearman's correlation over n reward models",
        panel_width=max(320, 110 * n),
    )


def herding_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Base x base, colour and text = mean phi of their reward models' errors; frame: `base_correlations`."""
    frame = charts.ranked(
        frame.with_columns(charts.two_digits("phi").alias("text"), (pl.col("phi").abs() >= 0.78).alias("is_strong")),
        "base_a",
    )
    tips: charts.Tooltip = (
        ("base_a:N", "Base model"),
        ("base_b:N", "Base model"),
        ("phi:Q", "Mean correlation of errors", ".3f"),
        ("n:Q", "Pairs of reward models"),
    )
    x = alt.X("base_b:N", title=None, axis=alt.Axis(orient="top", labelAngle=-40, labelLimit=160, domain=False))
    base = charts.row_chart(frame, "base_a", tips).encode(x=x)
    color = charts.heat_color("phi", "Correlation of errors (phi)", (-1, 1), "diverging", values=[-1, 0, 1])
    styles = {"datum.is_strong": "cell-strong", "!datum.is_strong": "cell-weak"}
    return charts.layered(charts.heat_map(base, color, styles), ROW_HEIGHT * frame["base_a"].n_unique())


def _herding_map(frame: pl.DataFrame, study: Study) -> Figure:
    panels = []
    for benchmark, part in parts(frame, "benchmark"):
        names = part.group_by("base_a").agg(pl.col("n").sum()).sort("n", "base_a", descending=[True, False])
        kept = names["base_a"].head(MOST_DRAWN).to_list()
        drawn = part.filter(pl.col("base_a").is_in(kept) & pl.col("base_b").is_in(kept))
        panels.append(
            Panel(
                labels.reward_benchmark(benchmark),
                f"Heat map: correlation of the errors of reward models on {labels.reward_benchmark(benchmark)}, "
                f"{len(kept)} bases by {len(kept)}.",
                herding_map(drawn),
            )
        )
    widest = max((part["base_a"].n_unique() for _, part in parts(frame, "benchmark")), default=0)
    return Figure(
        name=study.name("herding"),
        title="Which reward models make the same errors",
        caption=(
            "Correlation (phi) of the errors of two reward models over all pairs of a right and a wrong answer, mean "
            "over the reward models of each base; on the diagonal different reward models of one base. A base that is "
            "not known is shown by the reward model's name. 0 is independent: an ensemble gains most from models whose "
            "errors correlate least."
        ),
        panels=tuple(panels),
        empty="No two reward models share a benchmark, so no errors can be compared.",
        key="Correlation (phi) of errors, base by base",
        panel_width=max(320, min(760, 60 * widest)),
        choice=len(panels) > 1,
        choice_label="Benchmark",
    )


def _herding_classes(frame: pl.DataFrame, study: Study) -> Table:
    rows: list[Row] = [
        row
        | {
            "benchmark_text": labels.reward_benchmark(row["benchmark"]),
            "relation": "all pairs"
            if row["base_relation"] == "all"
            else f"{RELATIONS[row['base_relation']]} base, {RELATIONS[row['data_relation']]} data",
        }
        for row in frame.to_dicts()
    ]
    return Table(
        study.name("herding_classes"),
        "Herding by base model and by training data",
        "Mean correlation of errors over the pairs of reward models of each class, with a 95 % interval over items and "
        "reward models. Bases and data are crossed, so that one is not taken for the other. The last columns: the "
        "share of pairs of answers that all models of the class get wrong, and that share if their errors were "
        "independent. Below 4 reward models there is no interval.",
        rows,
        [
            Col("Benchmark", "benchmark_text"),
            Col("Pairs of reward models", "relation"),
            Col("Mean correlation", "mean_phi", _SHARE, note=_phi_note),
            Col("Pairs", "n_reward_pairs", COUNT),
            Col("Models", "n_rewards", COUNT),
            Col("All wrong (%)", lambda row: _percent(row["all_wrong"]), decimals(1)),
            Col("If independent (%)", lambda row: _percent(row["all_wrong_if_independent"]), decimals(1)),
        ],
        empty="No two reward models share a benchmark.",
    )


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _phi_note(row: Row) -> str:
    return "" if row["low"] is None else f"{labels.number(row['low'], 2)} to {labels.number(row['high'], 2)}"


def preference_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Family of rewards x family of generators, colour and text = preference in ranks; frame: `family_preferences`."""
    reach = max(0.5, *frame["preference"].abs())
    is_told = (pl.col("low") > 0) | (pl.col("high") < 0)
    frame = charts.ranked(
        frame.with_columns(
            pl.concat_str(
                pl.col("preference").map_elements(
                    lambda value: labels.number(value, 2, signed=True), return_dtype=pl.String
                ),
                pl.when(is_told.fill_null(False)).then(pl.lit("*")).otherwise(pl.lit("")),
            ).alias("text"),
            pl.format("{} ({})", "reward_family", "n_rewards").alias("row"),
            (pl.col("preference").abs() > 0.7 * reach).alias("is_strong"),
        ),
        "row",
    )
    tips: charts.Tooltip = (
        ("reward_family:N", "Family of the reward models"),
        ("generator_family:N", "Answers of"),
        ("preference:Q", "Ranks higher than by others", "+.2f"),
        ("low:Q", "95 % interval, low", "+.2f"),
        ("high:Q", "95 % interval, high", "+.2f"),
        ("n_items:Q", "Items"),
        ("n_rewards:Q", "Reward models of the family"),
        ("n_other_rewards:Q", "Other reward models"),
        ("status:N", "Status"),
    )
    base = charts.row_chart(frame, "row", tips).encode(x=_column_axis("generator_family"))
    color = charts.heat_color("preference", "Ranks higher than by others", (-reach, reach), "diverging")
    own = base.transform_filter("datum.is_own_family").mark_rect(style="own-family", filled=False)
    styles = {"datum.is_strong": "cell-strong", "!datum.is_strong": "cell-weak"}
    layers = [*charts.heat_map(base, color, styles), own]
    return charts.layered(layers, 30 * frame["row"].n_unique())


def _family_preference(frame: pl.DataFrame, study: Study) -> Figure:
    panels = tuple(
        Panel(
            labels.reward_benchmark(benchmark),
            f"Heat map: preference of reward models of each family for wrong answers of each family of generators on "
            f"{labels.reward_benchmark(benchmark)}.",
            preference_map(part),
        )
        for benchmark, part in parts(frame, "benchmark")
    )
    widest = max((part["generator_family"].n_unique() for _, part in parts(frame, "benchmark")), default=0)
    return Figure(
        name=study.name("family_preference"),
        title="Do reward models prefer answers of their own family?",
        caption=(
            "How many ranks higher the reward models of a family (rows; their number in brackets) put the wrong "
            "answers of a family of generators (columns) than reward models of other families do. Wrong answers only, "
            "so that being right does not count; framed: their own family; *: the 95 % interval over items leaves "
            "out 0. With few reward models per family, the family and the single model cannot be told apart."
        ),
        panels=panels,
        empty=(
            "Needs reward models of two families with known bases, on a benchmark whose items have wrong answers of "
            "known generators of two families."
        ),
        key="Ranks higher than by reward models of other families; framed: own family; *: told from 0",
        panel_width=max(320, min(760, 80 * widest)),
        choice=len(panels) > 1,
        choice_label="Benchmark",
    )
