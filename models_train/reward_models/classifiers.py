"""The sequence classification class of a family: Transformers' own one, or Transformers' generic one on its backbone.

Transformers lists no such class for many families (Granite, OLMoE, Cohere, Falcon-H1 and others).
`GenericForSequenceClassification` is the mixin that its classes of other families are made of; with the base class of
the family it makes the class that is missing. Elsewhere a few lines make the same class; the model card holds them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_layers import GenericForSequenceClassification

from models_train.errors import UserError, first_line
from models_train.modeling.packed_attention import FORWARD_ERRORS

HEAD = "score.weight"
"""Name of the head's weights in Transformers' sequence classification models."""
_BUILDING_ERRORS = (*FORWARD_ERRORS, ImportError)


def classifier_class(name: str, config: PreTrainedConfig, *, remote_code: bool = False) -> Any:
    """The class, or Auto class, whose `from_pretrained` loads the sequence classification model of a configuration.

    name: of the model, for messages. remote_code: the repository's own class may be used. Raises UserError where the
    family has no such class and none can be made.
    """
    if type(config) in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING or _brings_its_own(config, remote_code):
        return AutoModelForSequenceClassification
    kind: Any = type(config)
    made = None if config.is_encoder_decoder else _class_on_backbone(kind)
    problem = "it is no decoder alone" if made is None else _misfit(config, made)
    if problem is not None:
        raise UserError(
            f"{name}: no reward model of the family {config.model_type!r} can be made: Transformers has no sequence "
            f"classification class of it, and none can be built ({problem}); take the model out of the study"
        )
    return made


def refuse_without_classifier(name: str, config: PreTrainedConfig, *, remote_code: bool = False) -> None:
    """Raise UserError for a configuration that no reward model can be made of; weights are not read."""
    kind = classifier_class(name, config, remote_code=remote_code)
    if kind is AutoModelForSequenceClassification and not _brings_its_own(config, remote_code):
        with torch.device("meta"):
            try:
                head_of(AutoModelForSequenceClassification.from_config(config))
            except UserError as error:
                raise UserError(f"{name}: {error}; take the model out of the study") from error
            except _BUILDING_ERRORS as error:
                raise UserError(
                    f"{name}: no model can be built from its configuration: {first_line(error)}. Correct config.json, "
                    "or take the model out of the study"
                ) from error


def head_of(classifier: PreTrainedModel) -> nn.Linear:
    """The linear head. Raises UserError for a class with another kind of head."""
    head = getattr(classifier, "score", None)
    if not isinstance(head, nn.Linear) or head.bias is not None:
        raise UserError(
            f"{type(classifier).__name__} has no linear head `score` without bias; only decoders whose sequence "
            "classification model has one can become reward models"
        )
    return head


def _brings_its_own(config: PreTrainedConfig, remote_code: bool) -> bool:
    own: Any = getattr(config, "auto_map", None) or {}
    return remote_code and "AutoModelForSequenceClassification" in own


def is_built(classifier: type[PreTrainedModel]) -> bool:
    """True for a class that Transformers lacks."""
    kind: Any = classifier.config_class
    return classifier is _class_on_backbone(kind)


@cache
def _class_on_backbone(kind: Any) -> type[PreTrainedModel] | None:
    """The generic class on the base class of a family; None for a family without causal class or without backbone.

    kind: the family's class of configurations.
    """
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING or kind not in MODEL_MAPPING:
        return None
    causal: Any = MODEL_FOR_CAUSAL_LM_MAPPING[kind]
    own = (one for one in causal.__mro__ if one.__name__.endswith("PreTrainedModel") and one is not PreTrainedModel)
    base = next(own, None)
    if base is None:
        return None
    # In classes of other modules Transformers leaves buffers that no file holds unset: with whatever is in memory.
    settings = {
        "base_model_prefix": base.base_model_prefix,
        "config_class": kind,
        "__module__": base.__module__,
    }
    stem = causal.__name__.removesuffix("LMHeadModel").split("For")[0]
    return type(f"{stem}ForSequenceClassification", (GenericForSequenceClassification, base), settings)


def _misfit(config: PreTrainedConfig, made: type[PreTrainedModel]) -> str | None:
    """Reason for which the causal model's weights do not fill a class, apart from its head; None where they do."""
    try:
        with torch.device("meta"):
            classifier, causal = made(config), AutoModelForCausalLM.from_config(config)
    except _BUILDING_ERRORS as error:
        return first_line(error)
    wanted = {name: tensor.shape for name, tensor in classifier.state_dict().items() if name != HEAD}
    there = {name: tensor.shape for name, tensor in causal.state_dict().items()}
    lacking = [name for name, shape in wanted.items() if there.get(name) != shape]
    return f"the causal model has no weights {lacking[0]}" if lacking else None
