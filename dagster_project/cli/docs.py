"""`python -m dagster_project.cli.docs`: dbt's documentation of the warehouse as one offline page.

With `--parse-only`, dbt reads its project and nothing else: the set-up does so, and the first run begins sooner.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dagster_project import environment
from dagster_project.lib.dbt import run_dbt, update_manifest
from models_train.errors import UserError
from models_train.files import write_text
from warehouse.connection import write
from warehouse.landing import create_raw_tables
from warehouse.paths import VARIABLE, Home

# dbt wrote the code of the page: whatever is in it, it must not connect anywhere.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "connect-src 'none'; form-action 'none'"
)
_HEAD = "<head>"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and say where it is; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.docs", description=__doc__)
    parser.add_argument("--parse-only", action="store_true", help="read the dbt project, and write no page")
    options = parser.parse_args(arguments)
    try:
        home = environment.prepare()
        if options.parse_only:
            update_manifest(home)
            return 0
        page = write_page(home)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Documentation of every table, column and test, with their lineage: {page}")
    return 0


def write_page(home: Home) -> Path:
    """Write `docs/index.html` below the home from the dbt project alone; returns its path. Raises UserError, OSError.

    The warehouse stays closed, so that a run at work is not disturbed: dbt reads one with empty raw tables.
    """
    with tempfile.TemporaryDirectory(prefix=".docs-", dir=home.root) as folder:
        made = Path(folder)
        with write(Home(made).warehouse) as connection:
            create_raw_tables(connection)  # dbt reads the columns of the sources from the database
        places = {VARIABLE: folder, "DBT_TARGET_PATH": str(made / "target"), "DBT_LOG_PATH": str(made / "logs")}
        messages = run_dbt("docs", "generate", "--static", places=places)
        if messages is not None:
            raise UserError(f"dbt cannot read the project in dbt/; correct the files below and run again.\n{messages}")
        text = (made / "target" / "static_index.html").read_text(encoding="utf-8")
        policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        page = home.root / "docs" / "index.html"
        write_text(page, text.replace(_HEAD, _HEAD + policy, 1))
    return page


if __name__ == "__main__":
    sys.exit(main())
