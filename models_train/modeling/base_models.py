"""Base models and their tokenizers, by hub id or folder. Weights are safetensors; code of a repository never runs
unless the study lists it at a commit."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from models_train.errors import UserError
from models_train.modeling.hub_snapshots import HubModel
from models_train.modeling.model_files import Header, ModelFiles, check_kind, check_tokenizer_files, weight_headers
from models_train.study.fingerprints import model_identity, resolve
from models_train.study.models import StudyModel

_LOADING_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    ImportError,
    RuntimeError,
    AttributeError,
    TypeError,
    AssertionError,
    SafetensorError,
    StrictDataclassError,
)
_HARMLESS = re.compile(
    r"(^|\.)(lm_head|embed_out)\.(weight|bias)$|^head\.weight$"  # output head, of which a classifier has none
    r"|^score\.weight$"  # head of a classifier, which a causal language model does not have
    r"|(^|[._])inv_freq$|(^|\.)(cos|sin)_cached$|(^|\.)masked_bias$"  # buffers of old versions, computed again
    r"|(^|\.)(mtp|nextn)(_\w+)?(\.|$)"  # layers that predict further tokens
    r"|(^|\.)(embed_)?(vision|visual|image|audio|speech|video|multi_?modal|mm_)"  # towers, for a model of text alone
)
"""Names of weights that may be in the files though the model has no place for them."""
_MASK = re.compile(r"(^|\.)(attn|attention)\.bias$")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")


@dataclass(frozen=True)
class ModelSource:
    """Source of a model.

    place: its folder, or a hub's snapshot. revision: commit of the hub, or None. content: hash of a folder's files.
    hub_id: of a hub's model.
    """

    name: str
    place: str
    revision: str | None = None
    remote_code: bool = False
    content: str | None = None
    hub_id: str | None = None

    @property
    def stated_revision(self) -> str:
        """Commit of the hub, or content hash of the folder."""
        return self.revision or self.content or "main"

    @property
    def label(self) -> str:
        """The model and its place, for messages."""
        return f"{self.name}: {self.hub_id} at {self.revision}" if self.hub_id else f"{self.name}: {self.place}"

    @property
    def files(self) -> ModelFiles:
        """The files on this machine. Raises UserError where the place is no folder: a hub is never asked here."""
        return ModelFiles.of_folder(self.name, Path(self.place), self.label)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for every `from_pretrained`."""
        return {"trust_remote_code": self.remote_code, "local_files_only": True}


def model_source(model: StudyModel, study_folder: Path) -> ModelSource:
    """Source of a study's model: a folder is resolved and hashed, a hub's snapshot fetched; then its files are checked.

    All work on a base model begins here. Raises LocationError where the folder is not there, UserError where the
    model cannot be fetched, or would not be loaded as it is meant.
    """
    if model.is_local:
        folder = str(resolve(model.hub_id, study_folder))
        content = model_identity(model, study_folder)["content"]
        source = ModelSource(model.model_id, folder, None, model.remote_code, content)
    else:
        on_hub = HubModel(model.model_id, model.hub_id, model.revision, study_folder)
        commit = on_hub.commit()
        fetched = on_hub.snapshot(commit, with_code=model.remote_code)
        source = ModelSource(model.model_id, str(fetched.folder), commit, model.remote_code, hub_id=model.hub_id)
    _check(source)
    return source


def load_config(source: ModelSource) -> PreTrainedConfig:
    """The model's configuration. Raises UserError."""
    stated = check_kind(source.files)
    if source.remote_code:
        _refuse_code_elsewhere(source, stated)
    return _loaded(source, lambda: AutoConfig.from_pretrained(source.place, **source.arguments()))


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """The model's tokenizer. Raises UserError, also for one without tokens or without any special token."""
    files = source.files
    stated = check_kind(files)
    check_tokenizer_files(files)
    # Else Transformers takes a tekken.json instead of the tokenizer.json beside it, where mistral-common is installed.
    arguments = source.arguments() | {"mistral_format": False}
    with quiet():
        tokenizer = _loaded(source, lambda: AutoTokenizer.from_pretrained(source.place, **arguments))
    _refuse_empty_tokenizer(source, tokenizer, stated)
    return tokenizer


def load_model(
    source: ModelSource, auto_class: Any, dtype: torch.dtype, *, may_miss: Collection[str] = (), **settings: Any
) -> PreTrainedModel:
    """A model by one of Transformers' Auto classes, in evaluation mode; settings go to its `from_pretrained`.

    may_miss: weights that the files need not hold; they begin at random. Raises UserError for other weights that
    are missing, for ones that the model does not take, for pickled and quantised ones, and for ones that are not
    finite.
    """
    config = load_config(source)
    headers = weight_headers(source.files)
    arguments = source.arguments() | {"use_safetensors": True, "ignore_mismatched_sizes": True} | settings
    with quiet():
        model, found = _loaded(
            source,
            lambda: auto_class.from_pretrained(source.place, dtype=dtype, output_loading_info=True, **arguments),
        )
    _refuse_other_weights(source, config, headers, found, may_miss)
    refuse_not_finite(model, source.name)
    return model.eval()


def _check(source: ModelSource) -> None:
    """Raise UserError for a model that cannot be loaded as it is meant; no weights are read.

    The weights are compared with those of the causal language model: by their names and shapes, as Transformers itself
    would load them. Its output head may be missing: a reward model needs none.
    """
    files = source.files
    config = load_config(source)
    check_tokenizer_files(files)
    headers = weight_headers(files)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        return  # a class of the repository: its code is left alone until the model is loaded
    with quiet():
        model, found = _loaded(source, lambda: _trial(config, headers))
    _refuse_other_weights(source, config, headers, found, _head_names(model))


def _trial(config: PreTrainedConfig, headers: Mapping[str, Header]) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A causal language model with weights of the right shapes and without content, and the report of its loading."""
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config)
        weights = {name: torch.empty(header.shape) for name, header in headers.items()}
    nowhere = {"": torch.device("meta")}
    loaded: tuple[PreTrainedModel, dict[str, Any]] = type(empty).from_pretrained(
        None,
        config=empty.config,
        state_dict=weights,
        device_map=nowhere,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    return loaded


def _head_names(model: PreTrainedModel) -> set[str]:
    """Names of the weights of a causal language model's output head."""
    head = model.get_output_embeddings()
    own = set() if head is None else {id(weight) for weight in head.parameters()}
    return {name for name, weight in model.named_parameters(remove_duplicate=False) if id(weight) in own}


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


def _refuse_other_weights(
    source: ModelSource,
    config: PreTrainedConfig,
    headers: Mapping[str, Header],
    found: Mapping[str, Any],
    may_miss: Collection[str],
) -> None:
    """Raise UserError where files and model do not have the same weights.

    Transformers would draw missing weights, and ones of another shape, at random, and leave out ones that the model
    does not take. found: its report of the loading.
    """
    remedy = "the files are incomplete, or config.json is another model's: download them again"
    missing = sorted(set(found["missing_keys"]) - set(may_miss))
    if missing:
        what = f"lacks {len(missing)} of the model's weights, such as {missing[0]}"
        raise UserError(f"{source.label} {what}; {remedy}")
    mismatched = sorted(one for one in found["mismatched_keys"] if one[0] not in may_miss)
    for weight, in_files, by_config in mismatched:
        what = f"the weights {weight} have the shape {tuple(in_files)}, by config.json {tuple(by_config)}"
        raise UserError(f"{source.label}: {what}; {remedy}")
    further = sorted(name for name in found["unexpected_keys"] if not _is_harmless(name, config, headers.get(name)))
    if further:
        raise UserError(
            f"{source.label} holds {len(further)} weights that the model of config.json does not take, such as "
            f"{further[0]}; config.json is another model's or lacks a setting: take the one that the weights were "
            "saved with"
        )


def _is_harmless(name: str, config: PreTrainedConfig, header: Header | None) -> bool:
    """True for weights that the model can do without."""
    if _HARMLESS.search(name) or (_MASK.search(name) and header is not None and len(header.shape) != 1):
        return True
    text = config.get_text_config()
    n_layers, n_further = getattr(text, "num_hidden_layers", None), getattr(text, "num_nextn_predict_layers", None)
    layer = _LAYER.search(name)
    return bool(layer and n_layers and n_further and n_layers <= int(layer[1]) < n_layers + n_further)


def _refuse_code_elsewhere(source: ModelSource, stated: Mapping[str, Any]) -> None:
    """Raise UserError for code of another repository: no commit of it is stated."""
    for reference in (stated.get("auto_map") or {}).values():
        if "--" in str(reference):
            raise UserError(
                f"{source.label}: its code is that of another repository ({str(reference).split('--')[0]}), at no "
                "stated commit; copy that code into the model's folder and give the folder as hub_id"
            )


def _refuse_empty_tokenizer(source: ModelSource, tokenizer: PreTrainedTokenizerBase, stated: Mapping[str, Any]) -> None:
    vocabulary = set(tokenizer.get_vocab()) - set(tokenizer.get_added_vocab())
    if not vocabulary:
        raise UserError(
            f"{source.label}: its tokenizer makes no tokens: the files hold no vocabulary; add the tokenizer.json that "
            "belongs to the weights"
        )
    text = stated.get("text_config") or stated
    has_any = tokenizer.bos_token_id is not None or tokenizer.eos_token_id is not None
    if not has_any and (text.get("bos_token_id"), text.get("eos_token_id")) != (None, None):
        raise UserError(
            f"{source.label}: its tokenizer names neither BOS nor EOS, which config.json has; add the "
            "tokenizer_config.json that belongs to the weights"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress reports and progress of Transformers, whose report of the weights is read by the caller."""
    before, showed = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if showed:
            logging.enable_progress_bar()


def _loaded(source: ModelSource, load: Any) -> Any:
    """The result of `load`; the many errors of loading become a UserError."""
    try:
        return load()
    except _LOADING_ERRORS as error:
        remedy = "Correct hub_id or revision in the study file, or the files themselves"
        if "trust_remote_code" in str(error):
            remedy = "Read that code; to let it run, state its commit as revision and set remote_code: true"
        raise UserError(f"{source.label} cannot be loaded: {_first_sentence(error)}. {remedy}") from error


def _first_sentence(error: Exception) -> str:
    """The first sentence of a library's message, in one line and without its full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    sentence = re.match(r".+?[.!?](?= [A-Z]|$)", text)
    return (sentence[0] if sentence else text).rstrip(".")
