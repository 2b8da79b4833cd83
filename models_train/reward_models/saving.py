"""A reward model as a folder that Transformers loads by itself: weights, configuration, tokenizer, model card."""

from __future__ import annotations

import copy
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from models_train.modeling.base_models import BackboneError
from models_train.reward_models.card import Card, card_text
from models_train.reward_models.export import portable_tokenizer

WEIGHTS = "model.safetensors"


def save_reward_model(
    folder: Path,
    classifier: PreTrainedModel,
    weights: Mapping[str, torch.Tensor],
    dtype: torch.dtype,
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
) -> None:
    """Write beside `folder`, flush to disk, then rename: nobody reads half a reward model.

    weights: by the names of `classifier.state_dict()`. What a save that was killed left behind is removed. Raises
    BackboneError where no pad token can be chosen, RenderError for a broken chat template; then nothing is written.
    """
    portable = portable_tokenizer(tokenizer, classifier.config)
    config = copy.deepcopy(classifier.config)
    config.get_text_config().pad_token_id = portable.tokenizer.pad_token_id
    config.architectures = [type(classifier).__name__]
    config.dtype = dtype
    if getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None:
        # Transformers would load SDPA, which leaves soft-capping out without a word.
        config.attn_implementation = "eager"
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left_over in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left_over)
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        classifier.save_pretrained(temporary, state_dict=dict(weights))
        config.save_pretrained(temporary)
        portable.tokenizer.save_pretrained(temporary)
        (temporary / "README.md").write_text(card_text(card, config, portable), encoding="utf-8")
        _flush(temporary)
        _put(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_tensor(folder: Path, name: str) -> torch.Tensor:
    """One tensor of a saved model, in the format of the file. Raises BackboneError where it is not there."""
    index = folder / f"{WEIGHTS}.index.json"
    try:
        file = json.loads(index.read_text())["weight_map"][name] if index.is_file() else WEIGHTS
        with safe_open(folder / file, framework="pt") as tensors:
            return tensors.get_tensor(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise BackboneError(f"{folder}: the weights {name} cannot be read ({error}); train the model again") from error


def _put(temporary: Path, folder: Path) -> None:
    """Rename to `folder`. One that is there is moved away first: a folder cannot be replaced in one step."""
    if folder.exists():
        old = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
        os.rename(folder, old)
        os.rename(temporary, folder)
        shutil.rmtree(old)
    else:
        os.rename(temporary, folder)
    _flush_one(folder.parent)


def _flush(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        _flush_one(path)


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
