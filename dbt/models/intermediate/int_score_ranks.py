"""Average ranks of every donor's scores, among all documents and within each domain; made once per scoring."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

VERSION = 1
"""Version of the ranks: raise it with every change of them, and they are made again."""
LARGEST_SCORE = 64
"""Scores are compared up to this size, as fixed-point numbers that share 63 bits with the document's place."""
SCHEMA = pa.schema(
    {name: pa.string() for name in ("study_id", "model_id", "made_of", "score_kind", "domain")} | {"ranks": pa.binary()}
)


def ranked(scores, domains):
    """Ranks from 0 among all documents with a score, and among those of the same domain: (2, documents) float32.

    scores: (documents,) float64; NaN for none, and so are its ranks. domains: (documents,) numbers. Equal scores share
    the mean of their ranks; with a million documents, scores within 2e-11 of each other may count as equal.
    """
    bits = max(scores.size - 1, 1).bit_length()
    places = np.flatnonzero(~np.isnan(scores))
    fixed = np.floor(np.clip(scores[places], -LARGEST_SCORE, LARGEST_SCORE) * 2.0 ** (56 - bits)).astype(np.int64)
    # One sort of whole numbers is faster than sorting scores and moving the documents after them.
    keys = np.sort(fixed << bits | places)
    order, values = keys & ((1 << bits) - 1), keys >> bits
    inside = np.argsort(domains[order], kind="stable")
    found = np.full((2, scores.size), np.nan, np.float32)
    found[0, order] = averaged(values)
    grouped, counts = order[inside], np.bincount(domains[order])
    places_within = averaged(values[inside], domains[grouped]) - np.repeat(np.cumsum(counts) - counts, counts)
    found[1, grouped] = places_within
    return found


def averaged(*ascending):
    """Places from 0, (n,) float64; neighbours that are equal in all of the arrays share the mean of their places."""
    places = np.arange(ascending[0].size, dtype=np.float64)
    equal = np.flatnonzero(np.logical_and.reduce([values[1:] == values[:-1] for values in ascending]))
    if equal.size:
        is_first = np.diff(equal, prepend=-2) > 1
        first, last = equal[is_first], equal[np.append(is_first[1:], True)] + 1
        sizes = last - first + 1
        tied = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        places[tied] = np.repeat((first + last) / 2, sizes)
    return places


class Corpus:
    """The sampled documents of a corpus, by the hash of their id: the order of every list of ranks."""

    def __init__(self, documents):
        """documents: key (that hash) and domain, in any order."""
        keys, coded = documents["key"].to_numpy(), documents["domain"].combine_chunks().dictionary_encode()
        order = np.argsort(keys)
        self.keys, self.domains = keys[order], coded.indices.to_numpy()[order].astype(np.int16)
        self.members = {
            name: np.flatnonzero(self.domains == code) for code, name in enumerate(coded.dictionary.to_pylist())
        }
        self._seen, self._places = None, None

    def places(self, keys):
        """Place of each key in the order of the corpus, and whether it is there."""
        if self._seen is None or not np.array_equal(keys, self._seen):  # mostly the same for one model after another
            order = np.argsort(keys)
            self._seen, self._places = keys, np.empty(keys.size, np.int64)
            self._places[order] = np.searchsorted(self.keys, keys[order]).clip(max=self.keys.size - 1)
        return self._places, self.keys[self._places] == keys


def model(dbt, session):
    dbt.config(materialized="incremental", incremental_strategy="append")
    kinds = dbt.config.get("score_kinds")
    donors = dbt.ref("int_score_donors").sql_query()
    documents, scores = dbt.ref("stg_documents").sql_query(), dbt.ref("stg_document_scores").sql_query()
    wanted = f"""
        select distinct study_id, donor_model_id, corpus, engine, content || '/{VERSION}' as made_of from ({donors})
    """
    if dbt.is_incremental:
        wanted = f"select * from ({wanted}) where made_of not in (select made_of from {dbt.this})"
    sample = f"""
        select hash(document_id) as key, domain from ({documents}) where study_id = ? and corpus = ?
    """
    query = f"""
        select hash(document_id) as key, {", ".join(kinds)} from ({scores})
        where study_id = ? and model_id = ? and corpus = ? and engine = ? and status = 'ok'
    """
    corpora, waiting, found = {}, deque(), []
    with ThreadPoolExecutor() as pool:  # one model is ranked while the next is read
        for study, name, corpus, engine, made_of in session.execute(wanted + " order by all").fetchall():
            if (study, corpus) not in corpora:
                corpora[study, corpus] = Corpus(session.execute(sample, [study, corpus]).to_arrow_table())
            order = corpora[study, corpus]
            rows = session.execute(query, [study, name, corpus, engine]).to_arrow_table()
            if not order.keys.size:
                continue
            places, is_there = order.places(rows["key"].to_numpy())
            for kind in kinds:
                whole = np.full(order.keys.size, np.nan)
                whole[places[is_there]] = rows[kind].to_numpy()[is_there]
                job = pool.submit(ranked, whole, order.domains)
                waiting.append(((study, name, made_of, kind), order.members, job))
            while len(waiting) > len(kinds):  # a few megabytes for each job
                found.append(batch(*waiting.popleft()))
        found += [batch(*one) for one in waiting]
    return pa.Table.from_batches(found, SCHEMA)


def batch(label, members, job):
    """Rows of one list of scores: its ranks among all documents, and within each domain that has any."""
    among_all, within = job.result()
    lists = {"all": among_all} | {domain: within[places] for domain, places in members.items()}
    rows = [(*label, domain, ranks.tobytes()) for domain, ranks in lists.items() if not np.isnan(ranks).all()]
    columns = zip(*rows, strict=True) if rows else [[]] * len(SCHEMA)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
