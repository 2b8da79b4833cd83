"""Reading the marts: one SELECT per input of the report, each returning a Polars frame.

Every function takes an open DuckDB connection (read-only is enough) and, but for `studies`, the study to
read. Columns are named one by one and rows are ordered, so that equal databases give equal reports. Scores,
accuracies and gains are in percentage points (0-100), `*_percent` in percent, correlations and coverage
between -1 and 1. A mart or a column that is missing raises MartError.
"""

from __future__ import annotations

import duckdb
import polars as pl

# Two-sided 95 % of the normal distribution, as in the approximate intervals of the marts.
Z_95 = 1.959964

_TARGET_ORDER = "list_position(['score', 'chat', 'chat_hard', 'safety', 'reasoning'], {column})"
OBJECTIVE_ORDER = "list_position(['regression', 'bradley_terry'], objective)"


class MartError(Exception):
    """A mart that the report needs is missing or does not have the columns the report needs."""


def studies(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """One row per study: study_id, title, synthetic, source, n_models."""
    return _select(
        connection,
        "dim_studies",
        "select study_id, title, synthetic, source, n_models from marts.dim_studies order by synthetic, study_id",
    )


def sources(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per seed file of the study, with where it is from, its licence, rows and SHA-256."""
    return _select(
        connection,
        "dim_sources",
        """
        select seed, file, paper_table, source, licence, n_rows, sha256
        from marts.dim_sources
        where study_id = $study_id
        order by seed
        """,
        study_id,
    )


def base_models(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per model, the compared ones first, largest first."""
    return _select(
        connection,
        "dim_base_models",
        """
        select
            model_id, hub_id, publisher, family, params_b, tokens_t, stage, size_group, is_default,
            is_compared, release_month
        from marts.dim_base_models
        where study_id = $study_id
        order by is_compared desc, params_b desc nulls last, model_id
        """,
        study_id,
    )


def benchmarks(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per benchmark: for how many models a value is used, and of which match class."""
    return _select(
        connection,
        "dim_benchmarks",
        """
        select
            benchmark, framework, topic, shots, citation, n_models, n_exact, n_close, n_loose, note
        from marts.dim_benchmarks
        where study_id = $study_id
        order by n_models desc, benchmark
        """,
        study_id,
    )


def reward_model_results(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and model (Tables 4 and 5), best score first; standard errors in points."""
    return _select(
        connection,
        "fct_reward_model_results",
        f"""
        select
            objective, model_id, size_group, chat, chat_hard, safety, reasoning, score, score_standard_error,
            score_standard_error_approximate, standard_error_method, reasoning_unweighted, n_pairs, status,
            status_reason, is_comparable, basis
        from marts.fct_reward_model_results
        where study_id = $study_id
        order by {OBJECTIVE_ORDER}, score desc nulls last, model_id
        """,
        study_id,
    )


def size_group_gains(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and model: gain over the default of its size group (Figure 2), best first."""
    return _select(
        connection,
        "fct_size_group_gains",
        f"""
        select
            objective, size_group, size_group_position, model_id, params_b, default_model_id, is_default,
            score,
            default_score, gain_points, gain_percent, gain_low_approximate, gain_high_approximate,
            rank_in_group, n_in_group, rank_in_group = 1 as is_best
        from marts.fct_size_group_gains
        where study_id = $study_id and score is not null
        order by {OBJECTIVE_ORDER}, size_group_position, score desc, model_id
        """,
        study_id,
    )


def best_in_group(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective and size group: the best base model, its gain, the runner-up and how far behind.

    gap_points is the distance to the runner-up, gap_error its standard error from the two scores' errors
    taken as independent (measured where there is one, else the approximation), n_close the number of other
    models of the group whose distance to the best is under 1.96 such errors. is_approximate: the errors are
    the binomial approximation.
    """
    return _select(
        connection,
        "fct_size_group_gains",
        f"""
        with scored as (
            select
                gains.*,
                coalesce(results.score_standard_error, results.score_standard_error_approximate)
                    as standard_error,
                results.score_standard_error is null as is_approximate,
                row_number() over (
                    partition by gains.objective, gains.size_group order by gains.score desc, gains.model_id
                ) as place
            from marts.fct_size_group_gains as gains
            inner join marts.fct_reward_model_results as results
                using (study_id, objective, model_id)
            where gains.study_id = $study_id and gains.score is not null
        ),

        against_best as (
            select
                scored.*,
                best.score - scored.score as gap_points,
                sqrt(best.standard_error ** 2 + scored.standard_error ** 2) as gap_error
            from scored
            inner join scored as best
                on scored.objective = best.objective and scored.size_group = best.size_group and best.place =
                1
        ),

        rivals as (
            select
                objective,
                size_group,
                arg_min(model_id, place) as runner_up,
                arg_min(score, place) as runner_up_score,
                arg_min(gap_points, place) as gap_points,
                arg_min(gap_error, place) as gap_error,
                count(*) filter (where gap_points < {Z_95} * gap_error) as n_close
            from against_best
            where place > 1
            group by objective, size_group
        )

        select
            best.objective, best.size_group, best.size_group_position, best.model_id, best.params_b,
            best.score, best.default_model_id, best.default_score, best.is_default, best.gain_points,
            best.gain_percent, best.gain_low_approximate, best.gain_high_approximate, best.n_in_group,
            best.is_approximate, rivals.runner_up, rivals.runner_up_score, rivals.gap_points,
            rivals.gap_error,
            coalesce(rivals.n_close, 0) as n_close
        from scored as best
        left join rivals using (objective, size_group)
        where best.place = 1
        order by {OBJECTIVE_ORDER}, best.size_group_position
        """,
        study_id,
    )


def objective_differences(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per category and model: regression minus Bradley-Terry (Figure 11), largest first."""
    return _select(
        connection,
        "fct_objective_differences",
        f"""
        select model_id, size_group, category, regression, bradley_terry, difference_points,
        difference_percent from marts.fct_objective_differences
        where study_id = $study_id and difference_points is not null
        order by {_TARGET_ORDER.format(column="category")}, difference_points desc, model_id
        """,
        study_id,
    )


def post_training_stages(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per model and category: value, the preceding stage's value, and both changes (Table 1)."""
    return _select(
        connection,
        "fct_post_training_stages",
        f"""
        select
            objective, model_id, stage, stage_position, base_model_id, parent_model_id, category, value,
            base_value, value - change_from_parent_points as parent_value,
            change_points, change_percent, change_from_parent_points, change_from_parent_percent
        from marts.fct_post_training_stages
        where study_id = $study_id and value is not null
        order by {OBJECTIVE_ORDER}, {_TARGET_ORDER.format(column="category")}, stage_position, model_id
        """,
        study_id,
    )


def correlations(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, feature and target that was tested (Figure 3).

    Features come in the order of |Pearson| with the score; `evidence` is 'q' where the false discovery rate
    stays under 5 %, 'p' where only the single test is under 5 %, else 'none'.
    """
    return _select(
        connection,
        "fct_benchmark_correlations",
        f"""
        with tested as (
            select
                *,
                max(abs(pearson)) filter (where target = 'score')
                    over (partition by objective, feature) as strength
            from marts.fct_benchmark_correlations
            where study_id = $study_id and status = 'tested'
        )

        select
            objective, target, feature, feature_kind, topic, n, n_publishers, pearson, pearson_low,
            pearson_high, bootstrap_low, bootstrap_high, spearman, p_value, q_value, critical_r,
            partial_pearson_given_size, case when q_value < 0.05 then 'q' when p_value < 0.05 then 'p' else
            'none' end as evidence
        from tested
        order by
            {OBJECTIVE_ORDER}, strength desc nulls last, feature,
            {_TARGET_ORDER.format(column="target")}
        """,
        study_id,
    )


def untested_features(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per feature that has no test with the score: n and why (too_few_models, constant)."""
    return _select(
        connection,
        "fct_benchmark_correlations",
        """
        select feature, max(n) as n, min(status) as status
        from marts.fct_benchmark_correlations
        where study_id = $study_id and target = 'score' and status <> 'tested'
        group by feature
        order by n desc, feature
        """,
        study_id,
    )


def correlation_limits(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per number of models n among the tests: the critical |r| at p = 0.05 and how many features have
    it.
    """
    return _select(
        connection,
        "fct_benchmark_correlations",
        """
        select n, max(critical_r) as critical_r, count(distinct feature) as n_features
        from marts.fct_benchmark_correlations
        where study_id = $study_id and target = 'score' and status = 'tested'
        group by n
        order by n desc
        """,
        study_id,
    )


def coverage(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per objective, feature and k, target score, for features that pass a filter of Figure 4 or 9.

    Features with values for the most models come first: with few models a high coverage is reached by chance.
    """
    return _select(
        connection,
        "fct_benchmark_coverage",
        f"""
        select
            objective, feature, feature_kind, topic, k, n, coverage, chance, size_coverage,
            passes_main_filter, passes_appendix_filter
        from marts.fct_benchmark_coverage
        where study_id = $study_id and target = 'score' and (passes_main_filter or passes_appendix_filter)
        order by {OBJECTIVE_ORDER}, n desc, feature, k
        """,
        study_id,
    )


def select(
    connection: duckdb.DuckDBPyConnection, mart: str, query: str, parameters: dict[str, str] | None = None
) -> pl.DataFrame:
    """The rows of a query on one mart. Raises MartError if the mart or a column is missing."""
    try:
        return connection.execute(query, parameters or {}).pl()
    except (duckdb.CatalogException, duckdb.BinderException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise MartError(
            f"the report cannot read marts.{mart}: {reason}. "
            "Build the marts first (dbt build, or the Dagster group `marts`)."
        ) from error


def _select(connection: duckdb.DuckDBPyConnection, mart: str, query: str, study_id: str | None = None) -> pl.DataFrame:
    return select(connection, mart, query, None if study_id is None else {"study_id": study_id})
