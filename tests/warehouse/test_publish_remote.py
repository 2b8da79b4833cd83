"""Snapshots in a folder or bucket for other machines: whole, behind one pointer, old ones kept by age."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

import warehouse
from models_train.errors import UserError
from models_train.store import Bucket, Store, StoreError
from tests.support.buckets import KEY, SECRET, Buckets
from tests.support.publishing import change, warehouse_with_numbers
from warehouse.content_id import content_id
from warehouse.paths import Home
from warehouse.publish import current_snapshot, publish
from warehouse.publish_remote import (
    Pointer,
    publish_address,
    publish_remote,
    published_files,
    refuse_among_parts,
    remote_problem,
)


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nothing is published yet."""
    return str(tmp_path / "remote") if request.param == "folder" else str(request.getfixturevalue("bucket"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a snapshot."""
    return warehouse_with_numbers(tmp_path / "var")


def next_one(home: Home, number: int) -> None:
    """Publish another snapshot on this machine."""
    change(home, f"update marts.dim_studies set n = {number}; update marts.fct_results set n = {number}")
    assert publish(home).changed


def numbers(connection: duckdb.DuckDBPyConnection) -> set[int]:
    """The numbers of both marts and of their ids."""
    rows = connection.execute("select n, snapshot_id from fct_results union select n, snapshot_id from dim_studies")
    found = rows.fetchall()
    connection.close()
    assert len(found) == 1
    return {number for number, _ in found}


def test_a_reader_gets_what_was_published_last(home: Home, address: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no snapshot is published here"):
        warehouse.open(address)
    pointer = publish_remote(home, Store.at(address))
    assert pointer is not None
    snapshot = current_snapshot(home)
    assert snapshot and pointer.snapshot_id == snapshot.id and pointer.duckdb_version == duckdb.__version__
    with warehouse.open(address, tmp_path / "cache") as connection:
        assert content_id(connection) == snapshot.id
        with pytest.raises(duckdb.Error, match="read-only"):
            connection.execute("create table x (i int)")
    next_one(home, 7)
    assert numbers(warehouse.open(address, tmp_path / "cache")) == {-1}
    publish_remote(home, Store.at(address))
    assert numbers(warehouse.open(address, tmp_path / "cache")) == {7}


def test_nothing_is_written_twice(home: Home, address: str) -> None:
    store = Store.at(address)
    first = publish_remote(home, store)
    before = [*store.list()]
    assert publish_remote(home, store) == first and [*store.list()] == before
    store.delete(next(item.key for item in before if item.key.endswith("fct_results.parquet")))
    assert publish_remote(home, store) == first
    assert {(item.key, item.size) for item in store.list()} == {(item.key, item.size) for item in before}


def test_each_mart_is_a_file_of_parquet(home: Home, address: str) -> None:
    store = Store.at(address)
    pointer = publish_remote(home, store)
    assert pointer is not None and set(pointer.marts) == {"dim_studies", "fct_results", "snapshot"}
    for name, file in pointer.marts.items():
        rows = pq.read_table(pyarrow.BufferReader(store.get(file.key)))
        assert rows.num_rows == file.n_rows and file.n_bytes == len(store.get(file.key))
        assert set(rows["snapshot_id"].to_pylist()) == {pointer.snapshot_id}, name


def test_polars_and_pandas_read_a_bucket(home: Home, bucket: str, s3_server: Buckets, tmp_path: Path) -> None:
    """The lines of warehouse/README.md; those of DuckDB need an extension, which the benchmark of readers installs."""
    publish_remote(home, Store.at(bucket))
    files = published_files(bucket)
    options = {"aws_endpoint_url": s3_server.endpoint, "aws_allow_http": "true"}
    options |= {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_region": "us-east-1"}
    by_polars = pl.read_parquet(files["marts"]["fct_results"], storage_options=options)
    host = s3_server.endpoint.removeprefix("http://")
    s3 = pyarrow.fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=host, scheme="http")
    by_pandas = pd.read_parquet(files["marts"]["fct_results"].removeprefix("s3://"), filesystem=s3)
    with warehouse.open(bucket, tmp_path / "cache") as connection:
        by_duckdb = connection.sql("from fct_results").df()
    assert by_polars.height == len(by_pandas) == len(by_duckdb) == 1001
    assert by_pandas.equals(by_duckdb) and by_polars["model_id"].to_list() == by_pandas["model_id"].to_list()


def test_a_file_is_downloaded_once_and_compared(home: Home, bucket: str, tmp_path: Path) -> None:
    store = Store.at(bucket)
    pointer = publish_remote(home, store)
    assert pointer is not None
    cache = tmp_path / "cache"
    warehouse.open(bucket, cache).close()
    content = store.get(pointer.database.key)
    store.put(pointer.database.key, content[:-1] + b"x")
    warehouse.open(bucket, cache).close()
    (file,) = cache.iterdir()
    file.write_bytes(b"cut off")
    with pytest.raises(StoreError, match="is not what was published"):
        warehouse.open(bucket, cache)
    store.delete(pointer.database.key)
    with pytest.raises(StoreError, match="is missing; publish the snapshot again"):
        warehouse.open(bucket, cache)
    publish_remote(home, store)
    assert numbers(warehouse.open(bucket, cache)) == {-1}


SPOILT: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'{"snapshot_id": "a", "name"',
    "a list": b"[1]",
    "no marts": b'{"snapshot_id": "a"}',
    "another key": json.dumps({"marts": {}, "database": {"key": "a"}, "x": 1}).encode(),
    "not text": b"\xff\xfe",
}


@pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT)
def test_a_pointer_that_cannot_be_read_is_named(home: Home, address: str, content: bytes) -> None:
    store = Store.at(address)
    store.put("current.json", content)
    for use in (lambda: warehouse.open(address), lambda: publish_remote(home, store)):
        with pytest.raises(StoreError, match="is not the pointer of a snapshot") as caught:
            use()
        assert f"{store}/current.json" in str(caught.value) and "\n" not in str(caught.value)
    assert store.get("current.json") == content


def test_old_snapshots_go_by_age_and_number(home: Home, address: str) -> None:
    store = Store.at(address)

    def names() -> set[str]:
        return {item.key.split("/")[1] for item in store.list("snapshots")}

    store.put("snapshots/left-by-a-killed-publisher/x.parquet", b"x")
    for number in range(4):
        next_one(home, number)
        publish_remote(home, store, keep=2)
    assert len(names()) == 5, "all are young"
    next_one(home, 9)
    pointer = publish_remote(home, store, keep=2, hours=-1)
    assert pointer is not None and len(names()) == 2 and pointer.name in names()


def test_two_publishers_at_once(tmp_path: Path, address: str) -> None:
    homes = [warehouse_with_numbers(tmp_path / name) for name in ("one", "two")]
    store = Store.at(address)

    def publish_some(number: int) -> list[Pointer | None]:
        found = []
        for step in range(5):
            next_one(homes[number], 10 * number + step)
            found.append(publish_remote(homes[number], store))
        return found

    with ThreadPoolExecutor(2) as pool:
        pointers = [one for found in pool.map(publish_some, range(2)) for one in found]
    assert len({one.snapshot_id for one in pointers if one}) == 10
    assert numbers(warehouse.open(address, tmp_path / "cache")) <= {4, 14}


def test_the_home_knows_what_it_published(home: Home, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote_problem(home) is None and publish_remote(home) is None and publish_address() is None
    monkeypatch.setenv("REWARDBASE_PUBLISH", address)
    assert f"not published to {address} yet" in str(remote_problem(home))
    assert publish_remote(home) is not None and remote_problem(home) is None
    next_one(home, 3)
    assert remote_problem(home) is not None
    publish_remote(home)
    assert remote_problem(home) is None
    (home.published / "remote.json").write_text("{")
    assert remote_problem(home) is not None
    monkeypatch.setenv("REWARDBASE_PUBLISH", f"{address}/other")
    assert remote_problem(home) is not None


def test_a_failure_leaves_the_pointer(home: Home, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Bucket(bucket)
    first = publish_remote(home, store)
    next_one(home, 5)
    done: list[str] = []

    def fail(key: str, path: Path) -> None:
        done.append(key)
        if len(done) == 2:
            raise StoreError("the store is away")

    monkeypatch.setattr(store, "put_file", fail)
    with pytest.raises(StoreError, match="is away"):
        publish_remote(home, store)
    assert first is not None and numbers(warehouse.open(bucket, home.root / "cache")) == {-1}
    assert not list(home.published.glob(".remote-*"))


OVERLAPS: list[tuple[str, str]] = [
    ("{home}/parts", ""),
    ("{home}", ""),
    ("{home}/parts/published", ""),
    ("s3://bucket/a", "s3://bucket/a"),
    ("s3://bucket/a/b", "s3://bucket/a"),
    ("s3://bucket", "s3://bucket/a"),
]


@pytest.mark.parametrize(("published", "parts"), OVERLAPS)
def test_parts_and_snapshots_lie_apart(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, published: str, parts: str
) -> None:
    monkeypatch.setenv("REWARDBASE_PUBLISH", published.format(home=tmp_path))
    monkeypatch.setenv("REWARDBASE_PARTS", parts)
    with pytest.raises(UserError, match="overlap; name a folder of its own"):
        refuse_among_parts(tmp_path)


@pytest.mark.parametrize(("published", "parts"), [("", ""), ("s3://bucket/ab", "s3://bucket/a"), ("s3://b-a/a", "")])
def test_places_that_lie_apart_are_taken(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch, published: str, parts: str
) -> None:
    monkeypatch.setenv("REWARDBASE_PUBLISH", published)
    monkeypatch.setenv("REWARDBASE_PARTS", parts)
    refuse_among_parts(tmp_path)
