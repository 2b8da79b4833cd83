"""`python -m dagster_project.cli.run`: do all due work through Dagster, publish, and print the answer.

On a new machine the studies that need no work are published first, without predictions, and their answer is printed;
then come labs and GPU work, the performance model, and the second publication.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    import dagster as dg

    from dagster_project.lib.due import DueWork, Work

from dagster_project import environment
from dagster_project.lib import postgres
from models_train.errors import UserError
from models_train.files import disk_problem
from models_train.processes import INTERRUPTED, leave, stopped_by_signals
from models_train.store import Store
from warehouse.paths import Home


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status: 0 when all is up to date and published, 1 after a failure, 130 after
    Ctrl-C or SIGTERM."""
    options = _parser().parse_args(arguments)
    # The asset graph is hundreds of thousands of objects that live to the end; looking through them for garbage as
    # often as by default takes a tenth of the time of a run that finds nothing to do.
    gc.set_threshold(100_000, 20, 20)
    console = Console(highlight=False)
    errors = Console(stderr=True, highlight=False)
    try:
        home = Home.from_environment()
    except UserError as error:
        errors.print(str(error), markup=False, soft_wrap=True)
        return 1
    if options.answer:
        return print_answer(home, console, errors)
    before = pointer(home)

    def do() -> list[str]:
        environment.prepare()
        return run(home, console, everything=options.all, quick=options.quick)

    try:
        failures = failures_of(home, do)
    except KeyboardInterrupt:
        errors.print("Interrupted. The published snapshot stays readable; `make run` resumes the work.")
        return INTERRUPTED
    if failures:
        errors.print(f"[bold red]Stopped.[/] {left_published(home, before)}")
        for failure in failures:
            errors.print(failure, markup=False, soft_wrap=True)
        return 1
    return print_answer(home, console, errors)


def failures_of(home: Home, do: Callable[[], list[str]]) -> list[str]:
    """The messages of failures that `do` returns, or that of the error for people that it raises.

    Raises KeyboardInterrupt after Ctrl-C or SIGTERM, and what is a fault of the project.
    """
    try:
        with stopped_by_signals():
            return do()
    except UserError as error:
        return [str(error)]
    except Exception as error:
        text = disk_problem(error, home.root) or postgres.lost(error)  # Dagster's database has errors of its own
        if text is None and not isinstance(error, OSError):
            raise
        return [text or str(error)]


def pointer(home: Home) -> str:
    """Target of the pointer to the published snapshot."""
    return os.path.realpath(home.current)


def left_published(home: Home, before: str) -> str:
    """The effect of a run that did not succeed on readers. before: target of the pointer when it began."""
    if pointer(home) == before:
        return "The published snapshot is as it was before."
    return "Everything else was refreshed and published; the next run tries the failed work again."


def run(home: Home, console: Console, *, everything: bool = False, quick: bool = False) -> list[str]:
    """Do all due work, then materialize the stale assets; returns the messages of failures.

    everything: all work and assets, due or not. quick: only what needs no lab and no GPU work. Raises UserError where
    another run is at work, where rewards of an earlier version have to be carried over first, or where the project
    cannot be read, and KeyboardInterrupt after Ctrl-C, when the Dagster run has
    ended.
    """
    with _ready(home, console) as instance:
        return _Run(instance, home, console, everything).do(quick=quick)


@contextmanager
def _ready(home: Home, console: Console) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance, with everything checked and the project read, while no other run is at work."""
    import dagster as dg

    from dagster_project.lib.dbt import update_manifest
    from dagster_project.lib.locks import end_dead_runs, run_lock
    from dagster_project.lib.storage import check_storage
    from warehouse.part_files import refuse_former_rewards

    with run_lock(home):
        Store.at(home.parts).check()
        refuse_former_rewards(home.parts)
        for told in check_storage(home):
            console.print(told, markup=False, soft_wrap=True)
        with dg.DagsterInstance.get() as instance:
            end_dead_runs(instance, home)
            console.print("Reading the project ...")
            update_manifest(home)
            yield instance


def race(home: Home, console: Console, study_id: str, asked: Mapping[str, Any]) -> list[str]:
    """Race the base models of a study, and publish; returns the messages of failures. asked: settings in place of the
    study's. Raises as `run`."""
    with _ready(home, console) as instance:
        return _Run(instance, home, console, everything=False).race(study_id, asked)


class _Run:
    """One `make run`: works through what is due, each piece once, and refreshes the assets that follow."""

    def __init__(self, instance: dg.DagsterInstance, home: Home, console: Console, everything: bool) -> None:
        from dagster_project.lib import keys
        from dagster_project.lib.executor import load_definitions

        self.instance, self.home, self.console, self.everything = instance, home, console, everything
        self.specs = [spec for spec in load_definitions().resolve_all_asset_specs() if spec.partitions_def is None]
        self.materialized_version = next(spec.code_version for spec in self.specs if spec.key == keys.STUDIES)
        self.failures: list[str] = []
        self.tried: set[str] = set()
        self.failed: set[dg.AssetKey] = set()

    def do(self, *, quick: bool) -> list[str]:
        """All phases, again where a study file or a seed was edited meanwhile; returns the messages of failures."""
        from dagster_project.lib import keys
        from dagster_project.lib.due import is_first, study_version

        due = self._due_after_imports()
        if due and is_first(self.home, due):
            if not self.refresh(due, keys.AFTER_FIRST_ANSWER):
                return self.failures
            self._print_first_answer(trains=bool(due.gpu or due.before_gpu) and not quick)
        while True:
            if not quick:
                self.drain()
            version = study_version()
            self.refresh(due if quick else None)
            if self.failures or version == study_version():
                return self.failures
            self._print("A study file or a seed was edited during the run, which goes on with the new one.")
            self.everything = False
            due = self._due_work()

    def race(self, study_id: str, asked: Mapping[str, Any]) -> list[str]:
        """What the race of a study needs, the race, and the assets that follow; returns the messages of failures."""
        from dagster_project.lib import keys
        from dagster_project.lib.run_requests import race_work

        while (due := self._due_work()) and (
            inputs := [work for work in due.before_gpu if study_id in work.study_ids and not self.failures]
        ):
            self._do(inputs[0])
        found = [(path, study) for path, study in due.studies.items() if study.study_id == study_id] if due else []
        if found and not self.failures:
            path, study = found[0]
            self.instance.add_dynamic_partitions(str(keys.RACE_PARTITIONS.name), [study_id])
            self._do_gpu_work([race_work(study, path, asked)])
        if not self.failures:
            self.refresh(self._due_work(), keys.AFTER_FIRST_ANSWER)
        return self.failures

    def _due_after_imports(self) -> DueWork | None:
        """Read due files of results, scores and leaderboards: seconds of work, and the first answer may stand on it.
        Returns what is due then.

        Those of a study that also trains come with its other work: it is published when all of that is done.
        """
        from dagster_project.lib import keys

        due = self._due_work()
        works = [*due.before_gpu, *due.gpu] if due else []
        imports = [work for work in works if set(work.assets) <= set(keys.IMPORTS)]
        later = {study_id for work in works if work not in imports for study_id in work.study_ids}
        now = [work for work in imports if not later.intersection(work.study_ids)]
        for work in now:
            self._do(work)
        return self._due_work() if now else due

    def drain(self) -> None:
        """Do due work until none is left that was not tried: labs and other inputs first, then GPU work."""
        while (due := self._due_work()) and (due.before_gpu or due.gpu):
            for work in due.before_gpu:
                self._do(work)
            if not due.before_gpu:
                self._do_gpu_work(due.gpu)

    def refresh(self, waiting: DueWork | None = None, later: Collection[dg.AssetKey] = ()) -> bool:
        """Materialize the stale assets in one Dagster run; returns whether it succeeded.

        waiting: work that comes later. Its assets are not made, and its studies stay out of the warehouse if they are
        new: the snapshot shows no empty study. later: more assets that are not made now.
        """
        from dagster_project.lib import keys
        from dagster_project.lib.due import new_studies, study_version
        from dagster_project.lib.executor import execute
        from dagster_project.lib.run_requests import refresh_request
        from dagster_project.lib.stale import stale_assets

        version = study_version()
        leave_out = new_studies(self.home, waiting) if waiting else set()
        left = self.failed | {*later, *(keys.INPUT_PARTS if waiting and (waiting.before_gpu or waiting.gpu) else ())}
        specs = [spec for spec in self._specs(version) if spec.key not in left]
        if self.everything:
            stale = {spec.key: "asked for" for spec in specs}
        else:
            stale = stale_assets(self.home, self.instance, specs, leave_out)
        if not stale:
            self.console.print("Nothing changed since the last run.")
            return True
        first = next((key for key in stale if key not in keys.INPUT_PARTS), next(iter(stale)))
        reason = stale[first]
        count = f"{len(stale)} of {len(self.specs)} assets"
        self._print(f"{count} to materialize, from {first.to_user_string()} on: {reason}.")
        began = time.monotonic()
        stopped = execute(self.instance, refresh_request(stale, leave_out=leave_out))
        self._note(stopped)
        if not stopped:
            self._print(f"{len(stale)} assets materialized in {time.monotonic() - began:.0f} s.")
        if keys.STUDIES in stale:
            self.materialized_version = version
        return not stopped

    def _specs(self, version: str) -> list[dg.AssetSpec]:
        """The assets without partitions. version: of the study files now. Where it is another than the one last
        materialized here, the asset of the study files is stale: definitions keep the version of their start."""
        from dagster_project.lib import keys

        if version == self.materialized_version:
            return self.specs
        return [
            spec.replace_attributes(code_version=version) if spec.key == keys.STUDIES else spec for spec in self.specs
        ]

    def _due_work(self) -> DueWork | None:
        """Due work that was not tried; None where a study file cannot be read: the refresh reports it."""
        from dagster_project.lib.due import due_work
        from dagster_project.lib.keys import update_partitions
        from dagster_project.lib.study_plan import follow_models
        from models_train.study.yaml_lines import StudyError

        try:
            due = due_work(self.home, everything=self.everything)
        except StudyError:
            return None
        studies = list(due.studies.values())
        follow_models(self.home.parts, studies)
        update_partitions(self.instance, studies)
        due.before_gpu = [work for work in due.before_gpu if work.name not in self.tried]
        due.gpu = [work for work in due.gpu if work.name not in self.tried]
        self._note(due.problems)
        return due

    def _do(self, work: Work) -> None:
        from dagster_project.lib.executor import execute
        from dagster_project.lib.run_requests import request_of

        self.tried.add(work.name)
        self._print(f"{work.title[0].upper()}{work.title[1:]} ...")
        stopped = execute(self.instance, request_of(work), with_messages=True)
        self._note(stopped)
        self.failed |= set(work.assets) if stopped else set()

    def _do_gpu_work(self, works: Sequence[Work]) -> None:
        from dagster_project.lib.executor import execute_gpu_work
        from dagster_project.lib.ray_jobs import check, is_elsewhere

        self.tried |= {work.name for work in works}
        if is_elsewhere(cluster := environment.settings().ray):
            try:
                check(cluster)
            except UserError as error:
                self._note([str(error)])
                return
        self._note(execute_gpu_work(self.instance, works))

    def _note(self, failures: Iterable[str]) -> None:
        """Add messages of failures, each once: several steps may find the same fault, as in a study file."""
        self.failures += [failure for failure in dict.fromkeys(failures) if failure not in self.failures]

    def _print_first_answer(self, *, trains: bool) -> None:
        print_answer(self.home, self.console, Console(stderr=True, highlight=False))
        follows = "Predictions and recommendations follow, where base models were compared, and the charts as pictures."
        if trains:
            follows = (
                "The studies that train and score models on this machine follow, then the performance model with its "
                "predictions and recommendations, and the charts as pictures.\n`make quick` leaves out those studies."
            )
        self._print(f"\nThis answer is published. {follows}\nTo stop here, press Ctrl-C: `make run` resumes.")

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


def print_answer(home: Home, console: Console, errors: Console) -> int:
    """Print the answer of the published snapshot, and where everything is; returns the exit status."""
    from warehouse.cli import answer
    from warehouse.connection import WarehouseError, read

    try:
        with read(home.current) as connection:
            answer.print_answer(connection, console)
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
    parser.add_argument("--all", action="store_true", help="do all work again, due or not")
    parser.add_argument("--quick", action="store_true", help="publish what needs no lab and no GPU work, and stop")
    parser.add_argument("--answer", action="store_true", help="print the answer of the published snapshot only")
    return parser


if __name__ == "__main__":
    status = main()
    if status == INTERRUPTED:
        leave(status)
    sys.exit(status)
