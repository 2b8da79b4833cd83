"""Sorted scores of documents: one array per model, domain and kind of score, with the block of every document.

A block is a random group of documents, the same for every model; the bootstrap resamples blocks, so that documents
scored by two models are drawn for both or for neither. Scores are in single precision: its error of 1e-7 is far below
that of any scoring in bfloat16, and the sorted copy takes 5 bytes a document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

N_BLOCKS = 256
"""Number of blocks; a block's number fits in one byte."""
ALL = "all"
"""Name for the documents of every domain together."""
LAYOUT = 1
"""Version of `sort_documents`: raise it with every change of its output, and every sorted copy is made again."""
SORTED_SCHEMA = pa.schema(
    [("domain", pa.string()), ("score_kind", pa.string()), ("scores", pa.binary()), ("blocks", pa.binary())]
)
SCORE, BLOCK, BLOCK_BITS = np.dtype("<f4"), np.dtype("u1"), 8
MAGNITUDE = np.int32(0x7FFFFFFF)
"""All bits of a float32 except its sign."""


@dataclass(frozen=True)
class Samples:
    """The scored documents of several models and domains, for one kind of score: one sample per model and domain.

    scores: (documents,) float32, ascending within each sample; blocks: (documents,) uint8, 0 to N_BLOCKS - 1, in the
    order of scores; spans: (samples, 2) int64, where each sample begins in both, and where it ends; models and domains:
    (samples,). Both arrays may hold documents of other samples too.
    """

    models: Sequence[str]
    domains: Sequence[str]
    scores: np.ndarray
    blocks: np.ndarray
    spans: np.ndarray

    def of(self, domain: str) -> Samples:
        """Samples of a domain, or of every domain for `all`. Scores are not copied."""
        chosen = [place for place, own in enumerate(self.domains) if domain in (ALL, own)]
        models, domains = ([one[place] for place in chosen] for one in (self.models, self.domains))
        return Samples(models, domains, self.scores, self.blocks, self.spans[chosen])


def sort_documents(documents: pa.Table) -> pa.Table:
    """One model's documents, sorted by each kind of score in turn: `SORTED_SCHEMA`.

    documents: a row per document: domain, block (uint8), and a float32 column per kind, null where there is no score.
    Returns a row per domain and kind that has scores; scores and blocks as bytes: little-endian float32, uint8.
    """
    coded = documents.column("domain").unify_dictionaries().combine_chunks().dictionary_encode()
    blocks = documents.column("block").to_numpy()
    found = [SORTED_SCHEMA.empty_table()]
    for kind in documents.column_names[2:]:
        column = documents.column(kind)
        if column.null_count < len(column):
            found.append(_sorted(kind, coded, column.to_numpy(), blocks))
    return pa.concat_tables(found)


def _sorted(kind: str, coded: pa.DictionaryArray, scores: np.ndarray, blocks: np.ndarray) -> pa.Table:
    """Rows of one kind, as views of one array of scores and one of blocks. scores: NaN where there is none."""
    codes = np.where(np.isnan(scores), -1, coded.indices.to_numpy())
    # One sort of whole numbers is faster than sorting scores and then moving the blocks after them.
    keys = ordinals(scores) << BLOCK_BITS | blocks
    parts = {name: np.sort(keys[codes == code]) for code, name in enumerate(coded.dictionary.to_pylist())}
    parts = {name: part for name, part in parts.items() if part.size}
    if not parts:
        return SORTED_SCHEMA.empty_table()
    whole = np.concatenate(list(parts.values()))
    places = np.cumsum([0, *(part.size for part in parts.values())])
    columns = [
        pa.array(list(parts), pa.string()),
        pa.array([kind] * len(parts), pa.string()),
        _blobs(numbers(whole >> BLOCK_BITS).astype(SCORE), places),
        _blobs(whole.astype(BLOCK), places),
    ]
    return pa.table(columns, schema=SORTED_SCHEMA)


def _blobs(values: np.ndarray, places: np.ndarray) -> pa.Array:
    """The bytes of the values between each place and the next, not copied."""
    offsets = (places * values.itemsize).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), places.size - 1, [None, pa.py_buffer(offsets), pa.py_buffer(values)])


def read_samples(table: pa.Table) -> Samples:
    """Rows with model_id, domain, scores and blocks as `sort_documents` returns them, by model and domain.

    Scores are not copied. Raises ValueError where a row has not one block per score.
    """
    columns = {name: _whole(table.column(name)) for name in ("model_id", "domain", "scores", "blocks")}
    models, domains = columns["model_id"].to_pylist(), columns["domain"].to_pylist()
    scores, places = _values(columns["scores"], SCORE)
    blocks, others = _values(columns["blocks"], BLOCK)
    if not np.array_equal(places, others):
        raise ValueError("sorted scores and their blocks differ in number; build int_sorted_scores with --full-refresh")
    order = sorted(range(len(models)), key=lambda place: (models[place], domains[place]))
    spans = np.column_stack([places[:-1], places[1:]])[order]
    return Samples([models[place] for place in order], [domains[place] for place in order], scores, blocks, spans)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _values(column: pa.Array, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of all rows one after another, and where each row begins and the last one ends, (rows + 1,)."""
    _, places, data = column.buffers()
    wide = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    offsets = np.frombuffer(places, wide)[column.offset : column.offset + len(column) + 1].astype(np.int64)
    first, end = (int(offsets[0]), int(offsets[-1])) if len(column) else (0, 0)
    values = np.frombuffer(data, kind, (end - first) // kind.itemsize, first) if end > first else np.empty(0, kind)
    return values, (offsets - first) // kind.itemsize


def ordinals(scores: np.ndarray) -> np.ndarray:
    """Whole numbers (int64, within 32 bits) in the order of the float32 scores; 0 lies above -0."""
    bits = scores.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, bits ^ MAGNITUDE, bits)  # a negative number's magnitude bits run the other way


def numbers(found: np.ndarray) -> np.ndarray:
    """The float32 scores of `ordinals`."""
    bits = np.where(found < 0, found ^ MAGNITUDE, found)
    return bits.astype(np.int32).view(np.float32)
