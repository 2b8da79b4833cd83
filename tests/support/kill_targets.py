"""The steps from parts to snapshot that are killed, each as a function of the home. Add another to STEPS.

A small warehouse: the published study's parts, and the costs of its models, of which new ones have come.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from dbt.cli.main import dbtRunner

from dagster_project.environment import DBT_PROJECT, SEEDS, STUDIES
from dagster_project.lib.study_plan import write_study_parts
from models_train.parts import write_part
from models_train.study.study import load_study
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home
from warehouse.publish import publish

MODELS = ("stg_run_costs", "fct_run_costs", "dim_base_models")
"""What dbt builds again; a whole build of the project would take most of a kill's time to get to anything."""
ACKNOWLEDGED = "acknowledged"
"""File of the home with the path of every part whose writing was reported as done."""
JOBS = ("train_reward_model", "score_documents")


def write_costs(home: Home, run_id: str, device_seconds: float) -> None:
    """A part for each model of the published study and each job, in its turn acknowledged."""
    for model_id in load_study(STUDIES / "published.yaml").compared_model_ids:
        for job in JOBS:
            row = {
                "model_id": model_id, "job": job, "variant": "packed", "n_tokens": 1000, "is_gpu": False,
                "device_seconds": device_seconds, "device": "cpu", "n_devices": 1, "peak_memory_bytes": None,
                "versions": "{}",
            }  # fmt: skip
            name = f"{run_id}-{model_id}-{job}"
            path = write_part(home.parts, TABLES["run_costs"], [row], study_id="published", run_id=name)
            with open(home.root / ACKNOWLEDGED, "a", encoding="utf-8") as file:
                print(path.relative_to(home.parts), file=file)


def land(home: Home) -> None:
    """New parts come, one after the other, and are landed."""
    write_costs(home, "new", 7200.0)
    with write(home.warehouse) as connection:
        landing.create_raw_tables(connection, home.parts)
        for table in TABLES.values():
            landing.land_newest(connection, table, home.parts)


def build(home: Home, models: Sequence[str] = MODELS) -> None:
    """dbt's models with their tests."""
    os.environ.update(
        REWARDBASE_HOME=str(home.root), DBT_TARGET_PATH=str(home.dbt_target), DBT_LOG_PATH=str(home.dbt_logs)
    )
    folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    chosen = ["--select", *models, "--indirect-selection", "cautious"]
    done = dbtRunner().invoke(["--quiet", "build", *folders, *chosen])
    assert done.success, done.exception or [result.message for result in done.result]


def publish_snapshot(home: Home) -> None:
    """The marts become the published snapshot."""
    publish(home)


STEPS: dict[str, Callable[[Home], None]] = {"landing": land, "dbt": build, "publish": publish_snapshot}
"""In the order of a refresh."""


def land_first(home: Home) -> None:
    """The study, and the first costs of its models."""
    write_study_parts(STUDIES, SEEDS, home.parts)
    write_costs(home, "old", 3600.0)
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)


def build_first(home: Home) -> None:
    """Everything that the models of later refreshes read."""
    build(home, [f"+{name}" for name in MODELS])


FIRST_STEPS: dict[str, Callable[[Home], None]] = {
    "first landing": land_first,
    "first dbt": build_first,
    "first publish": publish_snapshot,
}
"""From nothing to a published snapshot."""


def main(arguments: Sequence[str]) -> None:
    """`<home> <step>`: one step in its own process, since dbt keeps the database open until its process ends."""
    folder, step = arguments
    (FIRST_STEPS | STEPS)[step](Home(Path(folder)).ensure())
