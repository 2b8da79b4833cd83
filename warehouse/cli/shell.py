"""`python -m warehouse.cli.shell`: DuckDB's own shell on the published snapshot.

Neither the snapshot nor any other file can be written there, no program started and no other database opened: DuckDB's
safe mode, in which it fetches and loads no extensions either.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from models_train.errors import UserError
from warehouse.connection import read, read_every_block
from warehouse.paths import Home

_INSTALLED = "duckdb_cli"


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace this process by the shell; returns 1 where there is no sound snapshot or no shell."""
    parser = argparse.ArgumentParser(prog="python -m warehouse.cli.shell", description=__doc__)
    parser.add_argument("--query", help="print the result of this SQL instead of opening the shell")
    options = parser.parse_args(arguments)
    try:
        current = Home.from_environment().current
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    shell = shell_program()
    if not current.exists():
        print(f"{current}: there is no published snapshot yet; run `make run` to make one", file=sys.stderr)
        return 1
    if shell is None:
        wanted = f"duckdb-cli=={duckdb.__version__}"
        print(
            f"DuckDB's shell is not installed here; install it (.venv/bin/python -m pip install {wanted}), or open\n"
            f'{current} from Python: duckdb.connect("{current}", read_only=True)',
            file=sys.stderr,
        )
        return 1
    try:
        with read(current) as connection:
            read_every_block(connection)  # the shell would name a block of a damaged file, and nothing to do
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    query = ["-c", options.query] if options.query is not None else []
    sys.stdout.flush()
    os.execv(shell, [str(shell), "-readonly", "-safe", str(current), *query])


def shell_program() -> Path | None:
    """The program of the package `duckdb-cli` of this environment; None where it is not installed."""
    spec = importlib.util.find_spec(_INSTALLED)
    found = Path(spec.origin).with_name("duckdb") if spec and spec.origin else None
    return found if found and found.exists() else None


if __name__ == "__main__":
    sys.exit(main())
