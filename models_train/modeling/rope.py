"""Position encodings whose frequencies depend on the longest sequence that goes through the model at once.

LongRoPE (Phi-3.5) takes other frequencies as soon as one sequence is longer than the context of its first training; a
short one beside it would get another reward. So the two kinds never share a forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedConfig


def same_frequencies(config: PreTrainedConfig, lengths: Sequence[int]) -> list[list[int]]:
    """Indices of the sequences that may go through the model together, group by group; as a rule all of them.

    Raises ValueError for sequences that are longer than a dynamic encoding was trained for: its frequencies depend on
    what the model saw before.
    """
    everything = list(range(len(lengths)))
    border = None
    for parameters in _encodings(config):
        kind = str(parameters.get("rope_type", "default"))
        if kind == "longrope" or "dynamic" in kind:
            border = parameters.get("original_max_position_embeddings") or _context(config)
            if "dynamic" in kind and max(lengths) > border:
                raise ValueError(
                    f"a sequence of {max(lengths)} tokens is longer than the {border} that the model's dynamic "
                    "position encoding was trained for; set max_tokens of the recipe to that"
                )
    if border is None:
        return [everything]
    groups = [[i for i in everything if (lengths[i] > border) == is_long] for is_long in (False, True)]
    return [group for group in groups if group]


def _encodings(config: PreTrainedConfig) -> list[Mapping[str, Any]]:
    """The settings of each position encoding; some families have one per kind of layer."""
    parameters = getattr(config.get_text_config(), "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, Mapping)]
    return nested or [parameters]


def _context(config: PreTrainedConfig) -> int:
    return int(config.get_text_config().max_position_embeddings)
