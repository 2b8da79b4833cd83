"""Where a program and all that it started listen on the network."""

from __future__ import annotations

from contextlib import suppress

import psutil


def listening(pid: int) -> set[str]:
    """Addresses `host:port` of every listening TCP socket of a process and its descendants."""
    root = psutil.Process(pid)
    found = set()
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # one that has ended listens no more
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    found.add(f"{connection.laddr.ip}:{connection.laddr.port}")
    return found
