"""Attention over packed sequences, for every Transformers model that looks its attention up by name.

`use_packed_attention(model)` switches a model over; from then on its forward takes `packed_inputs(pack)`. No mask of
tokens x tokens is ever made. What a family adds (soft-capping, sliding windows, grouped heads) arrives as arguments; a
family that puts more into its mask, or gives its attention other tensors, is refused by a trial.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel

from models_train.errors import first_line
from models_train.modeling.packing import Pack, pack

NAME = "rewardbase_packed"
FORWARD_ERRORS = (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What models raise that cannot take their inputs: families that do not pass a pack on fail in many ways."""
_CHECKED = "rewardbase_packed_checked"
_FLASH_DTYPES = (torch.bfloat16, torch.float16)
_FLASH_HEAD = 256
"""Largest head dimension of the variable-length kernel."""
_WINDOW = 3
"""Longest window or chunk in the trial, in tokens."""
_TRIAL_LENGTH = 16
"""Length of the sequence of the trial, in tokens: longer than five windows, shorter than LongRoPE's border."""
_WINDOW_NAMES = re.compile(r"window|chunk|local_attention|(^|_)(block_size|topk_blocks|index_topk)")
"""Settings and attributes that say how far attention looks, whatever the family."""
_NO_WINDOW_NAMES = re.compile(r"layer|pattern|feed_forward|num_")
_OWN_TENSORS = ("attention_mask", "pack_boundaries", "position_ids", "cache_position")
_TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4}
"""Largest difference of hidden states from those of plain Transformers, as a share of their norm."""
_COARSE = 0.2
"""The same in formats of 16 bits, where rounding alone makes some percent."""


def use_packed_attention(model: PreTrainedModel) -> None:
    """Switch a model to packed attention, after a trial: in a pack, a sequence must get its own hidden states.

    The trial runs a copy that shares the model's weights. All windows and chunks of its configuration are shortened, so
    that its sequence is longer than each of them. Reference is Transformers' eager attention. The verdict is of these
    weights and this configuration, and is not kept. Raises ValueError, with the reason, where the model cannot run on
    packs; the model is then as before. A model on the meta device cannot be tried.
    """
    before = model.config._attn_implementation  # Transformers has a public setter for it, but no getter
    problem = None if model.device.type == "meta" else _problem(_with_short_windows(model))
    if problem is None:
        model.set_attn_implementation(NAME)
        if model.config._attn_implementation == NAME:
            return
        model.set_attn_implementation(before)
        problem = _NO_LOOKUP
    raise ValueError(f"{type(model).__name__} cannot run on packed sequences: {problem}")


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
    return out.transpose(1, 2).contiguous(), None


def _from_positions(position_ids: torch.Tensor | None) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Boundaries and lengths by the positions that are 0; StableLM passes its attention nothing else."""
    if position_ids is None:
        raise ValueError("packed attention needs the arguments of packed_inputs(pack)")
    row = position_ids[0]
    begins = torch.nonzero(row == 0).flatten()
    boundaries = torch.cat([begins, begins.new_tensor([len(row)])])
    return boundaries.to(torch.int32), tuple(boundaries.diff().tolist())


_NO_LOOKUP = "it does not look its attention up by name"


class _Dropped(Exception):
    """Packed attention would ignore something that the family's own attention uses."""


def _with_short_windows(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in evaluation mode that shares all weights, with every window or chunk at most _WINDOW tokens long."""
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, shared).eval()
    settings: dict[int, dict[str, Any]] = {}
    for module in twin.modules():
        settings[id(module)] = vars(module)
        for value in vars(module).values():
            if isinstance(value, PreTrainedConfig):
                settings |= {id(one): one for one in _nested(vars(value))}
    for one in settings.values():
        for name, value in one.items():
            if _WINDOW_NAMES.search(name) and not _NO_WINDOW_NAMES.search(name):
                one[name] = _shortened(value)
    return twin


def _nested(settings: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Settings of a configuration and of those inside of it."""
    yield settings
    for value in settings.values():
        if isinstance(value, PreTrainedConfig):
            yield from _nested(vars(value))
        elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
            yield from _nested(value)


def _shortened(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_shortened(one) for one in value)
    return min(value, _WINDOW) if isinstance(value, int) and not isinstance(value, bool) else value


def _problem(twin: PreTrainedModel) -> str | None:
    """Reason for which packs cannot go through a model; None where they can. Changes its attention."""
    n_rows = len(input_embedding(twin))
    ids = [(3 * place * place + place) % min(n_rows, 64) for place in range(_TRIAL_LENGTH)]
    alone = {"input_ids": torch.tensor([ids]), "use_cache": False}
    packs = [packed_inputs(pack([neighbour, ids])) for neighbour in (ids[:9], ids[8::-1])]
    try:
        # Not the default one: SDPA leaves soft-capping out without a warning.
        wanted = _hidden_states(twin, "eager", alone)
        twin.set_attn_implementation(NAME)
        if twin.config._attn_implementation != NAME:
            return _NO_LOOKUP
        _hidden_states(twin, _CHECKED, packed_inputs(pack([ids])))
        given, other = (_hidden_states(twin, NAME, inputs)[-len(ids) :] for inputs in packs)
    except torch.OutOfMemoryError:
        raise
    except _Dropped as error:
        return str(error)
    except FORWARD_ERRORS as error:
        return f"its layers do not take a pack ({first_line(error)})"
    if _difference(other, given) > 1e-6:
        return "layers of it mix neighbouring sequences"
    difference, most = _difference(given, wanted), _TOLERANCES.get(twin.dtype, _COARSE)
    if not difference <= most:
        return f"its hidden states differ by {difference:.1e} of their norm from those of eager attention"
    return None


def input_embedding(model: PreTrainedModel) -> torch.Tensor:
    """(n_tokens, hidden_size): the weights of a model's input embedding."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor), "an embedding has weights"
    return weight


@torch.no_grad()
def _hidden_states(model: PreTrainedModel, attention: str, inputs: dict[str, Any]) -> torch.Tensor:
    """(n_tokens, hidden_size) float32: the hidden states by an implementation of attention."""
    model.set_attn_implementation(attention)
    here = {name: value.to(model.device) if torch.is_tensor(value) else value for name, value in inputs.items()}
    hidden: torch.Tensor = model.base_model(**here).last_hidden_state[0]
    return hidden.float()


def _difference(given: torch.Tensor, wanted: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(given - wanted) / torch.linalg.vector_norm(wanted))


def _checked_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Packed attention of one sequence, compared with what the family's eager attention makes of the same arguments.

    attention_mask: as for eager attention. The comparison is in float32, so that it finds in any precision what packed
    attention would ignore. Raises _Dropped.
    """
    unknown = [name for name, one in settings.items() if torch.is_tensor(one) and name not in _OWN_TENSORS]
    if unknown:
        raise _Dropped(f"its attention takes {', '.join(unknown)}, which packs do not hold")
    length = query.shape[2]
    seen = _band(length, settings.get("sliding_window") or length, query)
    if attention_mask is not None and not _is_mask_of(seen, attention_mask):
        raise _Dropped("its attention mask holds more than causality and the window that its attention is given")
    exact = query.float(), key.float(), value.float()
    own = getattr(sys.modules.get(type(module).__module__), "eager_attention_forward", None)
    if own is not None:
        given, _ = packed_attention(module, *exact, None, **settings)
        mask = torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, torch.finfo(torch.float32).min)
        wanted, _ = own(module, *exact, mask[None, None], **settings)
        if not _difference(given, wanted) <= 1e-4:
            raise _Dropped("its eager attention computes something else than packed attention")
    return packed_attention(module, query, key, value, None, **settings)


def _is_mask_of(seen: torch.Tensor, mask: torch.Tensor) -> bool:
    """True for a mask, added to the scores or of bool, that shows every head these tokens and nothing else."""
    n_tokens = len(seen)
    if mask.dtype == torch.bool:
        return bool((mask[..., :n_tokens] == seen).all())
    hides = mask[..., :n_tokens] <= -1e4
    return bool((hides == ~seen).all() and (mask[..., :n_tokens][~hides] == 0).all())


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
AttentionInterface.register(_CHECKED, _checked_attention)
AttentionMaskInterface.register(_CHECKED, AttentionMaskInterface()["eager"])
