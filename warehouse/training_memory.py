"""Estimate of the memory that the training of a reward model needs, from the number of parameters alone.

It follows the memory plan of a run (`models_train/reward_models/memory.py`), which measures a model's configuration and
decides; a test compares the two on published shapes. One device, bfloat16, gradient checkpointing.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3
TOKENS = 8192
"""Tokens of the longest pair: two sequences of the default max_tokens."""
MARGIN = 0.08
"""Share of a device that the plan leaves free."""
CONTEXT_BYTES = GIB
"""Memory of driver and libraries, in bytes."""
BYTES_PER_WEIGHT = {"AdamW": 18.0, "8-bit AdamW": 12.03125, "AdamW on the host": 6.0}
"""Weights, gradients and optimizer state on the device, in bytes per weight, by optimizer; in the plan's order."""
HOST_BYTES_PER_WEIGHT = 16.0
"""Masters, moments and gradients in the memory of the host, in bytes per weight, where the optimizer is there."""
ACTIVATION_BYTES = 0.3
"""Activations in bytes per token and n^(2/3), n weights: depth and width both grow with the cube root."""
CAPPED_ACTIVATION_BYTES = 0.65
"""The same where attention logits are soft-capped, so that whole matrices of attention are kept."""
SOFT_CAPPED = ("gemma-2", "gemma2")
"""Beginnings of such families."""
WORKING_BYTES = 30_000
"""Working memory in bytes per square root of n: two copies of the embeddings, or of the largest layer."""


@dataclass(frozen=True)
class Estimate:
    """A way to train. device_gib: memory that the device must have. host_gib: of the host; 0 for none."""

    optimizer: str
    device_gib: float
    host_gib: float

    def __str__(self) -> str:
        host = f" and {self.host_gib:.0f} GiB on the host" if self.host_gib else ""
        return f"{self.optimizer}, about {self.device_gib:.1f} GiB{host}"


def ways_to_train(params_b: float, family: str) -> list[Estimate]:
    """Estimates in the order of the plan, from the most memory to the least. params_b: billions of parameters."""
    n = params_b * 1e9
    each = CAPPED_ACTIVATION_BYTES if family.lower().startswith(SOFT_CAPPED) else ACTIVATION_BYTES
    rest = CONTEXT_BYTES + TOKENS * each * n ** (2 / 3) + WORKING_BYTES * n**0.5
    return [
        Estimate(
            optimizer,
            (per_weight * n + rest) / (1 - MARGIN) / GIB,
            HOST_BYTES_PER_WEIGHT * n / (1 - MARGIN) / GIB if optimizer.endswith("host") else 0.0,
        )
        for optimizer, per_weight in BYTES_PER_WEIGHT.items()
    ]


def way_within(params_b: float, family: str, memory_gib: float) -> Estimate | None:
    """The first way to train that fits on a device of memory_gib; None where none does."""
    return next((way for way in ways_to_train(params_b, family) if way.device_gib <= memory_gib), None)
