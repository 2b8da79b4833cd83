"""Scores of many documents, kept sorted: one array per model, domain and kind, with the block of every document.

A block is a random group of documents, the same for every model; the bootstrap resamples blocks, so that the documents
that two models share are drawn for both or for neither. Scores are in single precision: its error of 1e-7 is far below
that of any scoring in bfloat16, and the sorted copy takes 5 bytes a document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

N_BLOCKS = 256
"""Blocks of documents; a block's number is one byte."""
ALL = "all"
"""The domain that stands for the documents of every domain together."""
LAYOUT = 1
"""Raised when a change of code changes what `sorting` makes: then every sorted copy is made anew."""
SORTED_SCHEMA = pa.schema(
    [("domain", pa.string()), ("score_kind", pa.string()), ("scores", pa.binary()), ("blocks", pa.binary())]
)
SCORE, BLOCK, BLOCK_BITS = np.dtype("<f4"), np.dtype("u1"), 8
MAGNITUDE = np.int32(0x7FFFFFFF)
"""The bits of a float32 but for its sign."""


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
        """Those of a domain; of every domain for `all`. The scores are not copied."""
        chosen = [place for place, own in enumerate(self.domains) if domain in (ALL, own)]
        models, domains = ([one[place] for place in chosen] for one in (self.models, self.domains))
        return Samples(models, domains, self.scores, self.blocks, self.spans[chosen])


def read_samples(table: pa.Table) -> Samples:
    """Rows with model_id, domain, scores and blocks as `sorting.sort_documents` writes them, by model and domain.

    Scores are used where they lie. Raises ValueError where a row has not one block per score.
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
