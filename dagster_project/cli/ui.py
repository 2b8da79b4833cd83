"""`python -m dagster_project.cli.ui`: the Dagster UI with its daemon, on this machine only."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from dagster_project import environment
from dagster_project.lib.dbt import update_manifest
from dagster_project.lib.keys import GPU_POOL
from dagster_project.lib.locks import end_dead_runs
from models_train.errors import UserError
from warehouse.paths import Home

HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Become `dagster dev`. Returns 1 where the project cannot be read or the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="port on 127.0.0.1 (default 3000)")
    options = parser.parse_args(arguments)
    if not _is_free(options.port):
        print(f"Port {options.port} on {HOST} is taken; choose another: make ui UI_PORT=3001", file=sys.stderr)
        return 1
    try:
        home = environment.prepare()
        update_manifest(home)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    _prepare_instance(home)
    print(f"Dagster UI: http://{HOST}:{options.port}  (Ctrl-C ends it)", flush=True)
    dagster = Path(sys.executable).with_name("dagster")
    workspace = ["--workspace", str(environment.PROJECT / "workspace.yaml")]
    os.execv(
        dagster,
        [str(dagster), "dev", "--host", HOST, "--port", str(options.port), *workspace, "--log-level", "warning"],
    )


def _prepare_instance(home: Home) -> None:
    """Mark unfinished runs of an earlier UI as failed, and set the size of the GPU pool."""
    with dg.DagsterInstance.get() as instance:
        ended = end_dead_runs(instance, home)
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, environment.settings().workers)
    if ended:
        print(f"{len(ended)} unfinished runs of an earlier UI were marked as failed; their work is due", flush=True)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
