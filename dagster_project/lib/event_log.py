"""Dagster's event log, with its database files left open between events.

Dagster's own opens and closes one or two SQLite files per event. A run of everything has a thousand events, most of
them a test of dbt's that is planned or has been evaluated, and the last to close a file in WAL mode has to bring the
log home and remove it: two thirds of the time that recording took.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool

from warehouse.paths import Home

MOST_OPEN = 4
"""Files held open at once: the index and the latest runs. The daemon and the UI look into old runs, too."""
BUSY_SECONDS = 60


class OpenEventLog(SqliteEventLogStorage):
    """The same tables in the same files (`dagster/history/runs`) as the class that it extends."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._open: OrderedDict[str, Engine] = OrderedDict()
        self._inherited: list[OrderedDict[str, Engine]] = []
        self._opened_by = os.getpid()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Any:
        """No settings: the place follows from the home."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> OpenEventLog:
        """The event log of the home that the environment names."""
        return cls(str(Home.from_environment().dagster_home / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _engine(self, shard: str) -> Engine:
        """The engine of a file, which keeps one connection open. The caller holds the lock."""
        if self._opened_by != os.getpid():
            # SQLite forbids to use a connection across a fork, and to close it there: it is kept and left alone.
            self._inherited.append(self._open)
            self._open, self._opened_by = OrderedDict(), os.getpid()
        if shard not in self._open:
            self._open[shard] = create_engine(
                create_db_conn_string(self._base_dir, shard),
                poolclass=QueuePool,
                pool_size=1,
                connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
            )
        self._open.move_to_end(shard)
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1].dispose()
        return self._open[shard]

    def _close(self) -> None:
        with self._db_lock:
            for engine in self._open.values():
                engine.dispose()
            self._open.clear()

    def wipe(self) -> None:
        """Remove every event, and the files of the runs."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the files."""
        super().dispose()
        self._close()
