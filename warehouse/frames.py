"""Published marts as Polars frames, and the recommendations in them.

import warehouse
published = warehouse.published()
published.frame("fct_reward_model_results")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from models_train.errors import UserError, close_match
from warehouse.connection import Connection, read
from warehouse.paths import Home
from warehouse.publish_remote import open_snapshot
from warehouse.reports.queries import races_of
from warehouse.reports.recommended import Limits, recommendations, recommendations_for_policy


@dataclass(frozen=True)
class Published:
    """The snapshot that was published last. address: a folder or bucket that snapshots are published to; None: the home
    of this machine.

    Each call reads the newest snapshot; its columns end with snapshot_id.
    """

    address: str | Path | None = None

    @property
    def names(self) -> list[str]:
        """Names of the marts. Raises UserError where nothing is published, as do the others."""
        with self._open() as connection:
            return _names(connection)

    def frame(self, name: str) -> pl.DataFrame:
        """A mart, with the types of its columns. Raises UserError for a name that is not there."""
        with self._open_at(name) as connection:
            return connection.sql(f'select * from marts."{name}"').pl()

    def columns(self, name: str) -> pl.DataFrame:
        """One row per column of a mart: column, type in the database, description. Raises UserError as `frame`."""
        with self._open_at(name) as connection:
            return connection.execute(
                "select column_name as column, data_type as type, comment as description from duckdb_columns() "
                "where schema_name = 'marts' and table_name = ? order by column_index",
                [name],
            ).pl()

    def recommend(
        self,
        *,
        max_params: float | None = None,
        memory: float | None = None,
        objective: str | None = None,
        policy: str | None = None,
        use: str | None = None,
        study: str | None = None,
        top: int = 5,
    ) -> pl.DataFrame:
        """Recommended base models, one row each: study_id, objective, rank and the reason; is_level where it cannot be
        told apart from the first.

        max_params: billions of parameters. memory: GiB of the device to train on. With policy or use: rows of
        fct_teacher_recommendations with study_id. None: any, or all. Raises UserError as `make recommend` does.
        """
        with self._open() as connection:
            if policy is not None or use is not None:
                if memory is not None:
                    raise UserError("memory is for a recommendation without a policy: leave out policy and use.")
                found = recommendations_for_policy(connection, policy, use, max_params, objective, study)
                return pl.concat([_of_study(one["study_id"], frame) for one, frame in found])
            answers = recommendations(connection, Limits(max_params, memory), objective, study, top)
            frames = [
                _of_study(of["study_id"], pl.DataFrame(list(one.rows), infer_schema_length=None))
                for of, found in answers
                for one in found
                if one.rows
            ]
            return pl.concat(frames, how="vertical_relaxed")

    def race(self, study: str, objective: str | None = None) -> pl.DataFrame:
        """Answers of the races of a study, one row per objective and way of choosing, the race itself first.

        Raises UserError for a study or an objective without a race, as `make pick` does.
        """
        with self._open() as connection:
            return races_of(connection, study, objective)

    @contextmanager
    def _open(self) -> Iterator[Connection]:
        if self.address is None:
            with read(Home.from_environment().current) as connection:
                yield connection
        else:
            with open_snapshot(self.address) as connection:
                yield connection

    @contextmanager
    def _open_at(self, name: str) -> Iterator[Connection]:
        """The snapshot, which has a mart of this name."""
        with self._open() as connection:
            if name not in (names := _names(connection)):
                raise UserError(f"There is no mart {name!r}; {close_match(name, names, 'there are', most=len(names))}.")
            yield connection


def _names(connection: Connection) -> list[str]:
    found = connection.execute("select table_name from duckdb_tables() where schema_name = 'marts' order by 1")
    return [name for (name,) in found.fetchall()]


def _of_study(study_id: str, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(study_id).alias("study_id"), pl.all().exclude("study_id"))
