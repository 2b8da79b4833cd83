"""Checks of the results across tables, shared by the asset checks and the publisher."""

from __future__ import annotations

from warehouse.connection import Connection, identifier

TOLERANCE_POINTS = 0.06
"""Largest difference of a score from the mean of its categories, in points. Rounding each to one decimal allows 0.05 +
0.05; the published tables stay within 0.06."""
RESULTS, MODELS = "fct_reward_model_results", "dim_base_models"


def incomplete_result_tables(connection: Connection, database: str | None = None) -> list[str]:
    """Messages on published result tables that do not hold every compared model exactly once.

    A study that trains its own reward models gets its results one by one: a model without one is shown as missing in
    the report and does not prevent publishing. Two results of a model are wrong in any study.
    """
    marts = _marts(database)
    rows = connection.execute(
        f"""
        with objectives as (
            select study_id, objective, bool_or(basis = 'published') as is_published
            from {marts}.fct_reward_model_results
            group by all
        ),

        expected as (
            select models.study_id, objectives.objective, objectives.is_published, models.model_id
            from {marts}.dim_base_models as models
            inner join objectives on models.study_id = objectives.study_id
            where models.is_compared
        ),

        counted as (
            select
                expected.study_id, expected.objective, expected.model_id,
                count(results.model_id) as n, expected.is_published
            from expected
            left join {marts}.fct_reward_model_results as results using (study_id, objective, model_id)
            group by all
        )

        select
            study_id, objective, count(*) as n_expected, count(*) filter (where n = 1) as n_found,
            string_agg(model_id, ', ' order by model_id) filter (where n > 1 or (is_published and n = 0)) as others
        from counted
        group by all
        having others is not null
        order by all
        """
    ).fetchall()
    return [
        f"{study}, {objective}: {found} of {expected} compared models have exactly one result; not so: {others}"
        for study, objective, expected, found, others in rows
    ]


def scores_off_the_mean(connection: Connection, database: str | None = None) -> list[str]:
    """Messages on results whose score is further from the mean of its categories than rounding allows."""
    rows = connection.execute(
        f"""
        select study_id, objective, model_id, score,
            list_avg([chat, chat_hard, safety, reasoning]) as mean
        from {_marts(database)}.fct_reward_model_results
        where abs(score - mean) > ?
        order by all
        """,
        [TOLERANCE_POINTS],
    ).fetchall()
    return [
        f"{study}, {objective}, {model}: score {score} but the mean of the categories is {mean:.3f}"
        for study, objective, model, score, mean in rows
    ]


def unscored_documents(connection: Connection) -> dict[str, float]:
    """Share of the documents that could not be scored, 0 to 1, by `study/model`; models with none are left out."""
    rows = connection.execute(
        "select study_id || '/' || model_id, n_errors / n_documents from marts.fct_presence_by_domain "
        "where domain = 'all' and n_errors > 0 and model_id = donor_model_id order by all"
    ).fetchall()
    return dict(rows)


def result_counts(connection: Connection) -> dict[str, int]:
    """Number of results per study and objective, as `study/objective`."""
    rows = connection.execute(
        "select study_id || '/' || objective, count(*) from marts.fct_reward_model_results group by all order by all"
    ).fetchall()
    return dict(rows)


def _marts(database: str | None) -> str:
    return f"{identifier(database)}.marts" if database else "marts"
