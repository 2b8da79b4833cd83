"""Spearman's correlation of the scores of every pair of donors, over the documents that both scored."""

from itertools import product

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

MIN_SHARED = 3
"""Fewest documents, scored by both models, that have a correlation."""
CHUNK = 1 << 15
"""Documents whose ranks are widened to double precision at once."""
SCHEMA = pa.schema(
    {name: pa.string() for name in ("study_id", "score_kind", "domain", "model_a", "model_b")}
    | {"spearman": pa.float64(), "n_shared": pa.int64(), "made_of_a": pa.string(), "made_of_b": pa.string()}
)


def correlations(left, right):
    """Correlation of every list of ranks on the left with every one on the right, NaN where a side does not vary.

    Both: arrays (documents,) of average ranks from 0 among the same documents.
    """
    n = right[0].size
    products, squares = np.zeros((len(left), len(right))), [np.zeros(len(left)), np.zeros(len(right))]
    for start in range(0, n, CHUNK):
        a, b = (
            np.array([one[start : start + CHUNK] for one in side], np.float64) - (n - 1) / 2 for side in (left, right)
        )
        products += a @ b.T
        squares = [squares[0] + np.vecdot(a, a), squares[1] + np.vecdot(b, b)]
    with np.errstate(invalid="ignore"):
        found = np.clip(products / np.sqrt(np.outer(*squares)), -1, 1)
    return found if n >= MIN_SHARED else np.full_like(found, np.nan)


def ranked_among(ranks, known, shared):
    """Average ranks among the shared documents. ranks: NaN but where `known` is True; both masks: (documents,)."""
    if known.all() and shared.all():
        return ranks
    ranks = ranks[shared]
    if known.sum() == shared.sum():
        return ranks
    _, place, counts = np.unique(ranks, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def pairs(ranks, fresh):
    """Names of every pair with a fresh model, in order, with their correlation and number of shared documents.

    ranks: by name, average ranks in the order of the corpus, NaN where the model has no score. Models that scored the
    same documents share one matrix product; others are ranked again among the documents of both.
    """
    groups = {}
    for name, one in ranks.items():
        groups.setdefault(np.isnan(one).tobytes(), []).append(name)
    sides = [(names, ~np.isnan(ranks[names[0]])) for names in groups.values()]
    for (own, known), (others, other_known) in product(sides, sides):
        left = [name for name in own if name in fresh]
        if not left:
            continue
        shared = known & other_known
        matrix = correlations(
            [ranked_among(ranks[name], known, shared) for name in left],
            [ranked_among(ranks[name], other_known, shared) for name in others],
        )
        for (row, a), (column, b) in product(enumerate(left), enumerate(others)):
            if a < b or (a > b and b not in fresh):
                yield *sorted((a, b)), float(matrix[row, column]), int(shared.sum())


def model(dbt, session):
    dbt.config(materialized="incremental", incremental_strategy="append")
    table = dbt.ref("int_score_ranks").sql_query()
    known = set()
    if dbt.is_incremental:
        sides = f"select made_of_a from {dbt.this} union select made_of_b from {dbt.this}"
        known = {made_of for (made_of,) in session.execute(sides).fetchall()}
    listed = f"select study_id, score_kind, domain, list(made_of) from ({table}) group by all order by all"
    query = f"select model_id, made_of, ranks from ({table}) where study_id = ? and score_kind = ? and domain = ?"
    found = []
    for *group, made in session.execute(listed).fetchall():
        if set(made) <= known:
            continue
        rows = sorted(session.execute(query, group).fetchall())
        made_of = {name: made for name, made, _ in rows}
        ranks = {name: np.frombuffer(one, np.float32) for name, _, one in rows}
        fresh = {name for name, made in made_of.items() if made not in known}
        with threadpool_limits(1):  # products of few rows: threads would only wait for each other
            for a, b, spearman, n_shared in pairs(ranks, fresh):
                found.append((*group, a, b, spearman, n_shared, made_of[a], made_of[b]))
    columns = zip(*found, strict=True) if found else [[]] * len(SCHEMA)
    arrays = [pa.array(column, field.type, from_pandas=True) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.table(arrays, schema=SCHEMA)
