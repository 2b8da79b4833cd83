"""Reading the marts of document scores: one SELECT per input, each returning a Polars frame.

As `warehouse.marts`, but a mart that is not built gives an empty frame without columns, and a study that scored no
documents gives an empty one. Scores are natural logarithms per token, bits per byte, distances between 0 and 1.
"""

from __future__ import annotations

import duckdb
import polars as pl

from warehouse.performance_marts import select_if_built

MOST_MODELS = 40
"""So many models have a line in the drawing of distributions: with 100 bins each they stay below 5,000 rows."""
SCORE, BINNING = "presence_score", "quantile"
"""The score and the bins that the report draws; the database has the others."""
_DOMAIN_ORDER = "domain <> 'all', domain"


def scored_models(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per model with scores of its own: engine, corpus, documents, and the models that share its scores."""
    return _select(
        connection,
        "fct_presence_by_domain",
        """
        select
            donor_model_id as model_id, any_value(corpus) as corpus, any_value(engine) as engine,
            any_value(n_documents) as n_documents, any_value(n_errors) as n_errors,
            any_value(n_truncated) as n_truncated,
            coalesce(list(model_id order by model_id) filter (where model_id <> donor_model_id), []) as shared_by
        from marts.fct_presence_by_domain
        where study_id = $study_id and domain = 'all'
        group by donor_model_id
        order by donor_model_id
        """,
        study_id,
    )


def presence_by_domain(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per domain (all first) and model with scores of its own, by bits per byte over all, lowest first."""
    return _select(
        connection,
        "fct_presence_by_domain",
        """
        select
            domain, model_id, n_documents, n_errors, mean_presence_score, standard_error_presence_score,
            mean_bits_per_byte, standard_error_bits_per_byte, total_bits_per_byte
        from marts.fct_presence_by_domain
        where study_id = $study_id and model_id = donor_model_id
        order by
            {domain_order},
            max(mean_bits_per_byte) filter (where domain = 'all') over (partition by model_id) nulls last, model_id
        """,
        study_id,
    )


def distributions(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per domain (all first), model and bin of the presence score, by mean score over all, highest first.

    Only models with scores of their own, at most MOST_MODELS of them (n_models says how many there are), and without
    the outermost bins, which are wide and nearly empty. density: share of the documents per unit of the score; a bin
    without width has none and is left out. is_median: the bin that the median lies in.
    """
    return _select(
        connection,
        "fct_presence_score_distributions",
        """
        with means as (
            select model_id, row_number() over (order by mean_presence_score desc, model_id) as place,
                count(*) over () as n_models
            from marts.fct_presence_by_domain
            where study_id = $study_id and domain = 'all' and model_id = donor_model_id
                and mean_presence_score is not null
        )

        select
            domain, model_id, n_models, bin_low, bin_high, n, share, share / (bin_high - bin_low) as density,
            sum(n) over (partition by domain, model_id)::bigint as n_documents,
            sum(share) over (partition by domain, model_id order by bin) between 0.5 and 0.5 + share - 1e-12
                as is_median
        from marts.fct_presence_score_distributions
        inner join means using (model_id)
        where study_id = $study_id and score_kind = '{score}' and binning = '{binning}' and place <= {most_models}
        qualify
            bin > 1 and bin < max(bin) over (partition by domain, model_id) and bin_high > bin_low
        order by {domain_order}, place, bin
        """,
        study_id,
    )


def distances(connection: duckdb.DuckDBPyConnection, study_id: str) -> pl.DataFrame:
    """One row per domain (all first) and pair of models, by name: distance of the presence scores, floor, interval."""
    return _select(
        connection,
        "fct_jensen_shannon_distances",
        """
        select
            domain, model_a, model_b, distance, null_floor, distance_low, distance_high, n_a, n_b, n_bins, is_flagged,
            wasserstein_1, spearman, n_shared
        from marts.fct_jensen_shannon_distances
        where study_id = $study_id and score_kind = '{score}' and binning = '{binning}'
        order by {domain_order}, model_a, model_b
        """,
        study_id,
    )


def _select(connection: duckdb.DuckDBPyConnection, mart: str, query: str, study_id: str) -> pl.DataFrame:
    text = query.format(domain_order=_DOMAIN_ORDER, score=SCORE, binning=BINNING, most_models=MOST_MODELS)
    return select_if_built(connection, mart, text, {"study_id": study_id})
