"""Dagster's databases: a damaged one is set aside, a locked one is named, a sound one stays."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.lib.storage import DATABASES, check_storage, databases, lost_database
from models_train.errors import UserError
from warehouse.paths import Home


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("made")).ensure()
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        instance.get_runs()
        instance.all_asset_keys()
        instance.all_instigator_state()
    assert all((home.dagster_home / name).exists() for name in DATABASES), "Dagster has these databases"
    return home.root


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Home:
    return Home(shutil.copytree(made, tmp_path / "o'brien's #1"))


def test_sound_and_missing_databases_are_left_alone(home: Home) -> None:
    (home.dagster_home / DATABASES[0]).unlink()
    assert check_storage(home) == []
    assert not list(home.dagster_home.rglob("*.broken-*")) and not (home.dagster_home / DATABASES[0]).exists()


@pytest.mark.parametrize("name", DATABASES)
@pytest.mark.parametrize("start", [0, 4096])
def test_noise_is_set_aside_and_dagster_begins_anew(home: Home, name: str, start: int) -> None:
    path = home.dagster_home / name
    content = path.read_bytes()
    path.write_bytes(content[:start] + b"\xa5" * (len(content) - start))
    (told,) = check_storage(home)
    assert str(path) in told and "set aside" in told
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        assert instance.get_runs() == [] and instance.all_asset_keys() == []
    assert check_storage(home) == []


def test_a_lock_of_another_program_is_named(home: Home) -> None:
    with sqlite3.connect(home.dagster_home / DATABASES[0], isolation_level=None) as client:
        client.execute("begin exclusive")
        with pytest.raises(UserError, match=r"runs\.db .* locked by another program for 0.2 s; close that program"):
            check_storage(home, wait_seconds=0.2)
        client.execute("rollback")
    assert check_storage(home) == []


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_that_is_removed_or_replaced_is_named(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path)
    place = home.dagster_home / name
    place.parent.mkdir(parents=True)
    place.write_bytes(b"")
    before = databases(home)
    with place.open("ab") as file:
        file.write(b"more")
    assert lost_database(home, before) is None
    place.rename(tmp_path / "aside")
    assert f"{place} (Dagster's records) was removed or replaced" in str(lost_database(home, before))
    place.write_bytes(b"")
    assert lost_database(home, before)
