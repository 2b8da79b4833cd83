"""The file of a sample of documents: `<folder>/documents.parquet`, sorted by document id, whole or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_train.data.records import Document
from models_train.errors import UserError
from models_train.files import atomic_path
from warehouse.contracts import DOCUMENT_TABLES

FILE = "documents.parquet"
SCHEMA = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("document_id", "domain", "text")])
GROUP_DOCUMENTS = 1000
"""Most documents of a row group."""
GROUP_CHARACTERS = 64 << 20
"""Length of text that ends a row group, in characters."""

_COUNTS = b"rewardbase.counts"


def write_sample(folder: Path, documents: Iterable[Document], counts: Mapping[str, Any]) -> Path:
    """Write the documents, ordered by document id, and the counts of the sampling in the metadata; returns the path."""
    path = folder / FILE
    schema = SCHEMA.with_metadata({_COUNTS: json.dumps(counts)})
    with atomic_path(path) as beside, pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        for group in _groups(documents):
            columns = {name: [getattr(document, name) for document in group] for name in SCHEMA.names}
            writer.write_table(pa.table(columns, schema=schema))
    return path


def has_sample(folder: Path) -> bool:
    """True where the sample was written."""
    return (folder / FILE).exists()


def sample_counts(folder: Path) -> dict[str, Any]:
    """The counts that the sample was written with. Raises UserError where there is no sample."""
    with _opened(folder) as file:
        return dict(json.loads(file.schema_arrow.metadata[_COUNTS]))


def n_documents(folder: Path) -> int:
    """Documents of a sample. Raises UserError where there is no sample."""
    with _opened(folder) as file:
        return int(file.metadata.num_rows)


def read_sample(folder: Path, start: int = 0, stop: int | None = None) -> Iterator[Document]:
    """The documents of a sample from place `start` to before `stop`, by document id; other row groups are not read.

    Raises UserError where there is no sample.
    """
    with _opened(folder) as file:
        first = 0
        for index in range(file.num_row_groups):
            after = first + file.metadata.row_group(index).num_rows
            if after > start and (stop is None or first < stop):
                rows = file.read_row_group(index).to_pylist()
                for row in rows[max(0, start - first) : None if stop is None else stop - first]:
                    yield Document(**row)
            first = after


def document_rows(folder: Path, corpus: str) -> pa.Table:
    """Rows of the contract `documents` for a sample, without study and run."""
    columns: dict[str, list[Any]] = {name: [] for name in ("document_id", "domain", "n_bytes", "n_characters")}
    hashes: list[str] = []
    for document in read_sample(folder):
        encoded = document.text.encode()
        hashes.append(hashlib.sha256(encoded).hexdigest())
        values = (document.document_id, document.domain, len(encoded), len(document.text))
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    columns |= {"corpus": [corpus] * len(hashes), "content_hash": hashes}
    own = {"study_id", "run_id"}
    schema = pa.schema([field for field in DOCUMENT_TABLES["documents"].schema if field.name not in own])
    return pa.table(columns, schema=schema)


def _opened(folder: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(folder / FILE)
    except FileNotFoundError as error:
        text = f"{folder}: no sample of documents; run `python -m models_train.jobs.sample_documents` first"
        raise UserError(text) from error
    except (OSError, pa.ArrowException) as error:
        text = f"{folder / FILE}: the file is damaged ({error}); remove it and sample the documents again"
        raise UserError(text) from error


def _groups(documents: Iterable[Document]) -> Iterator[list[Document]]:
    group: list[Document] = []
    size = 0
    for document in documents:
        group.append(document)
        size += len(document.text)
        if len(group) >= GROUP_DOCUMENTS or size >= GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group
