"""Parts in a bucket: as in a folder, ordered by the store's clock, listed once a look, read once per version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models_train import footers
from models_train.parts import is_whole, part_rows, remove_parts, renew_run, write_part
from models_train.store import Bucket, Parts, Store, StoreError
from tests.support.buckets import Buckets, proxied
from tests.support.many_parts import COSTS, SCORES, killed_writers, landed_ids, write_many, write_shard
from warehouse.connection import memory
from warehouse.landing import create_raw_tables, land_newest, unlanded
from warehouse.part_files import LandingError, newest_parts, read_part, restore_wanted, retire_parts, retire_unwanted


@pytest.fixture(params=["folder", "bucket"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> Parts:
    """An empty place for parts of each kind."""
    return tmp_path / "parts" if request.param == "folder" else Store.at(request.getfixturevalue("bucket"))


def cost(parts: Parts, run_id: str, n_tokens: int = 1, model_id: str = "m", **options: Any) -> Any:
    row = {
        "model_id": model_id, "job": "score_documents", "variant": "packed", "n_tokens": n_tokens,
        "device_seconds": 1.0, "device": "cpu", "n_devices": 1, "is_gpu": False, "peak_memory_bytes": None,
        "versions": "{}",
    }  # fmt: skip
    return write_part(parts, COSTS, [row], study_id="s", run_id=run_id, **options)


def kept(parts: Parts, run_id: str) -> Any:
    """Costs that a part keeps."""
    item = Store.at(parts).find(f"run_costs/s/{run_id}.parquet")
    assert item is not None
    return footers.footer(Store.at(parts), item).costs


def newest(parts: Parts) -> list[str]:
    return sorted(part.run_id for part in newest_parts(parts, COSTS))


def test_the_last_part_counts_and_one_that_is_dated_again(parts: Parts) -> None:
    for run_id in ("b", "a", "c", "b"):
        place = cost(parts, run_id)
        assert place.exists() and is_whole(place) and newest(parts) == [run_id]
        assert part_rows(place)[0]["run_id"] == run_id == read_part(place).run_id
    renew_run(parts, "run_costs", "s", "a")
    assert newest(parts) == ["a"]
    remove_parts(parts, "run_costs", "s", lambda partition: partition["model_id"] == "m")
    assert newest(parts) == [] and not place.exists() and not is_whole(place)


def test_a_part_that_is_there_is_not_replaced(parts: Parts) -> None:
    first = cost(parts, "a", 1, new=True, costs={"seconds": 1.5})
    assert first is not None and cost(parts, "a", 2, new=True) is None
    assert part_rows(first)[0]["n_tokens"] == 1
    assert kept(parts, "a") == {"seconds": 1.5}
    assert Store.at(parts).find("run_costs/s/b.parquet") is None
    cost(parts, "a", 3)
    assert part_rows(first)[0]["n_tokens"] == 3 and kept(parts, "a") is None


def test_parts_are_set_aside_and_come_back(parts: Parts) -> None:
    cost(parts, "old", model_id="gone")
    cost(parts, "kept")
    assert retire_unwanted(parts, "s", lambda _, partition: partition["model_id"] == "m") == ["run_costs/s/old"]
    assert newest(parts) == ["kept"]
    cost(parts, "new", model_id="gone")
    assert restore_wanted(parts, "s", lambda *_: True) == ["run_costs/s/old"]
    assert newest(parts) == ["kept", "new"], "a part that was set aside is no newer when it comes back"
    assert retire_parts(parts, []) == ["run_costs/s"] and newest(parts) == []
    assert restore_wanted(parts, "s", lambda *_: False) == []
    assert len(restore_wanted(parts, "s", lambda *_: True)) == 3


def test_a_file_that_is_no_part_is_named(parts: Parts) -> None:
    cost(parts, "a")
    store = Store.at(parts)
    for content, said in ((b"no part", "cannot be read as Parquet"), (b"PAR1", "cannot be read"), (b"", "cannot be")):
        store.put("run_costs/s/spoilt.parquet", content)
        with pytest.raises(LandingError, match=said) as caught:
            newest_parts(parts, COSTS)
        assert f"{store}/run_costs/s/spoilt.parquet" in str(caught.value)
        assert cost(parts, "a") is not None
    store.delete("run_costs/s/spoilt.parquet")
    assert newest(parts) == ["a"]


def test_a_damaged_part_is_not_landed(parts: Parts) -> None:
    place = cost(parts, "a")
    store, key = Store.at(parts), "run_costs/s/a.parquet"
    content = bytearray(store.get(key))
    content[4:200] = bytes(196)
    store.put(key, bytes(content))
    assert not is_whole(place)
    with pytest.raises(LandingError, match="cannot be landed in run_costs"):
        landed_ids(parts)


@pytest.mark.parametrize("days", [-400, -1, 1, 400])
def test_the_clock_of_a_machine_changes_no_order(bucket: str, days: int) -> None:
    """A part of a machine whose clock is ahead counts as no later than the store saw it."""
    store = Store.at(bucket)
    cost(store, "first")
    cost(store, "odd", written_at=datetime.now(UTC) + timedelta(days=days))
    assert newest(store) == (["odd"] if days > 0 else ["first"])
    for run_id in ("z", "a"):
        cost(store, run_id)
        assert newest(store) == [run_id]


def test_a_bucket_and_a_folder_give_the_same_tables(bucket: str, tmp_path: Path) -> None:
    for place in (tmp_path / "parts", Store.at(bucket)):
        write_many(place, 2, 5)
        cost(place, "r", written_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert landed_ids(Store.at(bucket)) == landed_ids(tmp_path / "parts")


def test_a_second_look_reads_nothing(
    bucket: str, s3_server: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store, connection = Bucket(bucket, tmp_path / "part_facts.sqlite"), memory()
        write_many(store, 3, 40)
        create_raw_tables(connection)
        server.requests.clear()
        assert unlanded(connection, SCORES, store.looked())
        assert server.requests == {"LIST": 1, "GET": 120}, "footers"
        server.requests.clear()
        assert land_newest(connection, SCORES, store.looked()) == 360
        assert server.requests == {"LIST": 1, "GET": 120}, "rows"
        server.requests.clear()
        for forget in (False, True):
            if forget:  # as in another process
                footers._known.clear()
                footers._loaded.clear()
            assert not unlanded(connection, SCORES, store.looked())
        assert server.requests == {"LIST": 2}
        write_shard(store, "m00", 7, new=False)
        server.requests.clear()
        assert unlanded(connection, SCORES, store.looked())
        assert server.requests == {"LIST": 1, "GET": 1}
        connection.close()


SPOILS: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(b"no database" * 100),
    lambda path: path.write_bytes(path.read_bytes()[:5000]),
    lambda path: path.unlink(),
    lambda path: (path.unlink(), path.mkdir()),
    lambda path: sqlite3.connect(path).executescript("drop table footers"),
    lambda path: sqlite3.connect(path).executescript("update fields set schema = x'00'"),
    lambda path: sqlite3.connect(path).executescript("update footers set metadata = '{'"),
    lambda path: sqlite3.connect(path).executescript("delete from fields"),
]


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_is_kept_of_parts_may_be_lost(bucket: str, tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    path = tmp_path / "part_facts.sqlite"
    store = Bucket(bucket, path)
    write_many(store, 1, 3)
    wanted = newest_parts(store, SCORES)
    assert path.exists() and len(wanted) == 3
    spoil(path)
    for _ in range(2):
        footers._known.clear()
        footers._loaded.clear()
        assert newest_parts(store, SCORES) == wanted


def test_a_long_footer_is_read_whole(bucket: str) -> None:
    store = Store.at(bucket)
    cost(store, "r", costs={"x": "y" * 200_000})
    assert len(kept(store, "r")["x"]) == 200_000  # type: ignore[index]


def test_a_bucket_that_goes_away_is_not_taken_for_damage(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that cannot be reached is neither damaged nor missing: nothing is made again for that."""
    cost(Store.at(bucket), "a")
    monkeypatch.setattr("models_train.store._PATIENCE", {"max_retries": 0})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = Bucket(bucket)
    for use in (
        lambda: newest_parts(away, COSTS),
        lambda: is_whole(away.place("run_costs/s/a.parquet")),
        lambda: away.place("run_costs/s/a.parquet").exists(),
        lambda: cost(away, "b"),
    ):
        with pytest.raises(StoreError, match="cannot be reached"):
            use()


def test_a_killed_writer_leaves_whole_parts_or_none(bucket: str, tmp_path: Path) -> None:
    n_shards = 6
    for shard in range(n_shards):
        write_shard(tmp_path / "wanted", "m", shard, n_rows=200)
    wanted = landed_ids(tmp_path / "wanted")
    for address in (bucket, str(tmp_path / "parts")):
        assert killed_writers(address, 12, n_shards, 0.4) == []
        assert landed_ids(Store.at(address)) == wanted
