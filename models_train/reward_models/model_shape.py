"""How many weights a model has and how many bytes a token leaves behind in a training step, from its config alone.

Nothing is loaded: the backbone is built on PyTorch's meta device, with one and with two layers, and a short forward
tells which tensors autograd would keep. The difference of the two is one layer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModel, PreTrainedConfig

_N_TOKENS = 16
"""Short, so that what grows with the square of a sequence stays out: packed attention keeps none of it."""
_SOFT_CAP_BYTES = 10
"""Per head and earlier token, where soft-capped attention runs without a kernel: tanh, mask, softmax and its copy."""


class ModelShapeError(ValueError):
    """A configuration that no model can be built from. The message says what is wrong."""


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on.

    n_weights: of backbone and head. largest_unit: weights of the largest layer, or of the embeddings. n_layers.
    layer_bytes: kept by autograd per token and layer. outer_bytes: per token, outside the layers. checkpoint_bytes: per
    token and layer where a layer keeps its input only. squared_bytes: per token, layer and token of its sequence.
    """

    n_weights: int
    largest_unit: int
    n_layers: int
    layer_bytes: int
    outer_bytes: int
    checkpoint_bytes: int
    squared_bytes: int

    def activation_bytes(self, n_tokens: int, longest: int, gradient_checkpointing: bool) -> int:
        """Of a pack of n_tokens whose longest sequence has `longest`, at the peak of its backward pass.

        With gradient checkpointing every layer keeps its input and one layer is computed again; either way the
        backward pass of one layer holds about as much again as the layer kept.
        """
        layer = self.layer_bytes + self.squared_bytes * longest
        kept = self.checkpoint_bytes * self.n_layers + layer if gradient_checkpointing else layer * self.n_layers
        return n_tokens * (kept + layer + self.outer_bytes)


def model_shape(config: PreTrainedConfig, n_outputs: int, dtype: torch.dtype) -> ModelShape:
    """Shape of a reward model that computes in `dtype`. Raises ModelShapeError."""
    text = config.get_text_config()
    n_layers = int(text.num_hidden_layers)
    try:
        one, two = (_measured(text, n, dtype) for n in (1, 2))
    except (AttributeError, ImportError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise ModelShapeError(
            f"no {config.model_type} model can be built from the configuration: {error}. Mend config.json, or take "
            "the model out of the study"
        ) from error
    layer_weights, layer_kept = two.weights - one.weights, two.kept - one.kept
    outer_weights = one.weights - layer_weights
    capped = getattr(text, "attn_logit_softcapping", None) is not None
    return ModelShape(
        n_weights=outer_weights + n_layers * layer_weights + n_outputs * text.hidden_size,
        largest_unit=max(layer_weights, outer_weights),
        n_layers=n_layers,
        layer_bytes=-(-layer_kept // _N_TOKENS),
        outer_bytes=-(-max(0, one.kept - layer_kept) // _N_TOKENS),
        checkpoint_bytes=text.hidden_size * dtype.itemsize,
        squared_bytes=_SOFT_CAP_BYTES * text.num_attention_heads if capped else 0,
    )


@dataclass(frozen=True)
class _Measured:
    weights: int
    kept: int


def _measured(config: PreTrainedConfig, n_layers: int, dtype: torch.dtype) -> _Measured:
    """Weights, and bytes that autograd keeps of _N_TOKENS tokens, of a backbone of a few layers."""
    config = copy.deepcopy(config)
    config.num_hidden_layers = n_layers
    if getattr(config, "layer_types", None):
        # A model of one layer names one type only; a second layer is like it.
        config.layer_types = (config.layer_types * n_layers)[:n_layers]
    config.rope_parameters = _fixed_positions(getattr(config, "rope_parameters", None))
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=dtype)
        token_ids = torch.zeros(1, _N_TOKENS, dtype=torch.int64)
        mask = torch.zeros(1, 1, _N_TOKENS, _N_TOKENS, dtype=dtype)
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # A mask of four dimensions is taken as it is; without one, the values of the positions would be looked at.
        model(input_ids=token_ids, attention_mask=mask, use_cache=False)
    return _Measured(
        sum(weight.numel() for weight in model.parameters()), sum(storage.nbytes() for storage in kept.values())
    )


def _fixed_positions(parameters: Any) -> Any:
    """A position encoding of the same size whose frequencies do not depend on values, which meta tensors lack."""
    if not isinstance(parameters, Mapping):
        return parameters
    if "rope_type" not in parameters:
        return {kind: _fixed_positions(one) for kind, one in parameters.items()}
    kept = {key: parameters[key] for key in ("rope_theta", "partial_rotary_factor") if key in parameters}
    return {"rope_theta": 10000.0} | kept | {"rope_type": "default"}
