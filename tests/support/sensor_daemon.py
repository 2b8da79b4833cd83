"""A sensor's evaluation as Dagster's daemon carries it out, on an instance on disk: to be killed at any moment."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import yaml

from dagster_project.lib.run_requests import WORK, Evaluation
from dagster_project.lib.run_requests import evaluate as evaluate_sensor
from tests.support.forked import Launcher
from warehouse.paths import Home

MODEL = {"publisher": "us", "family": "one", "tokens_t": 1.0, "stage": "base", "params_b": 1.0}
REPOSITORY = Path(__file__).resolve().parents[2]
INSTANCE = REPOSITORY / "dagster_project" / "instance.yaml"
RUN_KEY = "dagster/run_key"


def take(instance: dg.DagsterInstance, found: Evaluation) -> None:
    """What the daemon does with partitions after an evaluation."""
    for change in found.partitions:
        if change.added:
            instance.add_dynamic_partitions(str(change.partitions.name), change.added)
        for key in change.retired:
            instance.delete_dynamic_partition(str(change.partitions.name), key)


def start(instance: dg.DagsterInstance, run: dg.RunRequest) -> dg.DagsterRun:
    """What the daemon does with a request: a run with its tags, once for each run key."""
    partition = {"dagster/partition": str(run.partition_key)} if run.partition_key else {}
    key = {RUN_KEY: run.run_key} if run.run_key else {}
    present = instance.get_runs(dg.RunsFilter(tags=key)) if key else []
    return (
        present[0]
        if present
        else instance.add_run(
            dg.DagsterRun(
                job_name=str(run.job_name),
                tags={**run.tags, **partition, **key},
                status=dg.DagsterRunStatus.STARTED,
                asset_selection=frozenset(run.asset_selection or ()),
            )
        )
    )


def evaluate(home: Home, folder: Path) -> None:
    """One evaluation of the sensor and what follows from it."""
    os.environ["DAGSTER_HOME"] = str(home.dagster_home)
    with dg.DagsterInstance.get() as instance:
        found = evaluate_sensor(instance, home, folder)
        take(instance, found)
        for request in found.runs:
            start(instance, request)


def state(home: Home) -> tuple[list[str], list[tuple[str, str, str]]]:
    """Partitions, and of every run its job, partition and work: sorted, so that what is doubled stands twice."""
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        runs = [
            (run.job_name, run.tags.get("dagster/partition", ""), run.tags.get(WORK, "")) for run in instance.get_runs()
        ]
        return sorted(instance.get_dynamic_partitions("base_models")), sorted(runs)


def write_study(folder: Path, study_id: str, *names: str) -> Path:
    """A study of models that are folders with a configuration each, to be trained by Bradley-Terry."""
    for name in ("preferences", "test"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"file": name}))
    for name in names:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "config.json").write_text(json.dumps({"name": name}))
    data = {"preferences": {"path": "preferences.jsonl"}, "test_set": {"path": "test.jsonl"}}
    study = {
        "study_id": study_id,
        "title": "Tiny",
        "synthetic": True,
        "source": "made here",
        "size_groups": [{"name": "all", "params_b_from": 0, "default": names[0]}],
        "models": [MODEL | {"model_id": name, "hub_id": f"./{name}"} for name in names],
        "training": data | {"objectives": ["bradley_terry"]},
    }
    path = folder / f"{study_id}.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def killed_evaluations(home: Home, place: Path, n_kills: int, seed: str) -> int:
    """Kill evaluations, each on a copy of the home, and evaluate again after each; returns the number of kills.

    place: folder to be made, for study files and copies. Raises AssertionError where something is doubled or missing.
    """
    folder, kept = place / "studies", place / "kept"
    folder.mkdir(parents=True)
    write_study(folder, "first", "small")
    write_study(folder, "second", "a", "b", "c")
    shutil.copyfile(INSTANCE, home.dagster_home / "dagster.yaml")
    done, source = 0, random.Random(seed)
    state(home)  # makes Dagster's own files
    shutil.copytree(home.root, kept)
    with Launcher("tests.support.sensor_daemon", paths=[str(REPOSITORY)]) as launcher:
        arguments = [str(home.root), str(folder)]
        seconds = launcher.call(arguments)["seconds"]
        wanted = state(home)
        assert len(wanted[0]) == 4 and len(wanted[1]) == 5, "the check of the study files, and four trainings"
        while done < n_kills:
            shutil.rmtree(home.root)
            shutil.copytree(kept, home.root)
            done += launcher.call(arguments, source.uniform(0, seconds))["status"] == signal.SIGKILL
            evaluate(home, folder)
            assert state(home) == wanted
            evaluate(home, folder)
            assert state(home) == wanted, "nothing is left to ask for"
    return done


def main(arguments: Sequence[str]) -> None:
    """`<home> <folder>`: one evaluation."""
    home, folder = arguments
    evaluate(Home(Path(home)), Path(folder))
