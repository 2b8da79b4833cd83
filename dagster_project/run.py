"""`python -m dagster_project.run`: materialize through Dagster what is out of date, then print the answer."""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    import dagster as dg

from dagster_project import environment, manifest
from warehouse.home import Home


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0 when all is up to date and published, 1 after a failure, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    errors = Console(stderr=True, highlight=False)
    if options.answer:
        return answer(Home.from_environment(), console, errors)
    home = Home.from_environment()
    before = pointer(home)
    try:
        environment.prepare()
        failures = refresh(home, console, everything=options.all)
    except KeyboardInterrupt:
        errors.print("Interrupted. The published snapshot is as it was before; run again to go on.")
        return 130
    except OSError as error:
        failures = [f"{error}; REWARDBASE_HOME must name a folder that can be written"]
    if failures:
        errors.print(f"[bold red]Stopped.[/] {left_behind(home, before)}")
        for failure in failures:
            errors.print(failure, markup=False, soft_wrap=True)
        return 1
    return answer(home, console, errors)


def pointer(home: Home) -> str:
    """What the pointer to the published snapshot names."""
    return os.path.realpath(home.current)


def left_behind(home: Home, before: str) -> str:
    """What a failed run means for readers, in words. before: what the pointer named when it began."""
    if pointer(home) == before:
        return "The published snapshot is as it was before."
    return "Everything else was refreshed and published; what failed is tried again by the next run."


def refresh(home: Home, console: Console, *, everything: bool = False) -> list[str]:
    """Materialize the stale assets (or everything) in one Dagster run; returns the messages of what failed.

    Raises KeyboardInterrupt after Ctrl-C, when the run has ended in good order.
    """
    import dagster as dg

    from dagster_project.outputs import assets_to_redo
    from dagster_project.session import AlreadyRunning, alone, end_dead_runs
    from dagster_project.staleness import stale_assets
    from warehouse.connection import WarehouseBusy

    began = time.monotonic()
    try:
        with alone(home), dg.DagsterInstance.get() as instance:
            end_dead_runs(instance, home)
            console.print("Reading the project ...")
            message = manifest.bring_up_to_date(home)
            if message:
                return [message]
            definitions = load_definitions()
            failures = work_through_tasks(definitions, instance, home, console, everything)
            specs = [spec for spec in definitions.resolve_all_asset_specs() if spec.partitions_def is None]
            redo = {spec.key: "asked for" for spec in specs} if everything else assets_to_redo(home, specs)
            stale = stale_assets(specs, instance, redo)
            if not stale:
                console.print("Nothing changed since the last run.")
                return failures
            first, reason = next(iter(stale.items()))
            console.print(
                f"{len(stale)} of {len(specs)} assets to materialize, from {first.to_user_string()} on: {reason}.",
                markup=False,
                soft_wrap=True,
            )
            stopped = materialize(definitions, instance, set(stale))
    except (AlreadyRunning, WarehouseBusy) as error:
        return [str(error)]
    if not stopped:
        console.print(f"{len(stale)} assets materialized in {time.monotonic() - began:.0f} s.", markup=False)
    return [*failures, *stopped]


def work_through_tasks(
    definitions: dg.Definitions, instance: dg.DagsterInstance, home: Home, console: Console, everything: bool
) -> list[str]:
    """Make the lab and the samples of documents, and run the GPU jobs that are due; returns the messages of failures.

    A model that fails holds back its own results only. A study file that cannot be read is passed over here: the
    refresh that follows reports it.
    """
    from dagster_project import gpu_work
    from dagster_project.partitions import bring_partitions_up_to_date
    from dagster_project.study_parts import follow_models
    from dagster_project.task_runs import run_tasks
    from models_train.locations import LocationError
    from models_train.study_yaml import StudyError

    try:
        studies = gpu_work.study_files()
        unanswered = []
        if gpu_work.queries_due(studies, home):
            console.print("Asking the hub for models ...")
            unanswered = materialize(definitions, instance, {gpu_work.HUB_MODELS}, with_messages=True)
            studies = gpu_work.study_files()
        follow_models(home.parts, list(studies.values()))
        if gpu_work.labs_due(studies, home):
            console.print("Making the lab: its data, and its base models, which are pre-trained here ...")
            failures = materialize(definitions, instance, {gpu_work.LAB}, with_messages=True)
            if failures:
                return [*unanswered, *failures]
        tasks = gpu_work.due(studies, home, everything=everything)
        sample = gpu_work.samples_due(studies, home)
    except StudyError:
        return []
    except LocationError as error:
        return [str(error)]
    if not tasks and not sample:
        return unanswered
    bring_partitions_up_to_date(instance, list(studies.values()))
    if sample:
        console.print("Sampling documents ...")
        failures = materialize(definitions, instance, {gpu_work.DOCUMENTS})
        if failures:
            return [*unanswered, *failures]
    with own_console() as terminal:
        return [*unanswered, *(run_tasks(instance, tasks, terminal) if tasks else [])]


def materialize(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: set[dg.AssetKey],
    *,
    with_messages: bool = False,
) -> list[str]:
    """Materialize `keys` in one run of the job `refresh`, with progress; returns the messages of what failed.

    with_messages: show what the steps say of themselves, too.
    """
    import dagster as dg

    from dagster_project.progress import watch
    from dagster_project.session import QUIET_LOGS, TAG

    job = definitions.resolve_job_def("refresh").get_subset(asset_selection=keys)
    run_id = str(uuid.uuid4())

    def work() -> bool:
        return job.execute_in_process(
            instance=instance,
            run_id=run_id,
            run_config=QUIET_LOGS,
            tags=TAG,
            raise_on_error=False,
        ).success

    with own_console() as terminal:
        try:
            return watch(instance, run_id, len(keys), work, terminal, with_messages=with_messages)
        except dg.DagsterExecutionInterruptedError as error:
            raise KeyboardInterrupt from error


@contextmanager
def own_console() -> Iterator[Console]:
    """A console on the real standard output, while all else that the process prints goes nowhere.

    What steps and dbt print is captured by Dagster and shown in its UI; here it would tear the progress display.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        with open(os.dup(1), "w", encoding="utf-8") as terminal:
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            yield Console(file=terminal, highlight=False)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (*saved, nowhere):
            os.close(descriptor)


def load_definitions() -> dg.Definitions:
    """The code location."""
    from dagster_project.definitions import defs

    return defs()


def answer(home: Home, console: Console, errors: Console) -> int:
    """Print the answer from the published snapshot, and where everything is; returns the exit status."""
    from warehouse.answer import print_answer
    from warehouse.connection import WarehouseError, read

    try:
        with read(home.current) as connection:
            print_answer(connection, console)
    except WarehouseError as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        return 1
    console.print()
    for what, where in (
        ("Report", home.reports / "base_model_choice.html"),
        ("Database", home.current),
        ("UI", "make ui, then http://127.0.0.1:3000"),
    ):
        console.print(f"{what + ':':<10}{where}", markup=False, soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dagster_project.run", description=__doc__)
    parser.add_argument("--all", action="store_true", help="materialize everything, changed or not")
    parser.add_argument("--answer", action="store_true", help="print the answer of the published snapshot only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
