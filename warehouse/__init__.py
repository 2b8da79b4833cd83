"""The DuckDB file of Rewardbase. Knows no torch and no Dagster. `warehouse.published()` reads the published marts as
Polars frames, `warehouse.open(address)` opens the snapshot that was published last to a folder or bucket.

In the order of the data flow: `contracts` (columns of the raw tables), `part_files` (parts on disk), `landing` (parts
into raw tables), `dbt_nodes` (results of dbt's nodes), `checks` (of the results), `content_id` (hashes of tables),
`reports` (the page), `publish` (snapshots for readers), `publish_remote` (the same in a bucket), `frames` (marts in
Python) and `cli` (answer, recommendation, SQL shell).
`connection` opens DuckDB files, and `paths` names the files under REWARDBASE_HOME.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.connection import Connection
    from warehouse.frames import Published


def open(address: str | Path, cache: Path | None = None) -> Connection:
    """A read-only connection to the snapshot that was published last to a folder, `s3://`, `gs://` or `az://`.

    cache: folder that files of a bucket are downloaded to, each once. Raises UserError.
    """
    from warehouse.publish_remote import open_snapshot  # with DuckDB, which who reads the contracts does not need

    return open_snapshot(address, cache)


def published(address: str | Path | None = None) -> Published:
    """The published marts as Polars frames. address: a folder or bucket that snapshots are published to; by default the
    home of this machine (REWARDBASE_HOME)."""
    from warehouse.frames import Published

    return Published(address)
