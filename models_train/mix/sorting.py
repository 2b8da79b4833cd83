"""A model's scores of documents, put in ascending order per domain and kind of score."""

from __future__ import annotations

import numba
import numpy as np
import pyarrow as pa

from models_train.mix.compiling import COMPILED
from models_train.mix.samples import BLOCK, BLOCK_BITS, MAGNITUDE, SCORE, SORTED_SCHEMA

_DIGIT, _DIGITS = 10, 4
_BUCKETS = 1 << _DIGIT
_LOWEST = np.int64(-(2**31))


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
    codes, domains = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    ends = np.cumsum(np.bincount(codes[~np.isnan(scores)], minlength=len(domains)))
    keys = np.empty(ends[-1], np.int64)
    _pack(codes, scores.view(np.int32), blocks, ends - np.diff(ends, prepend=0), keys)
    spare = np.empty_like(keys)
    for first, end in zip(ends - np.diff(ends, prepend=0), ends, strict=True):
        _sort(keys[first:end], spare[first:end])
    ordered, theirs = np.empty(keys.size, np.int32), np.empty(keys.size, BLOCK)
    _unpack(keys, ordered, theirs)
    filled = np.flatnonzero(np.diff(ends, prepend=0))
    places = np.concatenate([[0], ends[filled]])
    columns = [
        pa.array([domains[place] for place in filled], pa.string()),
        pa.array([kind] * filled.size, pa.string()),
        _blobs(ordered.view(SCORE), places),
        _blobs(theirs, places),
    ]
    return pa.table(columns, schema=SORTED_SCHEMA)


def _blobs(values: np.ndarray, places: np.ndarray) -> pa.Array:
    """The bytes of the values between each place and the next, not copied."""
    offsets = (places * values.itemsize).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), places.size - 1, [None, pa.py_buffer(offsets), pa.py_buffer(values)])


@numba.njit(**COMPILED)
def _pack(codes: np.ndarray, bits: np.ndarray, blocks: np.ndarray, places: np.ndarray, keys: np.ndarray) -> None:
    """Score and block as one whole number of 40 bits, from 0, domain by domain. places: where each domain begins."""
    for document in range(codes.size):
        found = bits[document]
        if (found & MAGNITUDE) <= np.int32(0x7F800000):  # beyond infinity lies NaN
            ordinal = np.int64(found ^ MAGNITUDE if found < 0 else found)
            code = codes[document]
            keys[places[code]] = ((ordinal - _LOWEST) << BLOCK_BITS) | np.int64(blocks[document])
            places[code] += 1


@numba.njit(**COMPILED)
def _sort(keys: np.ndarray, spare: np.ndarray) -> None:
    """Radix sort of 40 bits, the lowest digit first; four times as fast as NumPy's sort. An even number of passes, so
    that the answer ends up in keys."""
    places = np.zeros((_DIGITS, _BUCKETS), np.int64)
    for number in range(keys.size):
        for digit in range(_DIGITS):
            places[digit, (keys[number] >> (_DIGIT * digit)) & (_BUCKETS - 1)] += 1
    for digit in range(_DIGITS):
        before = 0
        for bucket in range(_BUCKETS):
            size = places[digit, bucket]
            places[digit, bucket] = before
            before += size
        for number in range(keys.size):
            bucket = (keys[number] >> (_DIGIT * digit)) & (_BUCKETS - 1)
            spare[places[digit, bucket]] = keys[number]
            places[digit, bucket] += 1
        keys, spare = spare, keys


@numba.njit(**COMPILED)
def _unpack(keys: np.ndarray, bits: np.ndarray, blocks: np.ndarray) -> None:
    for document in range(keys.size):
        found = np.int32((keys[document] >> BLOCK_BITS) + _LOWEST)
        bits[document] = found ^ MAGNITUDE if found < 0 else found
        blocks[document] = np.uint8(keys[document] & 0xFF)
