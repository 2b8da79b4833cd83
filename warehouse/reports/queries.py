"""Read a mart: one generic SELECT into a Polars frame, and the orders that several topics share.

Scores, accuracies and gains are in percentage points (0-100), `*_percent` in percent, correlations and coverage
between -1 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import duckdb
import polars as pl

from models_train.errors import UserError, close_match, first_line
from warehouse.connection import has_table
from warehouse.reports.labels import CATEGORIES, ScoreBasis

MOST_DRAWN = 40
"""Most features of a chart, or charts of a figure: more could not be read."""
BY_OBJECTIVE = "list_position(['regression', 'bradley_terry'], objective), objective"
BY_USE = "list_position(['rl', 'best_of_n', 'filter_data'], use)"
BY_CATEGORY = "list_position(['score', 'chat', 'chat_hard', 'safety', 'reasoning'], {column})"
BY_PROTOCOL = "list_position(['paper_in_sample', 'paper_10_fold', 'leave_publisher_out'], protocol)"
BY_DOMAIN = "domain <> 'all', domain"
"""SQL of orders: objectives, accuracies and protocols as the paper lists them; all documents before single domains."""


def read(
    connection: duckdb.DuckDBPyConnection,
    mart: str,
    columns: str,
    where: Mapping[str, str | bool] | None = None,
    order: str = "",
    *,
    optional: bool = False,
) -> pl.DataFrame:
    """Rows of `marts.<mart>`.

    columns, order: SQL lists; columns are named one by one and rows are ordered, so that equal marts give equal
    reports. where: value by column. optional: a mart that is not built gives an empty frame without columns. Raises
    UserError, with the mart and the remedy, if the mart or a column is missing.
    """
    if optional and not has_table(connection, "marts", mart):
        return pl.DataFrame()
    conditions = " and ".join(f"{column} = ${column}" for column in where or {})
    query = f"select {columns} from marts.{mart}"
    query += f" where {conditions}" if conditions else ""
    query += f" order by {order}" if order else ""
    try:
        return connection.execute(query, dict(where or {})).pl()
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        raise UserError(
            f"the report cannot read marts.{mart}: {first_line(error)}. "
            "Build the marts first (dbt build, or the Dagster group `marts`)."
        ) from error


def parts(frame: pl.DataFrame, column: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """(value, its rows) for each value of a text column, in the frame's order; nothing for an empty frame."""
    if not frame.height:
        return
    for (value,), part in frame.group_by(column, maintain_order=True):
        yield str(value), part


def strongest(frame: pl.DataFrame, column: str, rule: str, mart: str) -> tuple[pl.DataFrame, str]:
    """The rows of the first MOST_DRAWN values of a column, in the frame's order, and a sentence where there are more.

    rule: the order, as `Shown are 40 of 300, those with ...` goes on. mart: has all.
    """
    names = frame[column].unique(maintain_order=True)
    if len(names) <= MOST_DRAWN:
        return frame, ""
    text = f" Shown are {MOST_DRAWN} of {len(names)}, those with {rule}; all are in the table {mart}."
    return frame.filter(pl.col(column).is_in(names[:MOST_DRAWN].to_list())), text


def studies(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row per study, those with real data first."""
    columns = "study_id, title, synthetic, source, n_models"
    return read(connection, "dim_studies", columns, order="synthetic, study_id")


def has_other_scores(connection: duckdb.DuckDBPyConnection, study_id: str) -> bool:
    """Whether a study has figures on base and data, teachers, score files or responses, none of base models."""
    results, *others = (
        read(connection, mart, "study_id", {"study_id": study_id}, "study_id limit 1", optional=True).height
        for mart in (
            "fct_reward_model_results",
            "fct_base_by_data_results",
            "fct_teacher_predictors",
            "fct_benchmark_scores",
            "fct_teacher_properties",
        )
    )
    return not results and any(others)


def reward_scores(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per benchmark and reward model of any kind, best first: its figure in percent, and the places that the
    comparisons leave possible."""
    where = {"study_id": study_id}
    scores = read(
        connection,
        "fct_benchmark_scores",
        "reward_id, kind, benchmark, metric, value, low, high, n, n_ties, n_errors, is_comparable, status",
        {**where, "is_main": True},
        "benchmark, value desc nulls last, reward_id",
        optional=True,
    )
    if not scores.height:
        return scores
    columns = "benchmark, reward_id, n_compared, n_worse, best_place, worst_place"
    places = read(connection, "fct_benchmark_groups", columns, where, "benchmark, reward_id")
    return scores.join(places, on=["benchmark", "reward_id"], how="left", maintain_order="left")


def teacher_recommendations(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per policy, use, objective, gold reward and size limit: the base model to take, or why there is none."""
    return read(
        connection,
        "fct_teacher_recommendations",
        "policy_id, gold_id, use, objective, size_limit_b, base_model, family, params_b, is_same_family, evidence, "
        "measure, expected, low, high, probability_best, runner_up, runner_up_expected, level_with, n_level, "
        "n_compared, n_without, training_hours, teaching_hours, reason",
        {"study_id": study_id},
        f"policy_id, {BY_USE}, {BY_OBJECTIVE}, gold_id, size_limit_b nulls last",
        optional=True,
    )


def race_answers(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and way of choosing, the race first: the base model that it names, and what that cost."""
    return read(
        connection,
        "fct_race_answers",
        "objective, method, benchmark, n_candidates, winner, probability_best, probability_within, indifference_set, "
        "indifference, confidence, end_reason, answer, is_census_known, census_winner, regret_points, n_looks, "
        "n_trained_tokens, n_scored_tokens, n_tokens, device_hours, n_census_tokens, census_device_hours, "
        "share_of_census, budget",
        {"study_id": study_id},
        f"{BY_OBJECTIVE}, method <> 'race', method",
        optional=True,
    )


def races_of(connection: duckdb.DuckDBPyConnection, study_id: str, objective: str | None = None) -> pl.DataFrame:
    """The rows of `race_answers`, of one objective or of all. Raises UserError for a study or an objective without a
    race."""
    known = [str(row["study_id"]) for row in studies(connection).to_dicts()]
    if study_id not in known:
        raise UserError(f"{study_id}: no study of this name is published; {close_match(study_id, known, 'there are')}")
    answers = race_answers(connection, study_id)
    if objective is not None and answers.height:
        answers = answers.filter(objective=objective)
    if not answers.height:
        raise UserError(f"{study_id}: no race of this study is published; run `make pick STUDY={study_id}`")
    return answers


def size_group_winners(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and size group: the best base model, its gain, the runner-up and the lead over it."""
    return read(
        connection,
        "fct_size_group_winners",
        "objective, size_group, size_group_position, model_id, params_b, score, is_near_chance, default_model_id, "
        "default_score, is_default, is_default_near_chance, gain_points, gain_percent, gain_over_median_points, "
        "is_paired, gain_low, gain_high, gain_low_with_runs, gain_high_with_runs, n_in_group, runner_up, "
        "runner_up_score, gap_points, is_gap_paired, gap_error, gap_error_with_runs, n_close",
        {"study_id": study_id},
        f"{BY_OBJECTIVE}, size_group_position",
    )


def score_basis(connection: duckdb.DuckDBPyConnection, study_id: str) -> ScoreBasis:
    """What the scores of a study stand on; of a study without results RewardBench."""
    where = {"study_id": study_id}
    (study,) = read(connection, "dim_studies", "answer_benchmark, answer_chance", where).to_dicts()
    rows = read(connection, "fct_reward_model_results", "score, score_categories", where, "1, 2")
    found = {
        name
        for row in rows.filter(pl.col("score").is_not_null()).iter_rows(named=True)
        for name in (row["score_categories"] or "").split(", ")
        if name
    }
    known = [name for name in CATEGORIES if name in found]
    parts = (*known, *sorted(found.difference(known)))
    if study["answer_benchmark"] is None:
        return ScoreBasis()
    return ScoreBasis(study["answer_benchmark"], parts, study["answer_chance"])


def run_noise(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective: standard deviation of the score between trainings, in points, and its basis."""
    return read(
        connection,
        "fct_reward_model_results",
        "distinct objective, run_deviation, run_noise_basis",
        {"study_id": study_id},
        BY_OBJECTIVE,
    )


def near_chance_defaults(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and default base model whose score is near chance, with the median of its size group."""
    return read(
        connection,
        "fct_size_group_gains",
        "objective, model_id, score, group_median_score",
        {"study_id": study_id, "is_default": True, "is_near_chance": True},
        f"{BY_OBJECTIVE}, size_group_position",
    )


def base_models(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per model, the compared ones first, largest first."""
    return read(
        connection,
        "dim_base_models",
        "model_id, hub_id, publisher, family, params_b, tokens_t, stage, size_group, is_default, is_compared, "
        "release_month",
        {"study_id": study_id},
        "is_compared desc, params_b desc nulls last, model_id",
    )


def recommendations(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, size limit (null: none, last) and model, best first; abstentions (no rank) last."""
    return read(
        connection,
        "fct_recommendations",
        "objective, size_limit_b, rank, model_id, basis, expected_score, interval_low, interval_high, "
        "gain_points_over_default, probability_best, reason",
        {"study_id": study_id},
        f"{BY_OBJECTIVE}, size_limit_b nulls last, rank nulls last, model_id",
        optional=True,
    )
