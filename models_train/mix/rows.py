"""Tables of rows put together, for what dbt's Python models return."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa


def labelled(rows: pa.Table, **values: str) -> pa.Table:
    """The rows, with columns of one text each before their own."""
    columns = [pa.array([value] * rows.num_rows, pa.string()) for value in values.values()]
    return pa.table([*columns, *rows.columns], names=[*values, *rows.column_names])


def one_table(tables: Sequence[pa.Table], schema: pa.Schema, *labels: str) -> pa.Table:
    """The tables below one another; of none, an empty one with the labels' columns and those of the schema."""
    whole = pa.schema([*((label, pa.string()) for label in labels), *schema])
    return pa.concat_tables([whole.empty_table(), *tables])
