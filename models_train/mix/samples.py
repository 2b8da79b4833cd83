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
"""Raised when a change of code changes what `sort_documents` makes: then every sorted copy is made anew."""
SORTED_SCHEMA = pa.schema(
    [("domain", pa.string()), ("score_kind", pa.string()), ("scores", pa.binary()), ("blocks", pa.binary())]
)
_SCORE, _BLOCK, _BLOCK_BITS = np.dtype("<f4"), np.dtype("u1"), 8
_MAGNITUDE = np.int64(0x7FFFFFFF)


@dataclass(frozen=True)
class Sample:
    """The scored documents of one model and domain, for one kind of score.

    scores: (documents,) float32, ascending; blocks: (documents,) uint8, 0 to N_BLOCKS - 1, in the order of scores.
    """

    model_id: str
    domain: str
    scores: np.ndarray
    blocks: np.ndarray


def sort_documents(documents: pa.Table, kinds: Sequence[str]) -> pa.Table:
    """One model's documents, sorted by each kind of score in turn: `SORTED_SCHEMA`.

    documents: a row per domain with `documents`, a list of {block, and a float per kind, null where there is none}.
    Returns a row per domain and kind that has scores; scores and blocks as bytes: little-endian float32, uint8.
    """
    rows = []
    for domain, listed in zip(documents.column("domain").to_pylist(), documents.column("documents"), strict=True):
        blocks = listed.values.field("block").to_numpy(zero_copy_only=False)
        for kind in kinds:
            scores = listed.values.field(kind).to_numpy(zero_copy_only=False)
            known = ~np.isnan(scores)
            if known.any():
                # One sort of whole numbers is faster than sorting scores and then moving the blocks after them.
                both = ordinals(scores[known]) << _BLOCK_BITS | blocks[known]
                both.sort()
                found = numbers(both >> _BLOCK_BITS).astype(_SCORE), both.astype(_BLOCK)
                rows.append((domain, kind, *(array.tobytes() for array in found)))
    columns = zip(*rows, strict=True) if rows else [[]] * len(SORTED_SCHEMA)
    return pa.table([pa.array(list(column)) for column in columns], schema=SORTED_SCHEMA)


def read_samples(table: pa.Table) -> list[Sample]:
    """Rows with model_id, domain, scores and blocks as `sort_documents` writes them, by model and domain."""
    samples = [
        Sample(
            model.as_py(),
            domain.as_py(),
            np.frombuffer(scores.as_buffer(), _SCORE),
            np.frombuffer(blocks.as_buffer(), _BLOCK),
        )
        for model, domain, scores, blocks in zip(
            *(table.column(name) for name in ("model_id", "domain", "scores", "blocks")), strict=True
        )
    ]
    return sorted(samples, key=lambda sample: (sample.model_id, sample.domain))


def ordinals(scores: np.ndarray) -> np.ndarray:
    """Whole numbers (int64, within 32 bits) in the order of the float32 scores; 0 lies above -0."""
    bits = scores.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, bits ^ _MAGNITUDE, bits)  # a negative number's magnitude bits run the other way


def numbers(found: np.ndarray) -> np.ndarray:
    """The float32 scores of `ordinals`."""
    bits = np.where(found < 0, found ^ _MAGNITUDE, found)
    return bits.astype(np.int32).view(np.float32)
