"""Landing part by part: partitions finer than a study, no part read twice, damage repaired, parts set aside."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from models_train.parts import write_part
from warehouse import landing
from warehouse.connection import Connection, write
from warehouse.contracts import TABLES, Table
from warehouse.contracts.studies import IMPORTS, STUDY_FILE, run_of
from warehouse.landing import create_raw_tables, land_newest, rebuild, unlanded
from warehouse.part_files import (
    LandingError,
    Wanted,
    newest_parts,
    restore_wanted,
    retire_parts,
    retire_unwanted,
)

COSTS, SCORES, STUDIES = TABLES["run_costs"], TABLES["document_scores"], TABLES["studies"]
RESULTS = TABLES["benchmark_results"]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    return tmp_path / "parts"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with write(tmp_path / "w.duckdb") as opened:
        create_raw_tables(opened)
        yield opened


def cost_row(model_id: str, variant: str | None, n_tokens: int) -> dict[str, Any]:
    return {
        "model_id": model_id,
        "job": "train_reward_model",
        "variant": variant,
        "n_tokens": n_tokens,
        "device_seconds": 1.0,
        "device": "cpu",
        "n_devices": 1,
        "is_gpu": False,
        "peak_memory_bytes": None,
        "versions": "{}",
    }


def cost(
    parts: Path, model_id: str, variant: str, n_tokens: int, *, study_id: str = "s", run_id: str | None = None
) -> Path:
    row = cost_row(model_id, variant, n_tokens)
    return write_part(parts, COSTS, [row], study_id=study_id, run_id=run_id or f"{model_id}-{variant}")


def costs(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select study_id, model_id, variant, n_tokens from raw.run_costs order by all nulls last"
    ).fetchall()


def test_each_partition_of_a_study_has_rows_of_its_own_part(connection: Connection, parts: Path) -> None:
    cost(parts, "m1", "regression", 1, run_id="a")
    cost(parts, "m1", "bradley_terry", 2, run_id="b")
    gone = cost(parts, "m2", "regression", 3, run_id="c")
    cost(parts, "m1", "regression", 4, study_id="t", run_id="a")
    assert land_newest(connection, COSTS, parts) == 4
    cost(parts, "m1", "regression", 10, run_id="d")
    gone.unlink()
    assert land_newest(connection, COSTS, parts) == 3
    wanted = [("s", "m1", "bradley_terry", 2), ("s", "m1", "regression", 10), ("t", "m1", "regression", 4)]
    assert costs(connection) == wanted
    assert rebuild(connection, parts) == dict.fromkeys(TABLES, 0) | {"run_costs": 3}
    assert costs(connection) == wanted
    assert {(part.study_id, part.run_id) for part in newest_parts(parts, COSTS)} == {("s", "b"), ("s", "d"), ("t", "a")}


def spoil_rows(part: Path) -> None:
    """Damage what a part holds and leave its metadata readable."""
    content = bytearray(part.read_bytes())
    content[4:200] = bytes(196)
    part.write_bytes(content)


def test_what_is_landed_is_not_read_again(connection: Connection, parts: Path) -> None:
    landed = cost(parts, "m1", "regression", 1)
    assert land_newest(connection, COSTS, parts) == 1
    spoil_rows(landed)
    cost(parts, "m2", "regression", 2)
    assert land_newest(connection, COSTS, parts) == 2
    assert not unlanded(connection, COSTS, parts)
    with pytest.raises(LandingError, match="cannot be landed in run_costs"):
        rebuild(connection, parts)
    assert len(costs(connection)) == 2 and not unlanded(connection, COSTS, parts)


def test_unlanded_says_what_landing_would_change(connection: Connection, parts: Path) -> None:
    assert not unlanded(connection, COSTS, parts)
    part = cost(parts, "m1", "regression", 1)
    assert unlanded(connection, COSTS, parts)
    land_newest(connection, COSTS, parts)
    assert not unlanded(connection, COSTS, parts)
    cost(parts, "m1", "regression", 1)  # the same run wrote it again
    assert unlanded(connection, COSTS, parts)
    land_newest(connection, COSTS, parts)
    part.unlink()
    assert unlanded(connection, COSTS, parts)
    assert land_newest(connection, COSTS, parts) == 0
    assert costs(connection) == [] and not unlanded(connection, COSTS, parts)
    connection.execute("drop table raw.run_costs")
    assert unlanded(connection, COSTS, parts)


@pytest.mark.parametrize(
    "harm",
    [
        "delete from raw.run_costs",
        "delete from raw.run_costs where model_id = 'm1'",
        "drop table raw.run_costs",
        "insert into raw.run_costs select * replace ('stray' as model_id) from raw.run_costs limit 1",
        "drop table audit.landed_parts",
        "drop schema audit cascade",
    ],
)
def test_a_table_changed_by_something_else_is_landed_again(connection: Connection, parts: Path, harm: str) -> None:
    cost(parts, "m1", "regression", 1)
    cost(parts, "m2", "regression", 2)
    land_newest(connection, COSTS, parts)
    wanted = costs(connection)
    connection.execute(harm)
    assert unlanded(connection, COSTS, parts)
    create_raw_tables(connection, parts)
    assert land_newest(connection, COSTS, parts) == 2
    assert costs(connection) == wanted and not unlanded(connection, COSTS, parts)


def test_a_part_that_does_not_fit_leaves_table_and_record_as_they_were(connection: Connection, parts: Path) -> None:
    cost(parts, "m1", "regression", 1)
    land_newest(connection, COSTS, parts)
    bad = cost(parts, "m2", "regression", 2)
    metadata = pq.read_schema(bad).metadata
    changed = pq.read_table(bad, partitioning=None).replace_schema_metadata({**metadata, b"rewardbase.contract": b"x"})
    pq.write_table(changed, bad)
    with pytest.raises(LandingError, match="another version of the contract"):
        land_newest(connection, COSTS, parts)
    assert costs(connection) == [("s", "m1", "regression", 1)]
    assert unlanded(connection, COSTS, parts)
    bad.unlink()
    assert not unlanded(connection, COSTS, parts)


ODD = ("it's", 'say "x"', "{}", "$1 ? %s", "drop table", "é\n\u2028", "", " ", "None", None)


def test_odd_and_missing_partition_values_are_kept_apart(
    connection: Connection, parts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = [field.with_nullable(True) if field.name == "variant" else field for field in COSTS.schema]
    table: Table = dataclasses.replace(COSTS, schema=pa.schema(fields))
    monkeypatch.setitem(landing.TABLES, "run_costs", table)
    create_raw_tables(connection)
    written = [
        write_part(parts, table, [cost_row("m", value, number)], study_id="s", run_id=f"r{number}")
        for number, value in enumerate(ODD)
    ]
    assert land_newest(connection, table, parts) == len(ODD)
    assert {row[2]: row[3] for row in costs(connection)} == {value: number for number, value in enumerate(ODD)}
    for number, path in enumerate(written, 1):
        path.unlink()
        assert land_newest(connection, table, parts) == len(ODD) - number
        assert {row[3] for row in costs(connection)} == set(range(number, len(ODD)))


def score(parts: Path, run: str, shard: str, document: str, model_id: str = "m") -> Path:
    texts = {field.name: "x" for field in SCORES.schema if field.type == pa.string()}
    numbers = {field.name: 1 for field in SCORES.schema if field.type in (pa.int64(), pa.float64())}
    own = {"model_id": model_id, "shard": shard, "document_id": document, "is_truncated": False}
    row = {name: value for name, value in (texts | numbers | own).items() if name not in ("study_id", "run_id")}
    return write_part(parts, SCORES, [row], study_id="s", run_id=f"{run}-{shard}")


def test_shards_of_an_older_cut_do_not_count_twice(connection: Connection, parts: Path) -> None:
    for shard, document in (("00000", "a"), ("00001", "b"), ("00002", "c")):
        score(parts, "old", shard, document)
    score(parts, "other", "00000", "a", model_id="m2")
    assert land_newest(connection, SCORES, parts) == 4
    score(parts, "new", "00000", "a")
    score(parts, "new", "00001", "c")
    assert unlanded(connection, SCORES, parts)
    assert land_newest(connection, SCORES, parts) == 3
    found = connection.execute("select model_id, document_id, run_id from raw.document_scores order by all").fetchall()
    assert found == [("m", "a", "new-00000"), ("m", "c", "new-00001"), ("m2", "a", "other-00000")]


def of_models(names: list[str]) -> Wanted:
    return lambda _, partition: partition.get("model_id") in names


def of_writers(names: list[str]) -> Wanted:
    return lambda _, partition: partition.get("written_by") in names


def test_parts_of_a_removed_model_are_set_aside_and_come_back(connection: Connection, parts: Path) -> None:
    kept = cost(parts, "m1", "regression", 1)
    away = cost(parts, "m2", "regression", 2)
    other = cost(parts, "m2", "regression", 3, study_id="t")
    damaged = kept.with_name("damaged.parquet")
    damaged.write_bytes(b"no part")
    content = away.read_bytes()
    assert retire_unwanted(parts, "s", of_models(["m1"])) == ["run_costs/s/m2-regression"]
    assert retire_unwanted(parts, "s", of_models(["m1"])) == []
    assert kept.exists() and other.exists() and damaged.exists() and not away.exists()
    assert (parts / ".retired" / "run_costs" / "s" / away.name).read_bytes() == content
    damaged.unlink()
    assert land_newest(connection, COSTS, parts) == 2
    assert restore_wanted(parts, "s", of_models(["m1"])) == []
    assert restore_wanted(parts, "s", of_models(["m1", "m2"])) == ["run_costs/s/m2-regression"]
    assert away.read_bytes() == content
    assert land_newest(connection, COSTS, parts) == 3


def test_a_part_that_was_made_again_is_not_replaced_by_the_retired_one(parts: Path) -> None:
    cost(parts, "m2", "regression", 1)
    retire_unwanted(parts, "s", of_models([]))
    again = cost(parts, "m2", "regression", 2)
    assert restore_wanted(parts, "s", of_models(["m2"])) == []
    assert pq.read_table(again, partitioning=None)["n_tokens"].to_pylist() == [2]


def test_retiring_a_study_keeps_what_was_retired_before(parts: Path) -> None:
    first = cost(parts, "m1", "regression", 1)
    retire_unwanted(parts, "s", of_models([]))
    second = cost(parts, "m2", "regression", 2)
    write_part(
        parts,
        STUDIES,
        [{"title": "S", "synthetic": False, "source": "x", "use_loose_benchmarks": False, "answer_on": None}],
        study_id="s",
        run_id="r",
    )
    assert retire_parts(parts, []) == ["studies/s", "run_costs/s"]
    assert {path.name for path in (parts / ".retired" / "run_costs" / "s").iterdir()} == {first.name, second.name}
    assert retire_parts(parts, []) == [] and not (parts / "run_costs" / "s").exists()
    assert restore_wanted(parts, "s", of_models(["m1", "m2"])) == [
        "run_costs/s/m1-regression",
        "run_costs/s/m2-regression",
    ]


def put(parts: Path, written_by: str, run_id: str, values: dict[str, float], benchmark: str = "b") -> Path:
    rows: list[dict[str, Any]] = [
        {
            "written_by": written_by, "model_id": model_id, "benchmark": benchmark, "metric": "acc_pct", "value": value,
            "standard_error": None, "n_examples": None, "shots": "0", "match": "exact", "source": written_by,
            "pipeline": None,
        }
        for model_id, value in values.items()
    ]  # fmt: skip
    return write_part(parts, RESULTS, rows, study_id="s", run_id=run_id)


def landed_results(connection: Connection, parts: Path) -> list[tuple[Any, ...]]:
    land_newest(connection, RESULTS, parts)
    return connection.execute("select written_by, model_id, value from raw.benchmark_results order by all").fetchall()


def test_each_writer_replaces_its_own_rows(connection: Connection, parts: Path) -> None:
    put(parts, STUDY_FILE, "f1", {"c": 1.0})
    put(parts, run_of("a"), "a1", {"a": 2.0})
    put(parts, IMPORTS, "i1", {"a": 3.0, "b": 4.0})
    assert landed_results(connection, parts) == [
        ("imports", "a", 3.0),
        ("imports", "b", 4.0),
        ("run of a", "a", 2.0),
        ("study file", "c", 1.0),
    ]
    # Imported files of b are gone, a was run again with other settings.
    put(parts, IMPORTS, "i2", {"a": 3.5})
    put(parts, run_of("a"), "a2", {"a": 2.5})
    expected = [("imports", "a", 3.5), ("run of a", "a", 2.5), ("study file", "c", 1.0)]
    assert landed_results(connection, parts) == expected
    rebuild(connection, parts)
    assert landed_results(connection, parts) == expected


def test_writers_that_a_study_drops_go_and_come_back(connection: Connection, parts: Path) -> None:
    put(parts, STUDY_FILE, "f1", {"c": 1.0})
    put(parts, run_of("a"), "a1", {"a": 2.0})
    put(parts, IMPORTS, "i1", {"a": 3.0})
    assert retire_unwanted(parts, "s", of_writers([STUDY_FILE, run_of("b")])) == [
        "benchmark_results/s/a1",
        "benchmark_results/s/i1",
    ]
    assert landed_results(connection, parts) == [("study file", "c", 1.0)]
    assert restore_wanted(parts, "s", of_writers([run_of("a")])) == ["benchmark_results/s/a1"]
    assert landed_results(connection, parts) == [("run of a", "a", 2.0), ("study file", "c", 1.0)]


def test_parts_from_before_there_were_several_writers_are_set_aside(connection: Connection, parts: Path) -> None:
    """A home of an earlier version: its part is of the whole study and would stay beside the new ones."""
    old = put(parts, STUDY_FILE, "old", {"c": 1.0})
    table = pq.read_table(old, partitioning=None).drop_columns(["written_by", "standard_error", "n_examples"])
    metadata = {**(table.schema.metadata or {}), b"rewardbase.partition": json.dumps({"study_id": "s"}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata | {b"rewardbase.contract": b"old"}), old)
    put(parts, STUDY_FILE, "new", {"c": 2.0})
    assert retire_unwanted(parts, "s", of_writers([STUDY_FILE])) == ["benchmark_results/s/old"]
    assert landed_results(connection, parts) == [("study file", "c", 2.0)]
