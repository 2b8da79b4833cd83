"""Files of a training run: written whole or not at all, and read by safetensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from models_train.reward_models.checkpoints import read_metadata, write_tensors


def test_files_are_what_safetensors_reads(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4),
        "b:c": torch.arange(7, dtype=torch.uint8),
        "half": torch.randn(2, 2).bfloat16(),
        "none": torch.zeros(0, 3),
        "turned": torch.randn(3, 5).T,
    }
    path = tmp_path / "some.safetensors"
    sources = {name: (one.shape, one.dtype, lambda one=one: one) for name, one in tensors.items()}
    write_tensors(path, sources, {"step": "3"})
    read = load_file(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], one) and read[name].dtype == one.dtype for name, one in tensors.items())
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"step": "3"} == read_metadata(path)
    for length in (3, 40, path.stat().st_size - 1):
        (tmp_path / "torn.safetensors").write_bytes(path.read_bytes()[:length])
        assert read_metadata(tmp_path / "torn.safetensors") is None


def test_a_file_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    path.write_bytes(b"before")

    def fails() -> torch.Tensor:
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_tensors(path, {"a": (torch.Size([2]), torch.float32, fails)}, {})
    with pytest.raises(ValueError, match="announced"):
        write_tensors(path, {"a": (torch.Size([2]), torch.float32, lambda: torch.zeros(3))}, {})
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1
