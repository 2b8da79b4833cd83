"""`python -m dagster_project.cli.rebuild`: rebuild the warehouse from the parts alone, and compare the content.

No job runs: everything trained, scored or predicted is in the parts. Rewards of earlier versions are carried over first
(`dagster_project/lib/carry_over.py`). The old warehouse stays in use until the new one is complete and has passed dbt's
tests.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from rich.console import Console

from dagster_project import environment
from dagster_project.lib.carry_over import carry_over, stale_tables
from dagster_project.lib.dbt import MARTS, load_manifest, may_be_empty, result_ids, run_dbt, update_manifest
from dagster_project.lib.locks import run_lock
from models_train.errors import UserError
from warehouse import landing
from warehouse.connection import Connection, WarehouseBusy, WarehouseError, read, write
from warehouse.content_id import content_id, table_ids
from warehouse.paths import VARIABLE, Home
from warehouse.publish import publish, refuse_unfit
from warehouse.publish_remote import publish_remote
from warehouse.reports import CHARTS_FOLDER
from warehouse.reports.export import draw_pictures
from warehouse.reports.page import build_report

SCHEMAS = ("raw", "seeds", "staging", "intermediate", "marts")
"""Schemas that are compared: tables of parts and seeds, and those derived from them. `audit` describes runs."""
ASIDE = "warehouse.duckdb.before-rebuild"

Ids = Mapping[str, str]
"""Hash of each table, by `schema.table`."""


def main() -> int:
    """Rebuild and print the hash of every table; returns 0, also where the content differs, or 1 after a failure."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        home = environment.prepare()
        with run_lock(home):
            update_manifest(home)
            if carried := carry_over(home.parts):
                console.print(f"{carried} parts of rewards of an earlier version were carried over.")
                if stale := stale_tables(home.parts):
                    console.print(
                        f"Other parts are of an earlier version, too ({', '.join(stale)}): run `make run`, which makes "
                        "them again from study files and kept results. Until then everything stays as it is.",
                        soft_wrap=True,
                    )
                    return 0
            with exclusive(home.warehouse) as connection:
                before = content_before(connection)
                console.print("Landing the parts, then dbt with all of its tests ...")
                after = rebuild(home)
            for line in comparison(before, after):
                console.print(line, markup=False, soft_wrap=True)
            if before:
                console.print(f"The former warehouse was kept: {home.root / ASIDE}", markup=False, soft_wrap=True)
            if show(home):
                console.print("Snapshot and report were made from it.")
    except (UserError, OSError) as error:
        errors.print("[bold red]Stopped.[/]")
        errors.print(str(error), markup=False, soft_wrap=True)
        return 1
    return 0


@contextmanager
def exclusive(warehouse: Path) -> Iterator[Connection | None]:
    """The present warehouse, locked: changes by another program in the meantime would be lost.

    Its write-ahead log is merged into the file. None where there is no warehouse, or none that can be opened. Raises
    WarehouseBusy where another process has it open.
    """
    with ExitStack() as stack:
        connection = None
        if warehouse.exists():
            try:
                connection = stack.enter_context(write(warehouse))
                connection.execute("force checkpoint")
            except WarehouseBusy:
                raise
            except (WarehouseError, duckdb.Error):
                pass  # a damaged warehouse is rebuilt
        yield connection


def content_before(connection: Connection | None) -> Ids:
    """Hash of every table; none where there is no warehouse, or where one of its tables cannot be read."""
    try:
        return table_ids(connection, SCHEMAS) if connection else {}
    except duckdb.Error:
        return {}


def rebuild(home: Home) -> Ids:
    """Build a warehouse from the parts and put it in place of the present one, which stays as ASIDE; returns hashes.

    Raises LandingError for a part that does not fit, UserError where dbt fails, PublishRefused where the result is
    not fit to be published, and OSError; then nothing has changed.
    """
    scratch = Home(home.root / "rebuild")
    shutil.rmtree(scratch.root, ignore_errors=True)
    scratch.root.mkdir()
    try:
        with write(scratch.warehouse) as connection:
            landing.rebuild(connection, home.at_one_look().parts)
        _build(scratch)
        with write(scratch.warehouse) as connection:
            connection.execute("force checkpoint")
            refuse_unfit(connection, scratch.warehouse.stem, MARTS, result_ids(load_manifest(home)))
            ids = table_ids(connection, SCHEMAS)
        _exchange(scratch.warehouse, home.warehouse, home.root / ASIDE)
    finally:
        shutil.rmtree(scratch.root, ignore_errors=True)
    return ids


def comparison(before: Ids, after: Ids) -> list[str]:
    """A line for every table with its hash, and whether the content changed."""
    lines = []
    for name in sorted({*before, *after}):
        was, now = before.get(name), after.get(name)
        word = "same" if was == now else "new" if was is None else "gone" if now is None else f"was {was}"
        lines.append(f"{name:<56} {now or '-':<12} {word if before else ''}".rstrip())
    differ = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    if not before:
        return [*lines, f"{len(after)} tables rebuilt; there was no warehouse to compare them with."]
    if not differ:
        return [*lines, f"All {len(after)} tables hold what they held."]
    of = len({*before, *after})
    why = "the parts, the seeds or the project have changed since the last run, or the warehouse was damaged"
    return [*lines, f"{len(differ)} of {of} tables differ from before: {why}."]


def show(home: Home) -> bool:
    """Publish the rebuilt marts and make the report of them, unless that is what is published; returns whether it was
    not. Raises UserError, OSError."""
    manifest = load_manifest(home)
    empty = may_be_empty(manifest, home)
    published = publish(home, may_be_empty=empty, required=MARTS, expected_nodes=result_ids(manifest))
    publish_remote(home)
    if not published.changed:
        return False
    with read(home.warehouse) as connection:
        build_report(connection, home.reports, content_id(connection), datetime.now(UTC))
    draw_pictures(home.reports / CHARTS_FOLDER)
    return True


def _build(scratch: Home) -> None:
    places = {VARIABLE: str(scratch.root), "DBT_TARGET_PATH": str(scratch.dbt_target)}
    messages = run_dbt("build", places=places | {"DBT_LOG_PATH": str(scratch.dbt_logs)})
    if messages is not None:
        raise UserError(f"dbt could not build the warehouse; correct the files below and run again.\n{messages}")


def _exchange(new: Path, place: Path, aside: Path) -> None:
    """Put `new` in its place in one step; the old file stays under the name `aside`."""
    if place.exists():
        aside.unlink(missing_ok=True)
        os.link(place, aside)
    # The journal of a file that could not be opened must not be read into the new one.
    Path(f"{place}.wal").unlink(missing_ok=True)
    os.replace(new, place)


if __name__ == "__main__":
    sys.exit(main())
