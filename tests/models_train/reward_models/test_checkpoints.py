"""Saved tensors of a training run: whole, in several files, or not readable."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models_train.reward_models import checkpoints
from models_train.reward_models.checkpoints import is_readable, load_tensors, read_tensors, write_tensors
from models_train.reward_models.distributed import current_processes

TENSORS = {
    "a": torch.randn(3, 4),
    "b:c": torch.arange(7, dtype=torch.uint8),
    "half": torch.randn(2, 2).bfloat16(),
    "none": torch.zeros(0, 3),
    "turned": torch.randn(3, 5).T,
}


@pytest.mark.parametrize(("file_bytes", "n_files"), [(1 << 30, 1), (50, 3)])
def test_tensors_are_read_as_they_were_written(
    file_bytes: int, n_files: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_FILE_BYTES", file_bytes)
    write_tensors(tmp_path, TENSORS, current_processes())
    files = list(tmp_path.iterdir())
    assert len(files) == n_files and {path.suffix for path in files} == {".safetensors"}
    by_library = {name: tensor for path in files for name, tensor in load_file(path).items()}
    for read in (by_library, read_tensors(tmp_path)):
        assert read.keys() == TENSORS.keys()
        assert all(torch.equal(read[name], one) and read[name].dtype == one.dtype for name, one in TENSORS.items())


def test_a_torn_file_is_not_readable(tmp_path: Path) -> None:
    write_tensors(tmp_path / "whole", TENSORS, current_processes())
    assert is_readable(tmp_path / "whole")
    (file,) = (tmp_path / "whole").iterdir()
    for length in (3, 40, file.stat().st_size - 1):
        torn = shutil.copytree(tmp_path / "whole", tmp_path / f"torn-{length}")
        (torn / file.name).write_bytes(file.read_bytes()[:length])
        assert not is_readable(torn)


@pytest.mark.parametrize("wanted", [{"other": torch.zeros(2)}, {"a": torch.zeros(3, 5)}])
def test_other_names_and_shapes_are_refused(wanted: dict[str, torch.Tensor], tmp_path: Path) -> None:
    write_tensors(tmp_path, TENSORS, current_processes())
    with pytest.raises((RuntimeError, ValueError), match=r"other|[Ss]ize|shape"):
        load_tensors(tmp_path, wanted, current_processes())


def test_an_error_of_writing_is_raised_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space left"):
        write_tensors(tmp_path, TENSORS, current_processes())
