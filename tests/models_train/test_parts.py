"""Parts: the contract check, the metadata, and atomic writing."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_train import store as store_module
from models_train.errors import UserError
from models_train.parts import content_hash, is_whole, renew_run, write_part
from models_train.study.study import load_study
from tests.support.clocks import date_part
from warehouse.contracts import (
    DOCUMENT_TABLES,
    LAB_TABLES,
    LEADERBOARD_TABLES,
    PERFORMANCE_TABLES,
    RACE_TABLES,
    RESPONSE_TABLES,
    REWARD_MODEL_TABLES,
    SCORE_TABLES,
    STUDY_TABLES,
    TABLES,
)
from warehouse.contracts.studies import BASE_MODELS, SIZE_GROUPS, STUDY_SEEDS
from warehouse.part_files import newest_parts, retire_parts

GROUPS: list[dict[str, Any]] = [
    {"size_group": "<3", "position": 1, "params_b_from": 0, "params_b_below": 3.0, "default_model_id": "a"},
    {
        "size_group": ">=3",
        "position": 2,
        "params_b_from": 3.0,
        "params_b_below": None,
        "default_model_id": "b",
    },
]


def put(parts_dir: Path, rows: Any, run_id: str = "r1", study_id: str = "s") -> Path:
    return write_part(parts_dir, SIZE_GROUPS, rows, study_id=study_id, run_id=run_id)


def test_a_part_holds_the_rows_and_its_metadata(tmp_path: Path) -> None:
    path = put(tmp_path, GROUPS)
    assert path == tmp_path / "size_groups" / "s" / "r1.parquet"
    table = pq.read_table(path, partitioning=None)
    assert table.schema.equals(SIZE_GROUPS.schema, check_metadata=False)
    assert table.to_pylist() == [{"study_id": "s", **row, "run_id": "r1"} for row in GROUPS]
    metadata = pq.read_schema(path).metadata
    assert metadata[b"rewardbase.run_id"] == b"r1"
    assert metadata[b"rewardbase.partition"] == b'{"study_id": "s"}'
    assert metadata[b"rewardbase.contract"].decode() == SIZE_GROUPS.fingerprint
    assert datetime.fromisoformat(metadata[b"rewardbase.written_at"].decode()).utcoffset() is not None
    assert os.listdir(path.parent) == ["r1.parquet"]


def test_frames_and_dicts_give_equal_parts(tmp_path: Path) -> None:
    wanted = pq.read_table(put(tmp_path / "dicts", GROUPS), partitioning=None)
    for name, frame in (("polars", pl.DataFrame(GROUPS)), ("arrow", pa.Table.from_pylist(GROUPS))):
        assert pq.read_table(put(tmp_path / name, frame), partitioning=None).to_pylist() == wanted.to_pylist()


def test_a_new_part_never_replaces_one(tmp_path: Path) -> None:
    own = {"study_id": "s", "run_id": "r1"}
    first = write_part(tmp_path, SIZE_GROUPS, GROUPS, **own, new=True)
    assert first is not None
    before = first.read_bytes()
    assert write_part(tmp_path, SIZE_GROUPS, GROUPS[:1], **own, new=True) is None
    assert first.read_bytes() == before and os.listdir(first.parent) == ["r1.parquet"]
    assert write_part(tmp_path, SIZE_GROUPS, GROUPS[:1], **own) == first
    assert first.read_bytes() != before


def test_an_empty_part_is_allowed(tmp_path: Path) -> None:
    assert pq.read_table(put(tmp_path, []), partitioning=None).num_rows == 0


def test_the_same_run_again_is_newer(tmp_path: Path) -> None:
    def written_at() -> datetime:
        return datetime.fromisoformat(pq.read_schema(put(tmp_path, GROUPS)).metadata[b"rewardbase.written_at"].decode())

    assert written_at() < written_at()
    assert len(list((tmp_path / "size_groups" / "s").iterdir())) == 1


def newest(parts_dir: Path) -> list[str]:
    return [part.run_id for part in newest_parts(parts_dir, SIZE_GROUPS)]


class _Clock(datetime):
    """A clock that shows `shown`."""

    shown = datetime(2026, 1, 1, tzinfo=UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return cls.shown


@pytest.mark.parametrize("later", [-20 * 365, -1, 0, 1], ids="{} days".format)
def test_what_is_written_last_counts_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: int
) -> None:
    """Clocks that are set back, stand still or go on; also one machine after another on the same home."""
    monkeypatch.setattr(store_module, "datetime", _Clock)
    for number in range(6):
        monkeypatch.setattr(_Clock, "shown", datetime(2026, 1, 1, tzinfo=UTC) + number * timedelta(days=later))
        put(tmp_path, GROUPS, run_id=f"r{(7 * number) % 5}")
        assert newest(tmp_path) == [f"r{(7 * number) % 5}"]


def test_a_part_of_a_clock_that_was_ahead_does_not_stay_the_newest(tmp_path: Path) -> None:
    date_part(put(tmp_path, GROUPS, run_id="ahead"))
    assert newest(tmp_path) == ["ahead"]
    for run_id in ("b", "c", "b", "zz", "a"):
        put(tmp_path, GROUPS, run_id=run_id)
        assert newest(tmp_path) == [run_id]


def test_a_part_that_was_set_aside_is_no_newer_when_it_comes_back(tmp_path: Path) -> None:
    aside = put(tmp_path, GROUPS, run_id="aside")
    date_part(aside)
    retire_parts(tmp_path, [])
    put(tmp_path, GROUPS, run_id="later")
    (tmp_path / ".retired" / "size_groups" / "s" / aside.name).rename(aside)
    assert newest(tmp_path) == ["later"]


def test_a_damaged_part_does_not_keep_others_from_being_written(tmp_path: Path) -> None:
    damaged = put(tmp_path, GROUPS, run_id="damaged")
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert put(tmp_path, GROUPS, run_id="new").exists()
    assert put(tmp_path, GROUPS, run_id="damaged") == damaged
    assert newest(tmp_path) == ["damaged"]


def test_a_part_is_dated_anew_only_where_another_is_later(tmp_path: Path) -> None:
    first, _ = put(tmp_path, GROUPS, run_id="first"), put(tmp_path, GROUPS, run_id="second")
    rows = pq.read_table(first, partitioning=None)
    renew_run(tmp_path, "size_groups", "s", "first")
    assert newest(tmp_path) == ["first"]
    assert pq.read_table(first, partitioning=None).equals(rows)
    state = first.stat()
    renew_run(tmp_path, "size_groups", "s", "first")
    renew_run(tmp_path, "size_groups", "s", "of nothing")
    assert first.stat() == state


def test_a_damaged_part_is_not_whole(tmp_path: Path) -> None:
    """Parquet has no checksum of a page's header; harm that changes no row may go unnoticed."""
    rows = [{**GROUPS[0], "size_group": f"group {number}"} for number in range(500)]
    part = put(tmp_path, rows)
    assert is_whole(part) and not is_whole(tmp_path / "nothing.parquet")
    content, sound = part.read_bytes(), pq.read_table(part, partitioning=None)
    for place in range(4, len(content) // 2, 97):
        part.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert not is_whole(part) or pq.read_table(part, partitioning=None).equals(sound), place
    for length in (0, 4, len(content) // 2, len(content) - 1):
        part.write_bytes(content[:length])
        assert not is_whole(part), length


def changed(index: int, **cells: Any) -> list[dict[str, Any]]:
    rows = [dict(row) for row in GROUPS]
    rows[index].update(cells)
    return rows


def without(name: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != name} for row in GROUPS]


BAD_ROWS = [
    (without("position"), "column position: missing; add it"),
    (changed(1, positon=1), "row 2: its columns differ from row 1: positon; give every row all"),
    (changed(1, position="2"), "column position: Could not convert '2' with type str"),
    (changed(1, position=True), "column position: Expected integer, got bool"),
    (changed(1, position=2.0), "column position: holds double, not int64"),
    (changed(1, position=2**63), "column position: Python int too large to convert"),
    (changed(0, size_group=3), "column size_group: "),
    (changed(0, params_b_from=10**400), "column params_b_from: "),
    (changed(1, default_model_id=None), "row 2, column default_model_id: is null"),
    (changed(0, params_b_from=float("nan")), "row 1, column params_b_from: nan is no number"),
    (changed(0, params_b_below=float("inf")), "row 1, column params_b_below: inf is no number"),
    (
        changed(1, size_group="<3"),
        "row 2, column study_id, size_group: study_id 's', size_group '<3' is already in row 1",
    ),
    (changed(1, study_id="other"), "row 2, column study_id: 'other' is not the part's own 's'"),
    (changed(1, run_id="r0"), "row 2, column run_id: 'r0' is not the part's own 'r1'"),
]


@pytest.mark.parametrize(("rows", "said"), BAD_ROWS, ids=[said[:40] for _, said in BAD_ROWS])
def test_rows_that_break_the_contract_are_named(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(UserError) as caught:
        put(tmp_path, rows)
    assert f"size_groups, {said}" in str(caught.value)
    assert not list(tmp_path.rglob("*"))


def test_frames_that_break_the_contract_are_named(tmp_path: Path) -> None:
    frame = pl.DataFrame(GROUPS)
    for bad, said in (
        (frame.drop("position"), "column position: missing"),
        (frame.with_columns(extra=pl.lit(1)), "column extra: not in the contract"),
        (frame.with_columns(pl.col("position").cast(pl.String)), "column position: holds"),
        (frame.with_columns(pl.col("position").cast(pl.Float64)), "column position: holds double, not int64"),
        (frame.with_columns(default_model_id=pl.lit(None)), "row 1, column default_model_id: is null"),
        (
            frame.with_columns(params_b_from=pl.lit(float("nan"))),
            "row 1, column params_b_from: nan is no number",
        ),
        (pl.concat([frame, frame]), "row 3, column study_id, size_group"),
    ):
        with pytest.raises(UserError) as caught:
            put(tmp_path, bad)
        assert said in str(caught.value)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    rows = [{**GROUPS[0], "size_group": str(i), "position": None} for i in range(50)]
    with pytest.raises(UserError) as caught:
        put(tmp_path, rows)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21 and lines[-1].endswith("and 30 more problems")


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 101])
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    for names in ({"study_id": name}, {"run_id": name}):
        with pytest.raises(UserError, match="cannot be part of a file name"):
            put(tmp_path, GROUPS, **names)


def test_a_failed_rename_leaves_the_old_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, GROUPS)
    before = path.read_bytes()

    def refuse(*_: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"):
        put(tmp_path, GROUPS[:1])
    assert path.read_bytes() == before and os.listdir(path.parent) == ["r1.parquet"]


def test_content_hash_is_stable_and_sees_every_change() -> None:
    assert content_hash({"b": [1, 2.5, None], "a": "é"}) == content_hash({"a": "é", "b": [1, 2.5, None]})
    assert content_hash({"a": 1}) == "015abd7f5cc5"  # printf '{"a":1}' | sha256sum
    assert content_hash([1, 2]) != content_hash([2, 1])
    with pytest.raises(ValueError, match="JSON"):
        content_hash(float("nan"))
    with pytest.raises(TypeError, match="no stable form"):
        content_hash({1, 2})
    study = load_study(Path(__file__).resolve().parents[2] / "dagster_project" / "studies" / "published.yaml")
    assert content_hash(study) == content_hash(study.model_dump(mode="json"))


def test_contracts_are_described_and_keyed() -> None:
    groups = (
        STUDY_TABLES,
        LAB_TABLES,
        REWARD_MODEL_TABLES,
        SCORE_TABLES,
        RESPONSE_TABLES,
        DOCUMENT_TABLES,
        LEADERBOARD_TABLES,
        PERFORMANCE_TABLES,
        RACE_TABLES,
    )
    assert TABLES["base_models"] is BASE_MODELS and len(TABLES) == sum(map(len, groups))
    for name, table in TABLES.items():
        assert table.name == name and table.partition_by[0] == "study_id" and table.description
        assert set(table.partition_by) <= {*table.key, "shard"}, "a part's rows share these"
        by_model = name in REWARD_MODEL_TABLES or name == "document_scores"
        assert ("model_id" in table.partition_by) == by_model
        assert all(field.metadata[b"description"] for field in table.schema)
        nullable = [column for column in table.key if table.schema.field(column).nullable]
        # No limit of size is a limit too, and it has no number.
        assert nullable == (["size_limit_b"] if name == "recommendations" else [])
        assert table.schema.names[0] == "study_id" and table.schema.names[-1] == "run_id"
    assert len({table.fingerprint for table in TABLES.values()}) == len(TABLES)
    assert [f.name for f in STUDY_SEEDS.schema if f.nullable] == ["paper_table"]
