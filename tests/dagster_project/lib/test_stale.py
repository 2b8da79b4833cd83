"""Stale assets by their files and tables: lost, damaged, or older than their parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from dagster_project.lib import stale
from dagster_project.lib.dbt import load_manifest, models_to_build_for
from dagster_project.lib.stale import missing_outputs
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts.studies import STUDIES
from warehouse.part_files import retire_parts
from warehouse.paths import Home

SPECS = [
    dg.AssetSpec(key)
    for key in (["parts", "studies"], ["raw", "studies"], ["marts", "dim_studies"], ["marts", "fct_size_group_gains"])
]


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Home:
    target = tmp_path / "home"
    shutil.copytree(home, target, symlinks=True, ignore=shutil.ignore_patterns("dagster", "dbt_warehouse*", "logs"))
    return Home(target)


def drop(table: str) -> Callable[[Home], None]:
    def spoil(home: Home) -> None:
        with duckdb.connect(str(home.warehouse)) as connection:
            connection.execute(f"drop table {table}")

    return spoil


def cut_short(home: Home) -> None:
    part = next((home.parts / "base_models").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:50])


def fail_a_test(home: Home) -> None:
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute("update audit.node_results set status = 'fail' where name like 'grain_dim_studies%'")


def forget_a_test(home: Home) -> None:
    with duckdb.connect(str(home.warehouse)) as connection:
        connection.execute("delete from audit.node_results where name like 'grain_dim_studies%'")


def flip(path: Path) -> None:
    """Change a byte in the middle of a file."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


CASES: dict[str, tuple[Callable[[Home], None], set[str], str]] = {
    "nothing": (lambda home: None, set(), ""),
    "raw table": (drop("raw.studies"), {"raw/studies"}, "its table is missing"),
    "mart": (
        drop("marts.fct_size_group_gains"),
        {"marts/dim_studies", "marts/fct_size_group_gains"},
        "missing",
    ),
    "damaged part": (cut_short, {"parts/studies", "raw/base_models"}, "cannot be read"),
    "lost part": (
        lambda home: shutil.rmtree(home.parts / "recommendations"),
        {"parts/performance", "raw/recommendations"},
        "missing",
    ),
    "inputs": (lambda home: shutil.rmtree(home.root / "inputs"), {"parts/performance_inputs"}, "missing"),
    "page": (
        lambda home: (home.reports / "base_model_choice.html").unlink(),
        {"reports/base_model_choice"},
        "is missing",
    ),
    "charts": (lambda home: shutil.rmtree(home.reports / "charts"), {"reports/base_model_choice"}, "is missing"),
    "pointer": (lambda home: home.current.unlink(), {"published/snapshot"}, "no published snapshot"),
    "noise in the snapshot": (lambda home: flip(home.current.resolve()), {"published/snapshot"}, "is damaged"),
    "noise in a chart": (
        lambda home: flip(next((home.reports / "charts").glob("*.png"))),
        {"reports/charts"},
        "is damaged",
    ),
    "failed test": (fail_a_test, {"marts/dim_studies"}, "failed or did not run"),
    "test that never ran": (forget_a_test, {"marts/dim_studies"}, "did not run"),
    "warehouse": (lambda home: home.warehouse.unlink(), {spec.key.to_user_string() for spec in SPECS}, "no warehouse"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_lost_is_made_again(case: str, copy: Home) -> None:
    spoil, expected, words = CASES[case]
    spoil(copy)
    redo = missing_outputs(copy, SPECS)
    assert {key.to_user_string() for key in redo} == expected
    beside = ("failed or did not run", "not those of the newest parts")
    assert all(any(said in reason for said in (words, *beside)) for reason in redo.values()), redo


TABLES_BY_ID = {
    "model.p.stg_a": {"resource_type": "model", "depends_on": {"nodes": ["source.p.raw.a"]}, "name": "stg_a"},
    "seed.p.s": {"resource_type": "seed", "depends_on": {"nodes": []}, "name": "s"},
    "model.p.m": {"resource_type": "model", "depends_on": {"nodes": ["model.p.stg_a", "seed.p.s"]}, "name": "m"},
}
PARSED = {
    "nodes": {key: node | {"schema": "x", "alias": node["name"]} for key, node in TABLES_BY_ID.items()}
    | {
        "test.p.both": {"resource_type": "test", "depends_on": {"nodes": ["model.p.m", "seed.p.s"]}},
        "test.p.source": {"resource_type": "test", "depends_on": {"nodes": ["source.p.raw.a"]}},
        "test.p.unread": {"resource_type": "test", "depends_on": {"nodes": ["source.p.raw.b"]}},
        "test.p.alone": {"resource_type": "test", "depends_on": {"nodes": []}},
    },
    "sources": {"source.p.raw.a": {}, "source.p.raw.b": {}},
}


@pytest.mark.parametrize(
    ("node", "built"),
    [
        ("model.p.m", {"m"}),
        ("seed.p.s", {"s"}),
        ("test.p.both", {"m", "s"}),
        ("test.p.source", {"stg_a"}),
        ("test.p.unread", set()),
        ("test.p.alone", set()),
        ("test.p.gone", set()),
    ],
)
def test_a_node_gets_a_new_result_with_what_it_looks_at(node: str, built: set[str]) -> None:
    """By hand, on a small manifest. Where nothing is found, all of dbt's assets are built."""
    assert {PARSED["nodes"][key]["name"] for key in models_to_build_for(PARSED, node)} == built


def test_what_no_asset_can_be_blamed_for_may_come_from_any(copy: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that looks at nothing, new and therefore without a result."""
    real = load_manifest(copy)
    new = {"test.p.alone": PARSED["nodes"]["test.p.alone"] | {"config": {"enabled": True}}}
    monkeypatch.setattr(stale, "load_manifest", lambda home: real | {"nodes": real["nodes"] | new})
    redo = {key.to_user_string() for key in missing_outputs(copy, SPECS)}
    assert redo == {"marts/dim_studies", "marts/fct_size_group_gains"}


def test_a_study_without_a_file_is_set_aside_and_goes_from_the_tables(tmp_path: Path) -> None:
    from models_train.parts import write_part

    parts = tmp_path / "parts"
    for study in ("kept", "gone"):
        row = {"title": study, "synthetic": False, "source": "x", "use_loose_benchmarks": False, "answer_on": None}
        write_part(parts, STUDIES, [row], study_id=study, run_id="r1")
    database = tmp_path / "warehouse.duckdb"
    duckdb.connect(str(database)).close()
    with write(database) as connection:
        landing.create_raw_tables(connection, parts)
        assert landing.land_newest(connection, STUDIES, parts) == 2
        assert retire_parts(parts, {"kept"}) == ["studies/gone"]
        assert landing.land_newest(connection, STUDIES, parts) == 1
        assert connection.execute("select study_id from raw.studies").fetchall() == [("kept",)]
    assert list((parts / ".retired" / "studies" / "gone").glob("*.parquet"))


def test_an_asset_that_is_left_out_for_now_makes_nothing_stale() -> None:
    lab, raw = dg.AssetSpec(["parts", "lab"]), dg.AssetSpec(["raw", "lab_mixes"], deps=[["parts", "lab"]])
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(raw.key))
        assert list(stale.stale_by_records([lab, raw], instance, {})) == [lab.key, raw.key]
        assert stale.stale_by_records([raw], instance, {}) == {}
