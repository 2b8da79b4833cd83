"""Writes rows in every form that the product reads, and rows of the data sets' columns."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = Mapping[str, Any]
REPOSITORY = Path(__file__).resolve().parents[2]


def json_lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def parquet(rows: Sequence[Row]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink, row_group_size=3)
    return sink.getvalue().to_pybytes()


def content(name: str, rows: Sequence[Row]) -> bytes:
    """The rows in the form that the name's ending says."""
    if name.endswith(".parquet"):
        return parquet(rows)
    lines = json_lines(rows)
    if name.endswith(".gz"):
        return gzip.compress(lines)
    return zstd(lines) if name.endswith(".zst") else lines


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content(path.name, rows))
    return path


def preference(prompt: str, strength: Any = -1, split: str | None = "train", **more: Any) -> dict[str, Any]:
    own = {"prompt": prompt, "response_1": f"one to {prompt}", "response_2": f"two to {prompt}"}
    return own | {"preference_strength": strength} | ({"split": split} if split is not None else {}) | more


def rating(prompt: str, number: int = 0, **more: Any) -> dict[str, Any]:
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    values = {name: (number + place) % 5 for place, name in enumerate(names)}
    return {"prompt": prompt, "response": f"answer {number} to {prompt}"} | values | more


def benchmark_item(prompt: Any, subset: str, item: Any, **more: Any) -> dict[str, Any]:
    own = {"prompt": prompt, "chosen": "good", "chosen_model": "a", "rejected": "bad", "rejected_model": "b"}
    return own | {"subset": subset, "id": item} | more


def document(text: Any, name: str = "Github", **more: Any) -> dict[str, Any]:
    return {"text": text, "meta": {"redpajama_set_name": f"RedPajama{name}"}} | more
