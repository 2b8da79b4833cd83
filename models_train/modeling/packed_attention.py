"""Attention over packed sequences, for every Transformers model that looks its attention up by name.

`use_packed_attention(model)` switches a model over; from then on its forward takes `packed_inputs(pack)`. No mask of
tokens x tokens is ever made. What a family adds (soft-capping, sliding windows, grouped heads) arrives as arguments.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from models_train.modeling.packing import Pack, pack

NAME = "rewardbase_packed"
_FLASH_DTYPES = (torch.bfloat16, torch.float16)
_FLASH_HEAD = 256
"""Largest head dimension of the variable-length kernel."""
_SEQUENCE = [1, 3, 0, 2]
"""Token ids of the test of packed attention; every vocabulary has them."""
_FAITHFUL: set[str] = set()
"""Architectures that passed the test of packed attention."""


def use_packed_attention(model: PreTrainedModel) -> None:
    """Switch a model to packed attention, and test it: a small pack must give each sequence's own hidden states.

    Raises ValueError where they do not: a family with a fixed attention function, with an unknown kind of attention, or
    with layers that carry a state past the end of a sequence. The model is then as before. A model on the meta device
    cannot be tested.
    """
    before = model.config._attn_implementation  # Transformers has a public setter for it, but no getter
    # The test takes seconds for a large model on a CPU: once per architecture.
    architecture = f"{type(model).__qualname__} {model.dtype} {model.config.to_json_string(use_diff=False)}"
    is_faithful = architecture in _FAITHFUL or model.device.type == "meta"
    if not is_faithful:
        # Not the default one: SDPA leaves soft-capping out without a warning.
        model.set_attn_implementation("eager")
        alone = _hidden_states(model, {"input_ids": torch.tensor([_SEQUENCE]), "use_cache": False})
        model.set_attn_implementation(NAME)
        is_faithful = _is_faithful(model, alone)
    model.set_attn_implementation(NAME)
    if model.device.type != "meta" and is_faithful:
        _FAITHFUL.add(architecture)
    if model.config._attn_implementation != NAME or not is_faithful:
        model.set_attn_implementation(before)
        raise ValueError(
            f"{type(model).__name__} cannot run on packed sequences: it does not look its attention up by name, its "
            "attention is of an unknown kind, or layers of it mix neighbouring sequences"
        )


def packed_inputs(pack: Pack) -> dict[str, Any]:
    """Keyword arguments of a model's forward for one pack: a batch of one row of n_tokens."""
    return {
        "input_ids": pack.token_ids[None],
        "position_ids": pack.position_ids[None],
        "use_cache": False,
        "pack_boundaries": pack.boundaries,
        "pack_lengths": pack.lengths,
    }


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    pack_boundaries: torch.Tensor | None = None,
    pack_lengths: tuple[int, ...] | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    position_ids: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sequence of a pack.

    query: (1, heads, n_tokens, head_dim); key, value: (1, key_value_heads, n_tokens, head_dim). A token sees itself
    and the `sliding_window` - 1 tokens before it, or all before it. softcap: scores become cap x tanh(scores / cap).
    Returns (1, n_tokens, heads, head_dim). Raises ValueError for a batch of several rows, and where neither boundaries
    nor positions arrive.
    """
    if query.shape[0] != 1:
        raise ValueError(f"packed attention takes one row, not {query.shape[0]}: put sequences side by side in a pack")
    if pack_boundaries is None or pack_lengths is None:
        pack_boundaries, pack_lengths = _from_positions(position_ids)
    if sliding_window is not None and sliding_window >= max(pack_lengths):
        sliding_window = None
    if _has_kernel(query, softcap, dropout):
        out = _by_kernel(query[0], key[0], value[0], pack_boundaries, max(pack_lengths), scaling, sliding_window)
        return out[None], None
    pieces = zip(*(tensor.split(list(pack_lengths), dim=2) for tensor in (query, key, value)), strict=True)
    out = torch.cat([_one_sequence(q, k, v, scaling, dropout, sliding_window, softcap) for q, k, v in pieces], dim=2)
    return out.transpose(1, 2), None


def _from_positions(position_ids: torch.Tensor | None) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Boundaries and lengths by the positions that are 0; StableLM passes its attention nothing else."""
    if position_ids is None:
        raise ValueError("packed attention needs the arguments of packed_inputs(pack)")
    row = position_ids[0]
    begins = torch.nonzero(row == 0).flatten()
    boundaries = torch.cat([begins, begins.new_tensor([len(row)])])
    return boundaries.to(torch.int32), tuple(boundaries.diff().tolist())


def _is_faithful(model: PreTrainedModel, alone: torch.Tensor | None) -> bool:
    """True where a sequence comes out as by itself, and independent of its neighbour."""
    pairs = (
        _hidden_states(model, packed_inputs(pack([neighbour, _SEQUENCE]))) for neighbour in ([0, 1, 2, 3], [3, 3, 1, 2])
    )
    one, other = (None if hidden is None else hidden[-len(_SEQUENCE) :] for hidden in pairs)
    if alone is None or one is None or other is None:
        return False
    return _close(other, one, 1e-6) and _close(one, alone, 1e-3 if model.dtype == torch.float32 else 0.2)


@torch.no_grad()
def _hidden_states(model: PreTrainedModel, inputs: dict[str, Any]) -> torch.Tensor | None:
    """(n_tokens, hidden_size) float32: the hidden states; None where the model cannot take these inputs."""
    was_training = model.training
    model.eval()
    here = {name: value.to(model.device) if torch.is_tensor(value) else value for name, value in inputs.items()}
    try:
        hidden: torch.Tensor = model.base_model(**here).last_hidden_state[0]
        return hidden.float()
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None  # families that do not pass a pack on to their attention fail in many ways
    finally:
        model.train(was_training)


def _close(given: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> bool:
    return bool(torch.linalg.vector_norm(given - wanted) <= tolerance * torch.linalg.vector_norm(wanted))


def _has_kernel(query: torch.Tensor, softcap: float | None, dropout: float) -> bool:
    return (
        query.is_cuda
        and query.dtype in _FLASH_DTYPES
        and query.shape[-1] <= _FLASH_HEAD
        and softcap is None
        and dropout == 0.0
    )


def _by_kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    boundaries: torch.Tensor,
    longest: int,
    scaling: float | None,
    sliding_window: int | None,
) -> torch.Tensor:
    """The variable-length kernel of PyTorch. All tensors (heads, n_tokens, head_dim) -> (n_tokens, heads, head_dim)."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (tensor.transpose(0, 1).contiguous() for tensor in (query, key, value))
    if key.shape[1] != query.shape[1]:
        key, value = (tensor.repeat_interleave(query.shape[1] // tensor.shape[1], 1) for tensor in (key, value))
    window = (-1 if sliding_window is None else sliding_window - 1, 0)
    out = varlen_attn(query, key, value, boundaries, boundaries, longest, longest, scale=scaling, window_size=window)
    assert isinstance(out, torch.Tensor)
    return out


def _one_sequence(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    dropout: float,
    sliding_window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """Attention of one sequence; shapes as in `packed_attention`, n_tokens being its length."""
    grouped = key.shape[1] != query.shape[1]
    length = query.shape[2]
    if softcap is None:
        mask = None if sliding_window is None or sliding_window >= length else _band(length, sliding_window, query)
        return F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=dropout,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=grouped,
        )
    if grouped:
        key, value = (tensor.repeat_interleave(query.shape[1] // tensor.shape[1], 1) for tensor in (key, value))
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~_band(length, sliding_window or length, query), float("-inf"))
    shares = F.dropout(torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype), dropout)
    return shares @ value


def _band(length: int, window: int, like: torch.Tensor) -> torch.Tensor:
    """(length, length) bool: which earlier tokens each token sees."""
    seen = torch.ones(length, length, dtype=torch.bool, device=like.device).tril()
    return seen.triu(1 - window)


def _no_mask(*_: Any, **__: Any) -> None:
    """No mask: the boundaries hold all of its information."""
    return


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, _no_mask)
