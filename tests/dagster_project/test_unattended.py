"""Nobody at work: a study file of a new model is dropped while the UI's daemon runs, and is published."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import yaml

from tests.support.programs import files_with_secrets

REPOSITORY = Path(__file__).resolve().parents[2]
LONGEST_S = 900
"""On two cores that other tests use, too; alone it takes about a minute and a half."""
N_PAIRS = 32


def drop_study(folder: Path, data: Path) -> None:
    """A study of one tiny model with a test set of every subset; its file comes last, and whole."""
    from tests.support.tiny_models import write_base  # with torch, which the other tests need not load

    write_base(data / "model")
    pairs = [
        {"prompt": f"What is {n}?", "response_1": f"It is {n}.", "response_2": "No.", "preference_strength": -2}
        | {"split": "train" if n < N_PAIRS * 3 // 4 else "validation"}
        for n in range(N_PAIRS)
    ]
    (data / "preferences.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    with (REPOSITORY / "dbt" / "seeds" / "rewardbench_subsets.csv").open() as file:
        subsets = [row["subset"] for row in csv.DictReader(file)]
    items = [
        {"id": place, "subset": subset, "prompt": f"Say {subset}", "chosen": f"{subset}, number {n}", "rejected": "no"}
        | {"chosen_model": "a", "rejected_model": "b"}
        for place, (subset, n) in enumerate((subset, n) for subset in subsets for n in range(2))
    ]
    (data / "test.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    study = {
        "study_id": "dropped",
        "title": "Dropped while nobody looked",
        "synthetic": True,
        "source": "made in a test",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": "newcomer"}],
        "models": [
            {"model_id": "newcomer", "hub_id": str(data / "model"), "publisher": "nobody", "family": "none"}
            | {"params_b": 0.00005, "stage": "base"}
        ],
        "training": {
            "preferences": {"path": str(data / "preferences.jsonl")},
            "test_set": {"path": str(data / "test.jsonl")},
            "objectives": ["bradley_terry"],
            "bradley_terry": {"learning_rates": [1e-3], "global_batch": 8, "warmup_steps": 1, "max_tokens": 400},
            "precision": "float32",
        },
    }
    (data / "dropped.yaml").write_text(yaml.safe_dump(study))
    shutil.move(data / "dropped.yaml", folder / "dropped.yaml")


def recommended(home: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        return marts.execute("select distinct model_id from fct_recommendations where study_id = 'dropped'").fetchall()


@pytest.fixture(scope="module")
def dropped(
    small_run: Path, tmp_path_factory: pytest.TempPathFactory, ui: SimpleNamespace
) -> Iterator[tuple[Path, str, float]]:
    """Home, the UI's address while it is at work, and seconds from the drop to the snapshot."""
    folder = tmp_path_factory.mktemp("unattended")
    shutil.copytree(small_run, folder, symlinks=True, dirs_exist_ok=True)
    data = folder / "data"
    data.mkdir()
    home, project = folder / "home", folder / "project"
    with ui.at_work(home, project, REWARDBASE_LOOK_SECONDS="3") as (address, said):
        drop_study(project / "dagster_project" / "studies", data)
        began = time.monotonic()
        try:
            ui.wait_for(lambda: recommended(home), LONGEST_S)
        except AssertionError:
            print(said.read_text()[-5000:])
            raise
        yield home, address, time.monotonic() - began


def test_a_dropped_model_is_recommended_in_the_snapshot_and_in_its_report(
    dropped: tuple[Path, str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    home, _, seconds = dropped
    with capsys.disabled():
        print(f"\nfrom the drop of a study file to the published recommendation: {seconds:.0f} s")
    assert recommended(home) == [("newcomer",)]
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        (snapshot,) = marts.execute("select snapshot_id from snapshot").fetchone() or ("",)
        studies = marts.execute("select distinct study_id from fct_recommendations order by 1").fetchall()
    page = (home / "reports" / "base_model_choice.html").read_text()
    assert snapshot in page and "newcomer" in page and "Dropped while nobody looked" in page
    assert ("published",) in studies, "what was there is still there"


def test_no_secret_of_the_environment_is_left_anywhere(dropped: tuple[Path, str, float]) -> None:
    """What webserver, daemon and jobs logged and recorded, with a token and a password in their environment."""
    home, _, _ = dropped
    assert files_with_secrets(home) == []


LAUNCH = """mutation($backfill: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $backfill) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status } } }"""
MATERIALIZED = """query($path: [String!]!, $partitions: [String!]) { assetNodeOrError(assetKey: {path: $path}) {
  ... on AssetNode { assetMaterializations(partitions: $partitions, limit: 5) {
    metadataEntries { label } } } } }"""


def test_a_model_can_be_made_again_from_the_ui_by_all_objectives(
    dropped: tuple[Path, str, float], ui: SimpleNamespace
) -> None:
    """The mutation that the UI's own dialog sends for partitions of two dimensions; the study asks for one of them."""
    _, address, _ = dropped
    trained, untrained = ("dropped/newcomer|bradley_terry", "dropped/newcomer|regression")
    paths = [{"path": ["parts", name]} for name in ("reward_models", "completion_rewards")]
    wanted = {"assetSelection": paths, "partitionNames": [trained, untrained], "title": "again"}
    asked = ui.ask(address, LAUNCH, backfill=wanted)
    launched = asked["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    def ended() -> str | None:
        status = ui.ask(address, STATUS, id=launched["backfillId"])["partitionBackfillOrError"]["status"]
        return status if status not in ("REQUESTED", "COMPLETING") else None

    assert ui.wait_for(ended, LONGEST_S, 1.0) == "COMPLETED_SUCCESS"
    labels = {}
    for partition in (trained, untrained):
        found = ui.ask(address, MATERIALIZED, path=["parts", "reward_models"], partitions=[partition])
        made = found["assetNodeOrError"]["assetMaterializations"]
        labels[partition] = [{entry["label"] for entry in one["metadataEntries"]} for one in made]
    assert len(labels[trained]) == 2, "once by the sensor, once by the backfill"
    assert {"device seconds", "tokens", "peak memory, GB", "device"} <= labels[trained][0]
    assert labels[untrained] == [{"nothing to do"}]
