"""From hidden states to log-probabilities of given tokens, without the matrix of tokens x vocabulary.

The logits are made tile by tile (some tokens, some columns of the vocabulary) and reduced in fp32 or better as they
come, with a running maximum: log-sum-exp, and where asked mean and variance of the log-probability under the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel

TILE = {"cpu": (1024, 512), "cuda": (4096, 2048)}
"""Tokens and columns of a tile: enough for a fast matrix product, few enough to stay in a cache while it is reduced."""
SMALLEST_DEVIATION = 1e-6
"""Smallest standard deviation, in nats: a model that is certain of a token would divide by zero."""


@dataclass(frozen=True)
class Statistics:
    """logprobs: (n_tokens,) of the target tokens. standardised: (n_tokens,) as in Min-K%++, or None."""

    logprobs: torch.Tensor
    standardised: torch.Tensor | None


@dataclass(frozen=True)
class Head:
    """The last layer of a language model, from hidden states to logits.

    weight: (n_vocabulary, width), tied or not. bias: (n_vocabulary,) or None. scale: logits are multiplied by it.
    softcap: then they become cap x tanh(logits / cap).
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float = 1.0
    softcap: float | None = None

    def statistics(self, hidden: torch.Tensor, targets: torch.Tensor, standardise: bool) -> Statistics:
        """Statistics of the target tokens.

        hidden: (n_tokens, width) of the positions that predict them. targets: (n_tokens,) int64, token ids below
        n_vocabulary. Memory: a few tiles.
        """
        n_tokens, n_columns = TILE.get(hidden.device.type, TILE["cpu"])
        parts = [
            self._rows(rows, wanted, n_columns, standardise)
            for rows, wanted in zip(hidden.split(n_tokens), targets.split(n_tokens), strict=True)
        ]
        logprobs = torch.cat([part.logprobs for part in parts])
        if not standardise:
            return Statistics(logprobs, None)
        return Statistics(logprobs, torch.cat([part.standardised for part in parts if part.standardised is not None]))

    def _rows(self, hidden: torch.Tensor, targets: torch.Tensor, n_columns: int, standardise: bool) -> Statistics:
        exact = torch.promote_types(hidden.dtype, torch.float32)
        space = torch.empty(len(hidden) * n_columns, dtype=exact, device=hidden.device)
        sums = _Sums(standardise)
        for first in range(0, len(self.weight), n_columns):
            sums.add(self._logits(hidden, slice(first, first + n_columns), space))
        wanted = torch.linalg.vecdot(hidden.to(exact), self.weight[targets].to(exact))
        wanted = self._shaped(wanted, None if self.bias is None else self.bias[targets])
        # The same logit comes here by another order of additions than in the sum that it is a part of.
        logprobs = (wanted - sums.log_sum_exp).clamp_(max=0.0)
        if not standardise:
            return Statistics(logprobs, None)
        mean, deviation = sums.moments
        return Statistics(logprobs, (logprobs - mean) / deviation.clamp_(min=SMALLEST_DEVIATION))

    def _logits(self, hidden: torch.Tensor, columns: slice, space: torch.Tensor) -> torch.Tensor:
        """Logits of some columns, (n_tokens, columns), in fp32 or better; in `space` where they can be."""
        weight = self.weight[columns]
        if hidden.dtype == space.dtype:
            logits = torch.mm(hidden, weight.t(), out=space[: len(hidden) * len(weight)].view(len(hidden), len(weight)))
        elif hidden.is_cuda:
            logits = torch.mm(hidden, weight.t(), out_dtype=space.dtype)
        else:
            logits = F.linear(hidden.to(space.dtype), weight.to(space.dtype))
        return self._shaped(logits, None if self.bias is None else self.bias[columns])

    def _shaped(self, logits: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Bias, scale and soft-capping, in place."""
        if bias is not None:
            logits += bias
        if self.scale != 1.0:
            logits *= self.scale
        if self.softcap is not None:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits


class _Sums:
    """Sums over the vocabulary, tile by tile, of e^x, x e^x and x^2 e^x, with x = logit - the largest logit so far."""

    def __init__(self, moments: bool) -> None:
        self._moments = moments
        self._top: torch.Tensor | None = None
        self._sums: list[torch.Tensor] = []

    def add(self, logits: torch.Tensor) -> None:
        """Take in a tile (n_tokens, columns), which is overwritten."""
        top = logits.amax(1)
        if self._top is not None:
            top = torch.maximum(self._top, top)
        sums = self._row_sums(logits.sub_(top[:, None]))
        if self._top is not None:
            sums = [new + old for new, old in zip(sums, self._moved(self._top - top), strict=True)]
        self._top, self._sums = top, sums

    def _row_sums(self, x: torch.Tensor) -> list[torch.Tensor]:
        if not self._moments:
            return [torch.exp_(x).sum(1)]
        shares = torch.exp(x)
        return [shares.sum(1), shares.mul_(x).sum(1), shares.mul_(x).sum(1)]

    def _moved(self, by: torch.Tensor) -> list[torch.Tensor]:
        """The sums up to now, with `by` added to every x."""
        factor = torch.exp(by)
        total, *rest = self._sums
        if not rest:
            return [factor * total]
        first, second = rest
        return [factor * total, factor * (first + by * total), factor * (second + by * (2 * first + by * total))]

    @property
    def log_sum_exp(self) -> torch.Tensor:
        """(n_tokens,)"""
        assert self._top is not None
        return self._top + torch.log(self._sums[0])

    @property
    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation, each (n_tokens,), of the log-probability of a token drawn from the model."""
        total, first, second = self._sums
        mean = first / total
        variance = (second / total - mean.square()).clamp_(min=0.0)
        return mean - torch.log(total), variance.sqrt()


def head_of(model: PreTrainedModel, n_vocabulary: int) -> Head:
    """The first `n_vocabulary` rows of a causal language model's head, with the scale and soft-cap of its logits."""
    layer = model.get_output_embeddings()
    config = model.config.get_text_config()
    bias = getattr(layer, "bias", None)
    # Cohere multiplies, Granite divides, Falcon-H1 multiplies under another name.
    scale = getattr(config, "logit_scale", None) or getattr(config, "lm_head_multiplier", None) or 1.0
    scale /= getattr(config, "logits_scaling", None) or 1.0
    return Head(
        layer.weight[:n_vocabulary],
        None if bias is None else bias[:n_vocabulary],
        float(scale),
        getattr(config, "final_logit_softcapping", None),
    )
