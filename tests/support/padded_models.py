"""Plain, padded Transformers models: what reward models on packs are compared with."""

from __future__ import annotations

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from tests.support.tiny_models import randomize

UNUSED = 270
"""A token id that no sequence holds: the reference pads with it."""


def classifier_of(config: PreTrainedConfig, n_outputs: int = 5) -> PreTrainedModel:
    """A random sequence classification model with eager attention; equal arguments give equal weights."""
    config.num_labels = n_outputs
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32, attn_implementation="eager")
    randomize(model)
    return model.eval()


def padded(model: PreTrainedModel, token_ids: list[list[int]], side: str, pad: int = UNUSED) -> torch.Tensor:
    """Rewards by Transformers alone, in one batch padded on a side."""
    longest = max(map(len, token_ids))
    rows, masks = [], []
    for ids in token_ids:
        fill = [pad] * (longest - len(ids))
        rows.append(fill + ids if side == "left" else ids + fill)
        masks.append([0] * len(fill) + [1] * len(ids) if side == "left" else [1] * len(ids) + [0] * len(fill))
    logits: torch.Tensor = model(input_ids=torch.tensor(rows), attention_mask=torch.tensor(masks)).logits
    return logits


def one_by_one(model: PreTrainedModel, token_ids: list[list[int]]) -> torch.Tensor:
    """Rewards by Transformers alone, without padding."""
    return torch.cat([model(input_ids=torch.tensor([ids]), use_cache=False).logits for ids in token_ids])
