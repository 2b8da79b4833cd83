"""Safetensors files written tensor by tensor and atomically: a file is there complete, or it is not there.

The library's own writer wants all tensors in memory at once; here one at a time is brought from its device (or gathered
from the processes of a sharded run), so that saving 50 GB of state needs no 50 GB of memory beside it. Reading is the
library's.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

_DTYPES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint8: "U8",
    torch.int64: "I64",
}
_ALIGNMENT = 8

Source = Callable[[], torch.Tensor]
"""Brings one tensor, on any device."""


def write_tensors(
    path: Path, sources: Mapping[str, tuple[torch.Size, torch.dtype, Source]], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file under another name, flush it to the disk and rename it.

    sources: by tensor name, its shape, its dtype and what brings it. Each is called once, in the order of the mapping.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    header = _header({name: (shape, dtype) for name, (shape, dtype, _) in sources.items()}, metadata)
    try:
        with temporary.open("wb") as file:
            file.write(header)
            for shape, dtype, source in sources.values():
                tensor = source().detach().to("cpu").contiguous()
                if (tensor.shape, tensor.dtype) != (shape, dtype):
                    raise ValueError(f"a tensor announced as {shape} {dtype} came as {tensor.shape} {tensor.dtype}")
                file.write(_bytes(tensor))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def read_metadata(path: Path) -> dict[str, str] | None:
    """What was written beside the tensors; None where the file is torn or is no safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError):
        return None


def flush_folder(folder: Path) -> None:
    """Make new names in a folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header(tensors: Mapping[str, tuple[torch.Size, torch.dtype]], metadata: Mapping[str, str]) -> bytes:
    """Length and JSON of the format's beginning, padded with spaces to whole words."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    start = 0
    for name, (shape, dtype) in tensors.items():
        end = start + shape.numel() * dtype.itemsize
        entries[name] = {"dtype": _DTYPES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _bytes(tensor: torch.Tensor) -> Any:
    return tensor.reshape(-1).view(torch.uint8).numpy()
