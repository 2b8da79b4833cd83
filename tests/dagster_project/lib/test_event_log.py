"""The event log whose files stay open: what it stores is Dagster's own, and nobody else is kept from it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from dagster_project.environment import PROJECT
from dagster_project.lib.event_log import MOST_OPEN, OpenEventLog

KEY = dg.AssetKey(["some", "asset"])


@dg.asset(key=KEY)
def some_asset() -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"rows": 3})


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance with the project's own settings."""
    monkeypatch.setenv("REWARDBASE_HOME", str(tmp_path))
    folder = tmp_path / "dagster"
    folder.mkdir()
    shutil.copyfile(PROJECT / "instance.yaml", folder / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(folder)) as made:
        yield made


@pytest.fixture
def plain(instance: dg.DagsterInstance, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """What Dagster itself makes of the same folder."""
    (tmp_path / "dagster" / "plain.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster"), "plain.yaml") as made:
        assert type(made.event_log_storage) is not OpenEventLog
        yield made


def open_files(folder: Path) -> list[str]:
    """Names of the databases in the folder that this process has open."""
    found = {Path(file.path) for file in psutil.Process().open_files()}
    return sorted(path.name for path in found if path.suffix == ".db" and folder in path.parents)


def n_made(instance: dg.DagsterInstance) -> int:
    return len(instance.fetch_materializations(KEY, limit=50).records)


def test_dagsters_own_event_log_reads_the_same(instance: dg.DagsterInstance, plain: dg.DagsterInstance) -> None:
    assert isinstance(instance.event_log_storage, OpenEventLog)
    done = dg.materialize([some_asset], instance=instance)
    events = [(entry.timestamp, entry.to_json()) for entry in instance.all_logs(done.run_id)]
    assert len(events) > 10
    assert [(entry.timestamp, entry.to_json()) for entry in plain.all_logs(done.run_id)] == events
    (record,) = plain.fetch_materializations(KEY, limit=5).records
    assert record.asset_materialization is not None and record.asset_materialization.metadata["rows"].value == 3


def test_what_others_write_is_seen_at_once_and_they_are_not_kept_waiting(
    instance: dg.DagsterInstance, plain: dg.DagsterInstance
) -> None:
    for number in range(1, 4):
        for writer in (instance, plain):
            writer.report_runless_asset_event(dg.AssetMaterialization(KEY))
        assert n_made(instance) == n_made(plain) == 2 * number


def test_few_files_stay_open_and_none_at_the_end(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    runs = [dg.materialize([some_asset], instance=instance).run_id for _ in range(MOST_OPEN + 2)]
    assert 2 <= len(open_files(tmp_path / "dagster" / "history" / "runs")) <= MOST_OPEN
    assert all(len(instance.all_logs(run_id)) > 10 for run_id in runs), "a file that was closed is opened again"
    instance.dispose()
    assert open_files(tmp_path / "dagster" / "history" / "runs") == []


def test_a_fork_opens_the_files_anew(instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY))
    assert n_made(instance) == 3


def test_wiped_is_empty_and_goes_on(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run_id = dg.materialize([some_asset], instance=instance).run_id
    instance.event_log_storage.wipe()
    assert n_made(instance) == 0 and instance.all_logs(run_id) == []
    dg.materialize([some_asset], instance=instance)
    assert n_made(instance) == 1
