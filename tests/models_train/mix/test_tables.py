"""Rows of the intermediate models: alike whatever the number of threads, and empty without scores."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pytest

from models_train.mix import tables
from models_train.mix.samples import sort_documents
from models_train.mix.tables import labelled, one_table


@pytest.fixture(scope="module")
def samples() -> pa.Table:
    """Three models, two domains; one model has no documents of the second."""
    rng, found = np.random.default_rng(0), []
    for place, model in enumerate("cab"):
        n = 900 + 100 * place
        domains = rng.choice(["Book", "Github"] if model != "a" else ["Book"], n)
        columns = {"domain": domains.tolist(), "block": pa.array(rng.integers(0, 256, n), pa.uint8())}
        scores = pa.array(rng.normal(place / 5, 1, n), pa.float32())
        found.append(labelled(sort_documents(pa.table(columns | {"a": scores})), model_id=model))
    return pa.concat_tables(found)


def test_rows_do_not_depend_on_threads(samples: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for n_threads in (1, 2, 5):
        monkeypatch.setattr(os, "cpu_count", lambda n=n_threads: n)
        histograms = tables.histogram_rows(samples, 20)
        found.append((histograms, tables.distance_rows(histograms, samples, 30, 5, "seed")))
    for histograms, distances in found[1:]:
        assert histograms.equals(found[0][0]) and distances.equals(found[0][1])
    other = tables.distance_rows(found[0][0], samples, 30, 5, "another seed")
    assert other["distance_low"].equals(found[0][1]["distance_low"])
    assert not other["null_floor"].equals(found[0][1]["null_floor"])


def test_every_model_and_pair_of_a_domain_has_its_rows(samples: pa.Table) -> None:
    histograms = tables.histogram_rows(samples, 20)
    distances = tables.distance_rows(histograms, samples, 30, 5, "seed").to_pylist()
    assert histograms.num_rows == 20 * 2 * (3 + 3 + 2)
    by_domain = {
        domain: {(row["model_a"], row["model_b"]) for row in distances if row["domain"] == domain}
        for domain in ("all", "Book", "Github")
    }
    every = {("a", "b"), ("a", "c"), ("b", "c")}
    assert by_domain == {"all": every, "Book": every, "Github": {("b", "c")}}
    sizes = {row["model_a"]: row["n_a"] for row in distances if row["domain"] == "all"}
    assert sizes == {"a": 1000, "b": 1100}


def test_nothing_gives_empty_tables(samples: pa.Table) -> None:
    none = samples.slice(0, 0)
    histograms = tables.histogram_rows(none, 20)
    assert histograms.schema == tables.HISTOGRAM_SCHEMA and histograms.num_rows == 0
    distances = tables.distance_rows(histograms, none, 30, 5, "seed")
    assert distances.schema == tables.DISTANCE_SCHEMA and distances.num_rows == 0
    whole = one_table([], tables.DISTANCE_SCHEMA, "study_id")
    assert whole.column_names == ["study_id", *tables.DISTANCE_SCHEMA.names]
