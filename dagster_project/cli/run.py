"""`python -m dagster_project.cli.run`: materialize through Dagster what is out of date, then print the answer."""

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

from dagster_project import environment
from dagster_project.lib import manifest
from warehouse.paths import Home


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

    from dagster_project.lib.locks import AlreadyRunning, alone, end_dead_runs
    from dagster_project.lib.missing_outputs import assets_to_redo
    from dagster_project.lib.stale import stale_assets
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
            failures, in_vain = work_through_tasks(definitions, instance, home, console, everything)
            specs = [spec for spec in definitions.resolve_all_asset_specs() if spec.partitions_def is None]
            redo = {spec.key: "asked for" for spec in specs} if everything else assets_to_redo(home, specs)
            stale = stale_assets(specs, instance, redo)
            for key in in_vain:
                stale.pop(key, None)
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
) -> tuple[list[str], set[dg.AssetKey]]:
    """Ask hubs, make labs and samples of documents, and run the GPU jobs that are due.

    Returns the messages of failures, and the assets that were tried in vain. A model, a lab or a sample that fails
    holds back what needs it only. A study file that cannot be read is passed over here: the refresh that follows
    reports it.
    """
    from dagster_project.lib import due
    from dagster_project.lib.partitions import bring_partitions_up_to_date
    from dagster_project.lib.study_plan import follow_models
    from dagster_project.lib.task_runs import run_tasks
    from models_train.study.fingerprints import LocationError
    from models_train.study.yaml_lines import StudyError

    failures: list[str] = []
    in_vain: set[dg.AssetKey] = set()

    def made(key: dg.AssetKey, words: str, *, with_messages: bool = False) -> bool:
        console.print(words)
        stopped = materialize(definitions, instance, {key}, with_messages=with_messages)
        failures.extend(stopped)
        in_vain.update({key} if stopped else ())
        return not stopped

    try:
        studies = due.study_files()
        if due.queries_due(studies, home):
            made(due.HUB_MODELS, "Asking the hub for models ...", with_messages=True)
            studies = due.study_files()
    except StudyError:
        return failures, in_vain
    follow_models(home.parts, list(studies.values()))
    bring_partitions_up_to_date(instance, list(studies.values()))
    words = "Making the lab: its data, and its base models, which are pre-trained here ..."
    if due.labs_due(studies, home) and not made(due.LAB, words, with_messages=True):
        studies = {path: study for path, study in studies.items() if not due.labs_due({path: study}, home)}
    tasks = due.due(studies, home, everything=everything, problems=failures)
    try:
        unsampled = due.samples_due(studies, home) and not made(due.DOCUMENTS, "Sampling documents ...")
    except LocationError as error:
        unsampled = True
        failures.append(str(error))
    if unsampled:
        tasks = [task for task in tasks if due.DOCUMENT_SCORES not in task.assets]
    if tasks:
        with own_console() as terminal:
            failures += run_tasks(instance, tasks, terminal)
    return failures, in_vain


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

    from dagster_project.lib.locks import QUIET_LOGS, TAG
    from dagster_project.lib.progress import watch

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
    from warehouse.cli.answer import print_answer
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
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.run", description=__doc__)
    parser.add_argument("--all", action="store_true", help="materialize everything, changed or not")
    parser.add_argument("--answer", action="store_true", help="print the answer of the published snapshot only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
