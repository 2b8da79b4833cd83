"""The files of a model, before anything is loaded: what Transformers would load otherwise than it is meant is refused.

Read are the names of the files, small JSON files and the headers of safetensors files. A hub's repository is checked by
the names in its listing, so that nothing is downloaded in vain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from models_train.errors import UserError
from models_train.files import LFS_POINTER

READ = (".json", ".jinja", ".model", ".txt", ".tiktoken", ".py")
"""Endings of the files beside the weights that belong to a model: configuration, tokenizer, template, code."""
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
"""Files that hold a tokenizer, for the library tokenizers alone."""
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model")
QUANTISED_KEYS = ("quantization_config", "quantization", "compression_config")
"""Keys of config.json that describe quantised weights; `quantization` is MLX's."""
QUANTISED_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json", "quantization_config.json")
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
FORMAT = "take the unquantised model as safetensors in Transformers format"
UNQUANTISED = "quantised weights can be neither trained nor scored; take the unquantised model"
MERGE = "merge it into its base model and save that, or take the folder without it"
AGAIN = "download the files again"

_SET_OF_WEIGHTS = re.compile(r"(pytorch_)?model(-\d+-of-\d+)?\.safetensors")
_SHARD = re.compile(r".*-\d+-of-\d+\.safetensors")
_QUANTISED_NAME = re.compile(
    r"(^|[._])(qweight|qzeros|q_weight|q_scale|qdata|weight_packed|weight_scale(_inv|_2)?|weight_zero_point|absmax|"
    r"quant_map|quant_state|SCB|W_q|trellis)($|\.)"
)
_PACKED_NAME = re.compile(r"(^|[._])(weight|packed)$")
_MASK_NAME = re.compile(r"(attn|attention)\.(masked_)?bias$")
_ADAPTER_NAME = re.compile(r"(^|\.)(lora_(A|B|embedding_A|embedding_B|magnitude_vector)|base_layer)(\.|$)")


@dataclass(frozen=True)
class ModelFiles:
    """A model's folder, or a hub's snapshot.

    label: the model and its place, for messages. names: paths of all files relative to the folder; of a repository
    also of those that are not fetched.
    """

    label: str
    folder: Path
    names: frozenset[str]

    @classmethod
    def of_folder(cls, name: str, folder: Path, label: str | None = None) -> ModelFiles:
        """The files of a folder down to its sub-folders. Raises UserError where it is no model's folder at all."""
        label = label or f"{name}: {folder}"
        if folder.is_file():
            raise UserError(_about_file(label, folder))
        if not folder.is_dir():
            raise UserError(f"{label} is not there; correct hub_id in the study file")
        found = (path for pattern in ("*", "*/*") for path in folder.glob(pattern) if not path.is_dir())
        return cls(label, folder, frozenset(path.relative_to(folder).as_posix() for path in found))

    @property
    def top(self) -> list[str]:
        """Names of the files in the folder itself, sorted."""
        return sorted(name for name in self.names if "/" not in name)

    def json(self, name: str) -> Any:
        """Content of a JSON file. Raises UserError."""
        try:
            return json.loads((self.folder / name).read_bytes())
        except OSError as error:
            raise UserError(f"{self.label}: {name} cannot be read ({error.strerror}); {AGAIN}") from error
        except ValueError as error:
            raise UserError(f"{self.label}: {name} is not JSON: the file is damaged or cut short; {AGAIN}") from error

    def refuse_pointers(self, names: Collection[str]) -> None:
        """Raise UserError for a file that is only Git LFS's pointer to it."""
        for name in sorted(names):
            path = self.folder / name
            if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(LFS_POINTER):
                raise UserError(
                    f"{self.label}: {name} is not the file, but a pointer of Git LFS to it; run `git lfs pull` in the "
                    "folder, or download the file"
                )


def check_kind(files: ModelFiles) -> dict[str, Any]:
    """The content of config.json of a model in Transformers format. Raises UserError for adapters and other formats."""
    adapter = next((name for name in files.top if name in ("adapter_config.json", "adapter_model.safetensors")), None)
    if adapter is not None:
        raise UserError(f"{files.label} holds an adapter ({adapter}), which is not loaded with the weights; {MERGE}")
    if CONFIG_NAME not in files.names:
        raise UserError(f"{files.label} {_without_config(files)}")
    files.refuse_pointers([name for name in files.top if name.endswith(READ)])
    config = files.json(CONFIG_NAME)
    if not isinstance(config, dict):
        raise UserError(f"{files.label}: {CONFIG_NAME} holds no settings; {AGAIN}")
    _refuse_quantised_config(files, config)
    if config.get("transformers_weights"):
        raise UserError(
            f"{files.label}: {CONFIG_NAME} names weights of its own ({config['transformers_weights']}), which not "
            f"every engine reads; save the model as {SAFE_WEIGHTS_NAME} without `transformers_weights`"
        )
    return config


def weight_names(files: ModelFiles) -> list[str]:
    """Names of the safetensors files that are loaded, sorted. Raises UserError for none, and for two sets."""
    sets = [name for name in files.top if name.endswith(".safetensors")]
    if SAFE_WEIGHTS_INDEX_NAME in files.names:
        taken = _indexed(files)
    elif SAFE_WEIGHTS_NAME in sets:
        taken = [SAFE_WEIGHTS_NAME]
    else:
        raise UserError(f"{files.label} {_without_weights(files, sets)}")
    others = [name for name in sets if name not in taken and _SET_OF_WEIGHTS.fullmatch(name)]
    if others:
        raise UserError(
            f"{files.label} holds two sets of weights: {_some(taken)} and {_some(others)}; remove the one that is not "
            "meant"
        )
    missing = [name for name in taken if name not in files.names]
    if missing:
        raise UserError(
            f"{files.label} lacks {_some(missing)} of the {len(taken)} files that {SAFE_WEIGHTS_INDEX_NAME} lists; "
            f"{AGAIN}"
        )
    return taken


def check_tokenizer_files(files: ModelFiles) -> None:
    """Raise UserError where the folder has no tokenizer, or one that is read without its special tokens."""
    names = files.top
    files.refuse_pointers([name for name in names if name.endswith(READ)])
    if any(name in TOKENIZERS or name.endswith((".tiktoken", ".py")) for name in names):
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if name in names and (files.folder / name).is_file():
                files.json(name)
        return
    wanted = "add a tokenizer.json with its special tokens (Transformers' `save_pretrained` writes one)"
    if any(name in SENTENCEPIECE for name in names):
        if find_spec("sentencepiece") is None:
            raise UserError(
                f"{files.label} has only a SentencePiece tokenizer; install the package sentencepiece, or add a "
                "tokenizer.json"
            )
    elif tekken := [name for name in names if name.startswith("tekken") and name.endswith(".json")]:
        raise UserError(
            f"{files.label} has only Mistral's {tekken[0]}, which is read without BOS, EOS and other special tokens; "
            f"{wanted}"
        )
    else:
        raise UserError(f"{files.label} holds no tokenizer; {wanted}")


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of a tensor. format: safetensors' name of its number format, such as BF16."""

    shape: tuple[int, ...]
    format: str


def weight_headers(files: ModelFiles) -> dict[str, Header]:
    """The tensors in the files that are loaded, by name; nothing else of the files is read.

    Raises UserError for files that are missing, damaged or pointers, for pickled or quantised weights, for those of an
    adapter, and for a tensor that two files hold.
    """
    names = weight_names(files)
    files.refuse_pointers(names)
    found: dict[str, Header] = {}
    where: dict[str, str] = {}
    for file in names:
        for name, header in _headers(files, file):
            if name in found:
                raise UserError(
                    f"{files.label}: {where[name]} and {file} both hold the weights {name}; the files are of two "
                    f"saves: remove those of one of them, or {AGAIN}"
                )
            found[name], where[name] = header, file
    _refuse_quantised_weights(files, found)
    adapter = next((name for name in found if _ADAPTER_NAME.search(name)), None)
    if adapter is not None:
        raise UserError(f"{files.label} holds the weights of an adapter, such as {adapter}; {MERGE}")
    return found


def _headers(files: ModelFiles, file: str) -> Iterator[tuple[str, Header]]:
    try:
        with safe_open(files.folder / file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no mapping
                part = tensors.get_slice(name)
                yield name, Header(tuple(part.get_shape()), str(part.get_dtype()))
    except PermissionError as error:
        raise UserError(f"{files.label}: {file} may not be read; give your user the permission") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{files.label}: {file} is cut short or damaged; {AGAIN}") from error


def _refuse_quantised_config(files: ModelFiles, config: Mapping[str, Any]) -> None:
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in QUANTISED_KEYS:
            if part.get(key):
                method = part[key].get("quant_method") if isinstance(part[key], dict) else part[key]
                named = f" ({method})" if isinstance(method, str) else ""
                raise UserError(f"{files.label} is quantised{named}, by {key} in {CONFIG_NAME}; {UNQUANTISED}")
    beside = next((name for name in files.top if name in QUANTISED_FILES), None)
    if beside is not None:
        raise UserError(f"{files.label} is quantised, by {beside} beside the weights; {UNQUANTISED}")


def _refuse_quantised_weights(files: ModelFiles, headers: Mapping[str, Header]) -> None:
    for name, header in headers.items():
        if _QUANTISED_NAME.search(name) or _is_packed(name, header.format):
            raise UserError(f"{files.label} holds quantised weights, such as {name} ({header.format}); {UNQUANTISED}")


def _is_packed(name: str, number_format: str) -> bool:
    if number_format.startswith(("F8", "F6", "F4")):
        return True
    if number_format in ("I8", "U8"):
        return not _MASK_NAME.search(name)
    return number_format in ("I16", "U16", "I32", "U32") and bool(_PACKED_NAME.search(name))


def _indexed(files: ModelFiles) -> list[str]:
    """Files that the index of sharded weights names."""
    files.refuse_pointers([SAFE_WEIGHTS_INDEX_NAME])
    index = files.json(SAFE_WEIGHTS_INDEX_NAME)
    named = index.get("weight_map") if isinstance(index, dict) else None
    shards = sorted({str(file) for file in named.values()}) if isinstance(named, dict) else []
    if not shards or any("/" in shard or not shard.endswith(".safetensors") for shard in shards):
        raise UserError(f"{files.label}: {SAFE_WEIGHTS_INDEX_NAME} lists no safetensors files of the folder; {AGAIN}")
    if SAFE_WEIGHTS_NAME in shards and len(shards) > 1:
        raise UserError(
            f"{files.label} holds two sets of weights: {SAFE_WEIGHTS_INDEX_NAME} lists {SAFE_WEIGHTS_NAME} beside "
            f"shards, and Transformers would load {SAFE_WEIGHTS_NAME} alone; {AGAIN}"
        )
    return shards


def _without_weights(files: ModelFiles, sets: Collection[str]) -> str:
    """What a folder without weights in Transformers' safetensors format holds, and the remedy."""
    shards = [name for name in sets if _SHARD.fullmatch(name)]
    if shards:
        return f"holds {_some(shards)} without {SAFE_WEIGHTS_INDEX_NAME}; {AGAIN}"
    if ggufs := [name for name in files.names if name.endswith(".gguf")]:
        return _gguf(ggufs)
    pickles = [name for name in files.top if name.endswith(PICKLES)]
    if pickles:
        what = f"only {', '.join(pickles[:3])}, which loading would run as code"
        return f"holds {what}; save the model as safetensors"
    if sets:
        return f"holds no weights of that name, only {_some(sets)}; rename or save them as {SAFE_WEIGHTS_NAME}"
    if others := [name for name in files.names if name.endswith((".onnx", ".h5", ".msgpack", ".tflite", ".npz"))]:
        return f"holds weights of another library only ({_some(others)}); save the model as safetensors"
    return "holds no weights; save the model as safetensors"


def _without_config(files: ModelFiles) -> str:
    """What a folder without config.json is, and the remedy."""
    if files.folder.name.startswith("models--") and (files.folder / "snapshots").is_dir():
        hub_id = files.folder.name.removeprefix("models--").replace("--", "/")
        return (
            f"is a folder of the hub's cache, not a model; give `hub_id: {hub_id}` with its commit as revision, or the "
            "folder snapshots/<commit> in it"
        )
    if ggufs := [name for name in files.names if name.endswith(".gguf")]:
        return _gguf(ggufs)
    models = sorted(name.rsplit("/", 1)[0] for name in files.names if name.endswith(f"/{CONFIG_NAME}"))
    if models:
        return f"holds no {CONFIG_NAME}, but folders of models: {_some(models)}; name one of them"
    caches = [path.name for path in sorted(files.folder.glob("models--*"))] if files.folder.is_dir() else []
    if caches:
        return f"is the hub's cache of several models ({_some(caches)}); give one of them by its hub id"
    if any(name in ("params.json", "consolidated.safetensors", "consolidated.00.pth") for name in files.names):
        return f"holds no {CONFIG_NAME}: it is in its publisher's own format; take the one in Transformers format"
    there = f" (there is {_some(files.top)})" if files.top else ""
    return f"holds no {CONFIG_NAME}{there}, so it is no model in Transformers format; correct hub_id in the study file"


def _about_file(label: str, file: Path) -> str:
    if file.suffix == ".gguf":
        return f"{label} is a GGUF file, which cannot be trained; {FORMAT}"
    return f"{label} is a file; name the folder of the model, which holds {CONFIG_NAME}"


def _gguf(names: Collection[str]) -> str:
    return f"holds weights in GGUF only ({_some(names)}), which cannot be trained; {FORMAT}"


def _some(names: Collection[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:2]) + (f" and {len(ordered) - 2} more" if len(ordered) > 2 else "")
