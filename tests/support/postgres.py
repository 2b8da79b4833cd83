"""A Postgres server of a test's own: on 127.0.0.1 and on a socket in its folder, ended with the test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2

USERS = ("postgres", "nobody")
"""Users that the server may run as where the tests run as root, which it refuses."""
PASSWORD = "NotARealPasswordButOneThatMustNotBeSeen"


def programs() -> Path:
    """Folder of Postgres's programs: Debian puts none of the server on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    assert found or on_path, "Postgres is not installed; apt-get install postgresql"
    return (found[-1] if found else Path(str(on_path)).resolve()).parent


@dataclass
class Server:
    """A server with a database `dagster` of the user `owner`, who has a password."""

    folder: Path
    port: int
    user: str | None

    @property
    def address(self) -> str:
        """Of the database, with the password."""
        return f"postgresql://owner:{PASSWORD}@127.0.0.1:{self.port}/dagster"

    def program(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres's programs, as its user."""
        user = None if self.user is None else pwd.getpwnam(self.user)
        return subprocess.run(
            [str(programs() / name), *arguments],
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=user and [],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self.folder / "log")
        # Its output must not keep this process's pipes open.
        self.program("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", log, "-o", options)

    def stop(self) -> None:
        """Stop the server, with all connections."""
        self.program("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self.folder / "data"))

    def query(self, text: str, database: str = "dagster") -> list[tuple[object, ...]]:
        """Rows of a query as the administrator, through the socket."""
        connection = psycopg2.connect(host=str(self.folder), port=self.port, user="admin", dbname=database)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def _other_user() -> str:
    known = {user.pw_name for user in pwd.getpwall()}
    return next(name for name in USERS if name in known)


@contextmanager
def server() -> Iterator[Server]:
    """A server that is started, in a folder of its own."""
    user = _other_user() if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="rewardbase-postgres-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Server(folder, port, user)
    try:
        if user is not None:
            shutil.chown(folder, user)
        rules = "local all admin trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        found.program("initdb", "-D", str(folder / "data"), "-U", "admin", "--no-sync", "-A", "trust")
        (folder / "data" / "pg_hba.conf").write_text(rules)
        found.start()
        try:
            found.query(f"create role owner login password '{PASSWORD}'", "postgres")
            found.query("create database dagster owner owner", "postgres")
            yield found
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def unused_secret() -> str:
    """A password that no user has."""
    return f"wrong-{secrets.token_hex(4)}-ThatMustNotBeSeen"
