"""Pairs whose lengths are spread as in HelpSteer2: log-normal prompts and responses, the prompt shared by a pair."""

from __future__ import annotations

import numpy as np

from models_train.reward_models.data import TokenPair

PROMPT = (56.0, 1.44)
"""Median tokens, and standard deviation of the logarithm."""
RESPONSE = (274.0, 0.62)
MOST = 4096


def pairs_of_lengths(n: int, vocabulary: int, scale: float = 1.0, seed: int = 0) -> list[TokenPair]:
    """Random tokens from 3 on; sequences of about 400 x `scale` tokens at the median, with a heavy tail."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        prompt = np.exp(random.normal(np.log(PROMPT[0]), PROMPT[1]))
        ends = np.exp(random.normal(np.log(RESPONSE[0]), RESPONSE[1], size=2))
        lengths = np.maximum(1, np.minimum(prompt + ends, MOST) * scale).astype(int)
        shared = random.integers(3, vocabulary, size=int(min(prompt * scale, *lengths)))
        both = [[*shared, *random.integers(3, vocabulary, size=length - len(shared))] for length in lengths]
        found.append(TokenPair(*([int(token) for token in ids] for ids in both)))
    return found
