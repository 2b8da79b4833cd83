"""`python -m dagster_project.cli.ui`: the Dagster UI with its daemon, on this machine only."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from dagster_project import environment
from dagster_project.lib import manifest
from warehouse.paths import Home

HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Become `dagster dev`. Returns 1 where the project cannot be read or the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.ui", description=__doc__)
    parser.add_argument("--port", type=int, default=3000, help="port on 127.0.0.1 (default 3000)")
    options = parser.parse_args(arguments)
    try:
        home = environment.prepare()
    except OSError as error:
        print(f"{error}; REWARDBASE_HOME must name a folder that can be written", file=sys.stderr)
        return 1
    if not _is_free(options.port):
        print(f"Port {options.port} on {HOST} is taken; choose another: make ui UI_PORT=3001", file=sys.stderr)
        return 1
    message = manifest.bring_up_to_date(home)
    if message:
        print(message, file=sys.stderr)
        return 1
    _make_ready(home)
    print(f"Dagster UI: http://{HOST}:{options.port}  (Ctrl-C ends it)", flush=True)
    dagster = Path(sys.executable).with_name("dagster")
    workspace = ["--workspace", str(environment.PROJECT / "workspace.yaml")]
    os.execv(
        dagster,
        [str(dagster), "dev", "--host", HOST, "--port", str(options.port), *workspace, "--log-level", "warning"],
    )


def _make_ready(home: Home) -> None:
    """Mark runs as failed that an earlier UI left unfinished, and give the GPU pool the size of this machine."""
    import dagster as dg

    from dagster_project.lib.locks import end_dead_runs
    from dagster_project.lib.task_runs import POOL, n_workers

    with dg.DagsterInstance.get() as instance:
        ended = end_dead_runs(instance, home)
        instance.event_log_storage.set_concurrency_slots(POOL, n_workers())
    if ended:
        print(f"{len(ended)} runs were ended with the UI that started them; what they left is made again", flush=True)


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
