"""Token scores by Transformers alone: one document at a time, eager attention, float64, the whole logits matrix."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from models_train.logprobs.engine import Request


def double(model: PreTrainedModel) -> PreTrainedModel:
    """The model in float64."""
    plain = copy.deepcopy(model).double().eval()
    plain.set_attn_implementation("eager")
    return plain


@torch.no_grad()
def plain_scores(model: PreTrainedModel, token_ids: Sequence[int], n_vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of every token but the first, and their Min-K%++ scores as its authors' code has them."""
    logits = model(torch.tensor([list(token_ids)])).logits[0, :-1, :n_vocabulary]
    targets = torch.tensor(list(token_ids[1:]))[:, None]
    probs = logits.softmax(-1)
    log_probs = logits.log_softmax(-1)
    found = log_probs.gather(-1, targets)[:, 0]
    mu = (probs * log_probs).sum(-1)
    sigma = (probs * log_probs.square()).sum(-1) - mu.square()
    return found.numpy(), ((found - mu) / sigma.sqrt()).numpy()


def requests(token_ids: Sequence[Sequence[int]]) -> list[Request]:
    """Requests for token ids that begin with BOS."""
    return [Request(f"document {n}", np.array(ids, np.int64)) for n, ids in enumerate(token_ids)]


def random_documents(
    n_vocabulary: int, lengths: Sequence[int] = (40, 2, 100, 17, 64, 3, 33), seed: int = 0
) -> list[list[int]]:
    """Token ids of documents of such lengths, BOS (1) included."""
    generator = np.random.default_rng(seed)
    return [[1, *generator.integers(3, n_vocabulary, length - 1).tolist()] for length in lengths]
