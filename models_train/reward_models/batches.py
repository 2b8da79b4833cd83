"""Which examples make up which step, and how they share packs: a pure function of data, seed and step.

Every epoch has its own permutation, drawn from a counter-based generator, so step 500 is known without the 499 before
it and a resumed run meets the same examples in the same order. A step never mixes epochs: the last batch of an epoch
keeps what is left, however few, and its loss is the mean over these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models_train.modeling.packing import Pack, bins, pack
from models_train.reward_models.objectives import Example


@dataclass(frozen=True)
class DataOrder:
    """The order of `n_examples` examples over `epochs` epochs in global batches of `global_batch`."""

    n_examples: int
    global_batch: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch, the last one smaller where the examples do not divide evenly."""
        return -(-self.n_examples // self.global_batch)

    @property
    def n_steps(self) -> int:
        """Steps of the whole recipe."""
        return self.epochs * self.steps_per_epoch

    def batch(self, step: int) -> np.ndarray:
        """Indices of the examples of a step, counted from 1: (at most global_batch,) int64. Raises ValueError."""
        if not 1 <= step <= self.n_steps:
            raise ValueError(f"step {step} is not one of the {self.n_steps} steps of this recipe")
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        start = place * self.global_batch
        return permutation(self.n_examples, self.seed, epoch)[start : start + self.global_batch]


def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """(n,) int64: a permutation by sorting raw Philox numbers, whose stream NumPy promises never to change."""
    keys = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)).random_raw(n)
    return np.argsort(keys, kind="stable")


@dataclass(frozen=True)
class TrainingPack:
    """Examples that go through the model at once; the sequences of an example stay together, in order."""

    examples: tuple[Example, ...]
    pack: Pack


def training_packs(examples: Sequence[Example], tokens_per_pack: int) -> list[TrainingPack]:
    """The packs of one global batch, by `packing.bins` over the tokens of whole examples.

    An example longer than `tokens_per_pack` has a pack of its own. Raises ValueError for an empty sequence.
    """
    return [
        TrainingPack(members, pack([ids for member in members for ids in member.sequences]))
        for one in bins([n_tokens(example) for example in examples], tokens_per_pack)
        for members in (tuple(examples[index] for index in one),)
    ]


def n_tokens(example: Example) -> int:
    """Tokens of all sequences of an example."""
    return sum(len(ids) for ids in example.sequences)
