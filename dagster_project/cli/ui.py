"""`python -m dagster_project.cli.ui`: the Dagster UI with its daemon, on this machine only.

Three programs: a server that has the project loaded and starts its runs, the webserver behind its guard, the daemon.
They are those of `dagster dev`, which would start the webserver without the guard.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml

from dagster_project import environment
from dagster_project.lib.dbt import update_manifest
from dagster_project.lib.keys import GPU_POOL
from dagster_project.lib.locks import end_dead_runs, make_run_is_at_work
from dagster_project.lib.storage import check_storage, databases, lost_database
from models_train.errors import UserError
from models_train.processes import descendants, end_processes, leave, stopped_by_signals
from warehouse.paths import Home

HOST = "127.0.0.1"
LOCATION = "rewardbase"
DEFINITIONS = "dagster_project.definitions"
LOCK = "ui.lock"
_POLL_SECONDS = 0.5
_SET_PARENT_DEATH_SIGNAL = 1
_DAEMON_SECONDS, _OTHERS_SECONDS = 2.0, 3.5
"""Time from the stop signal to the kill, in seconds: together less than STOP_SECONDS, so that the folder is removed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run UI and daemon until Ctrl-C or SIGTERM.

    Returns 0 then, and 1 where the project cannot be read, the port is taken, the home has a UI, or a program ends.
    """
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.ui", description=__doc__)
    parser.add_argument("--port", type=_port, default=3000, help="port on 127.0.0.1 (default 3000)")
    port = parser.parse_args(arguments).port
    if not _is_free(port):
        print(f"Port {port} on {HOST} is taken; choose another: make ui UI_PORT=3001", file=sys.stderr)
        return 1
    with stopped_by_signals():
        try:
            home = environment.prepare()
            with _only_ui(home, port):
                update_manifest(home)
                _prepare_instance(home)
                return _run_programs(home, port)
        except UserError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 0


@contextmanager
def _only_ui(home: Home, port: int) -> Iterator[None]:
    """Hold the home's lock for UIs, also by the programs that are started. Raises UserError where there is a UI."""
    with open(home.root / LOCK, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UserError(
                f"A Dagster UI of {home.root} is at work already ({file.read().strip()}); use that one, or end it. "
                "A second daemon would do the same work twice."
            ) from None
        file.truncate(0)
        file.write(f"http://{HOST}:{port}, process {os.getpid()}")
        file.flush()
        os.set_inheritable(file.fileno(), True)
        yield


def _run_programs(home: Home, port: int) -> int:
    """Run the three programs until one of them ends, or a database is gone; returns 1 then.

    In any case all are ended, with their runs.
    """
    with tempfile.TemporaryDirectory(prefix="rewardbase-ui-") as folder:
        server, workspace = Path(folder) / "server", Path(folder) / "workspace.yaml"
        place = {"socket": str(server), "location_name": LOCATION}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": place}]}))
        quiet, loads = ["--log-level", "warning"], ["--workspace", str(workspace)]
        programs: dict[str, subprocess.Popen[bytes]] = {}

        def start(name: str, *command: str) -> None:
            # In a session of its own: Ctrl-C in the terminal comes to this process alone, which ends them in order.
            programs[name] = subprocess.Popen(
                command, start_new_session=True, close_fds=False, preexec_fn=_end_with_parent
            )

        try:
            code = ["--module-name", DEFINITIONS, "--location-name", LOCATION, "--socket", str(server)]
            start("code server", *program("dagster"), "code-server", "start", *code, *quiet)
            while not server.exists() and programs["code server"].poll() is None:
                time.sleep(_POLL_SECONDS)
            address = ["--host", HOST, "--port", str(port)]
            guarded = [sys.executable, "-m", "dagster_project.cli.webserver", "--dagster-log-level", "warning"]
            start("webserver", *guarded, *address, *loads)
            start("daemon", *program("dagster-daemon"), "run", *quiet, *loads)
            print(f"Dagster UI: http://{HOST}:{port}  (Ctrl-C ends it)", flush=True)
            before = databases(home)
            while not (ended := [name for name, program in programs.items() if program.poll() is not None]):
                if lost := lost_database(home, before):
                    print(f"{lost} The UI ends; start `make ui` again.")
                    return 1
                time.sleep(_POLL_SECONDS)
            print(f"The UI's {ended[0]} ended unexpectedly; its messages are above. Start `make ui` again.")
            return 1
        finally:
            # The daemon first: it would start runs on a server that is about to end.
            daemon = {program.pid for name, program in programs.items() if name == "daemon"}
            end_processes([one for one in descendants() if one.pid in daemon], seconds=_DAEMON_SECONDS)
            end_processes(descendants(), seconds=_OTHERS_SECONDS)


def _end_with_parent() -> None:
    """In a program about to start: Linux sends it SIGTERM when this process ends, even by SIGKILL (prctl(2))."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGTERM))


def program(name: str) -> list[str]:
    """A script of this environment, with this Python: its own first line names the place that it was installed in."""
    return [sys.executable, str(Path(sys.executable).with_name(name))]


def _prepare_instance(home: Home) -> None:
    """Mark unfinished runs of an earlier UI as failed, and set the size of the GPU pool."""
    if environment.settings().postgres or not make_run_is_at_work(home):
        for told in check_storage(home):
            print(told, flush=True)
    with dg.DagsterInstance.get() as instance:
        ended = end_dead_runs(instance, home)
        instance.event_log_storage.set_concurrency_slots(GPU_POOL, environment.settings().workers)
    if ended:
        print(f"{len(ended)} unfinished runs of an earlier UI were marked as failed; their work is due", flush=True)


def _port(text: str) -> int:
    """A port that needs no rights of the administrator."""
    if not text.isdecimal() or not 1024 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"UI_PORT={text} is not a whole number from 1024 to 65535, such as 3000")
    return int(text)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


if __name__ == "__main__":
    leave(main())
