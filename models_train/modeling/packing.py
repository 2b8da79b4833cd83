"""Sequences of different lengths side by side in one row, without padding. Shared by training and scoring.

Position encodings whose frequencies depend on the longest sequence of a forward pass limit what may share a pack.
LongRoPE (Phi-3.5) takes other frequencies as soon as one sequence is longer than the context of its first training; a
short one beside it would get another reward. So the two kinds never share a forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Pack:
    """Sequences one after another.

    token_ids: (n_tokens,) int64. position_ids: (n_tokens,) int64, from 0 in each sequence. boundaries:
    (n_sequences + 1,) int32, where each sequence begins, and the end. lengths: of the sequences, in order.
    """

    token_ids: torch.Tensor
    position_ids: torch.Tensor
    boundaries: torch.Tensor
    lengths: tuple[int, ...]

    @property
    def last_positions(self) -> torch.Tensor:
        """(n_sequences,) int64: place of each sequence's last token, by the boundaries and never by a pad id."""
        return self.boundaries[1:].long() - 1

    def to(self, device: torch.device | str) -> Pack:
        """The same pack on a device."""
        return Pack(self.token_ids.to(device), self.position_ids.to(device), self.boundaries.to(device), self.lengths)

    def part(self, indices: Sequence[int]) -> Pack:
        """A pack of some of the sequences, in the order of `indices`, on the same device."""
        token_ids, position_ids = (
            torch.cat([pieces[index] for index in indices])
            for pieces in (self.token_ids.split(list(self.lengths)), self.position_ids.split(list(self.lengths)))
        )
        lengths = tuple(self.lengths[index] for index in indices)
        boundaries = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=self.boundaries.device)
        return Pack(token_ids, position_ids, boundaries, lengths)


def pack(sequences: Sequence[Sequence[int]]) -> Pack:
    """One pack of all sequences of token ids, in their order. Raises ValueError for an empty one, or for none."""
    lengths = tuple(len(sequence) for sequence in sequences)
    if not lengths or min(lengths) == 0:
        raise ValueError("a pack needs sequences of at least one token each; leave empty ones out")
    return Pack(
        torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.int64),
        torch.cat([torch.arange(length) for length in lengths]),
        torch.tensor([0, *accumulate(lengths)], dtype=torch.int32),
        lengths,
    )


def bins(lengths: Sequence[int], tokens_per_pack: int) -> list[list[int]]:
    """Indices of the sequences of each pack: longest first, each pack at most `tokens_per_pack` tokens.

    Neighbours in length share a pack, so that the work of a pack is even. A sequence longer than the limit has a pack
    to itself. Every index appears once. Deterministic: equal lengths stay in order.
    """
    packs: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if not packs or lengths[index] > room:
            packs.append([])
            room = tokens_per_pack
        packs[-1].append(index)
        room -= lengths[index]
    return packs


def same_frequencies(config: PreTrainedConfig, lengths: Sequence[int]) -> list[list[int]]:
    """Indices of the sequences that may go through the model together, group by group; as a rule all of them.

    Raises ValueError for sequences that are longer than a dynamic encoding was trained for: its frequencies depend on
    the sequences before.
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
