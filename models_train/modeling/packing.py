"""Sequences of different lengths side by side in one row, without padding. Shared by training and scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch


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
    of its own. Every index appears once. Deterministic: equal lengths stay in order.
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
