"""Presence scores: how well a base model knows a document, from the log-probabilities of its tokens.

Definitions, Section 7; the presence score is Equation 10 of the paper. No engine, no tokenizer, no torch.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]

LOWEST_PERCENT = 20
"""k of Min-K% and Min-K%++, in percent of the tokens."""


@dataclass(frozen=True)
class Presence:
    """Scores of one document; natural logarithms.

    logprob_sum: of the scored tokens. presence_score: logprob_sum / scored tokens. bits_per_byte: comparable across
    tokenizers; None where the tokens cover no byte, as is logprob_per_zlib_byte. min_k_plus_plus: None where the engine
    gives no standardised scores.
    """

    logprob_sum: float
    presence_score: float
    bits_per_byte: float | None
    min_k: float
    min_k_plus_plus: float | None
    logprob_per_zlib_byte: float | None


def presence(logprobs: Scores, standardised: Scores | None, scored_text: bytes) -> Presence:
    """Scores of a document.

    logprobs: (n,) log p(t_i | t_<i) of the scored tokens. standardised: (n,) the same minus the mean of the log-prob
    over the vocabulary, over its standard deviation; both under the model (Min-K%++, arXiv 2404.02936, Equation 3).
    scored_text: the bytes that those tokens cover. Raises ValueError for no tokens and for values that are not finite.
    """
    for values in (logprobs, standardised):
        if values is not None and not (len(values) and np.isfinite(values).all()):
            raise ValueError("a presence score needs at least one token, and finite values")
    total = float(np.sum(logprobs, dtype=np.float64))
    n_bytes = len(scored_text)
    return Presence(
        logprob_sum=total,
        presence_score=total / len(logprobs),
        bits_per_byte=-total / (math.log(2) * n_bytes) if n_bytes else None,
        min_k=lowest_mean(logprobs),
        min_k_plus_plus=None if standardised is None else lowest_mean(standardised),
        logprob_per_zlib_byte=total / len(zlib.compress(scored_text)) if n_bytes else None,
    )


def lowest_mean(values: Scores) -> float:
    """Mean of the lowest LOWEST_PERCENT % of the values (Min-K%, arXiv 2310.16789, Equation 2)."""
    n = n_lowest(len(values))
    return float(np.partition(values, n - 1)[:n].mean(dtype=np.float64))


def n_lowest(n_tokens: int) -> int:
    """Tokens that are LOWEST_PERCENT % of n_tokens: rounded down, as the authors' code does, but at least one."""
    return max(1, n_tokens * LOWEST_PERCENT // 100)
