"""Base models and their tokenizers, by hub id or folder. Weights are safetensors; code of a repository never runs
unless the study lists it at a commit."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from models_train.errors import UserError
from models_train.study.fingerprints import is_local, model_identity, resolve
from models_train.study.models import StudyModel

_LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    ImportError,
    RuntimeError,
    AttributeError,
    TypeError,
    SafetensorError,
    StrictDataclassError,
)


@dataclass(frozen=True)
class ModelSource:
    """Source of a model. place: hub id or folder. revision: commit, or None. content: hash of a folder's files."""

    name: str
    place: str
    revision: str | None = None
    remote_code: bool = False
    content: str | None = None

    @property
    def stated_revision(self) -> str:
        """Commit of the hub, or content hash of the folder; `main` where the study states none."""
        return self.revision or self.content or "main"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`."""
        return {"revision": self.revision, "trust_remote_code": self.remote_code}


def model_source(model: StudyModel, study_folder: Path) -> ModelSource:
    """Source of a study's model; a folder is resolved and hashed. Raises LocationError where it is not there."""
    if not is_local(model.hub_id):
        return ModelSource(model.model_id, model.hub_id, model.revision, model.remote_code)
    folder = str(resolve(model.hub_id, study_folder))
    content = model_identity(model, study_folder)["content"]
    return ModelSource(model.model_id, folder, None, model.remote_code, content)


def load_config(source: ModelSource) -> PreTrainedConfig:
    """The model's configuration. Raises UserError."""
    return _loaded(source, lambda: AutoConfig.from_pretrained(source.place, **source.arguments()))


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """The model's tokenizer. Raises UserError."""
    return _loaded(source, lambda: AutoTokenizer.from_pretrained(source.place, **source.arguments()))


def load_model(
    source: ModelSource, auto_class: Any, dtype: torch.dtype, *, may_miss: Collection[str] = (), **settings: Any
) -> PreTrainedModel:
    """A model by one of Transformers' Auto classes, in evaluation mode; settings go to its `from_pretrained`.

    may_miss: weights that the files need not hold; they begin at random. Raises UserError for other weights that
    are missing, for pickled ones, and for ones that are not finite.
    """
    _refuse_pickle(source)
    arguments = source.arguments() | {"use_safetensors": True, "ignore_mismatched_sizes": True} | settings
    with _quiet():
        model, found = _loaded(
            source,
            lambda: auto_class.from_pretrained(source.place, dtype=dtype, output_loading_info=True, **arguments),
        )
    _refuse_random_weights(source, found, may_miss)
    refuse_not_finite(model, source.name)
    return model.eval()


def loaded_revision(source: ModelSource) -> str:
    """Commit of the hub that a model was loaded at, or content hash of its folder."""
    if source.content is not None:
        return source.content
    stated = source.stated_revision
    config = try_to_load_from_cache(source.place, "config.json", revision=stated)
    return Path(config).parent.name if isinstance(config, str) else stated


def context_length(config: PreTrainedConfig) -> int | None:
    """Most tokens that the model takes, by its configuration; None where it states none."""
    text = config.get_text_config()
    length = getattr(text, "max_position_embeddings", None)
    return int(length) if length else None


def refuse_not_finite(model: torch.nn.Module, name: str) -> None:
    """Raise UserError, naming the first weights that hold NaN or infinity."""
    for weight, tensor in model.named_parameters():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"{name}: the weights {weight} hold NaN or infinity; the files are damaged or a training diverged: "
                "download or train it again"
            )


def _refuse_random_weights(source: ModelSource, found: Mapping[str, Any], may_miss: Collection[str]) -> None:
    """Raise UserError for weights that the files lack or have in another shape: Transformers would draw random ones."""
    remedy = "the files are incomplete, or config.json is another model's: download them again"
    missing = sorted(set(found["missing_keys"]) - set(may_miss))
    if missing:
        what = f"lacks {len(missing)} of the model's weights, such as {missing[0]}"
        raise UserError(f"{source.name}: {source.place} {what}; {remedy}")
    mismatched = sorted(one for one in found["mismatched_keys"] if one[0] not in may_miss)
    for weight, in_files, by_config in mismatched:
        what = f"the weights {weight} have the shape {tuple(in_files)}, by config.json {tuple(by_config)}"
        raise UserError(f"{source.name}: {source.place}: {what}; {remedy}")


def _refuse_pickle(source: ModelSource) -> None:
    folder = Path(source.place)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        found = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
        what = f"only {', '.join(found[:3])}, which loading would run as code" if found else "no weights"
        raise UserError(f"{source.name}: {folder} holds {what}; save the model as safetensors")


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Transformers' report of missing and unexpected weights; missing ones are checked here."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _loaded(source: ModelSource, load: Any) -> Any:
    """The result of `load`; the many errors of loading become a UserError."""
    try:
        return load()
    except _LOADING_ERRORS as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        reason = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        where = "folder" if os.path.isdir(source.place) else "hub repository"
        at = f" at {source.revision}" if source.revision else ""
        remedy = "Correct hub_id or revision in the study file, or the files themselves"
        if "trust_remote_code" in str(error):
            remedy = "Read that code; to let it run, state its commit as revision and set remote_code: true"
        raise UserError(
            f"{source.name}: the {where} {source.place}{at} cannot be loaded: {reason.rstrip('.')}. {remedy}"
        ) from error
