"""The engine that the settings of a study ask for."""

from __future__ import annotations

import torch

from models_train.logprobs.engine import Engine
from models_train.logprobs.packed_engine import load_packed_engine
from models_train.logprobs.vllm_engine import load_vllm_engine
from models_train.modeling.base_models import ModelSource
from models_train.study.scoring import Scoring


def load_engine(scoring: Scoring, source: ModelSource, largest_token_id: int, most_tokens: int) -> Engine:
    """The engine with the base model in it. most_tokens: of a document, BOS included.

    Raises BackboneError where the model cannot be loaded, and EngineError where the engine cannot run it.
    """
    dtype = getattr(torch, scoring.precision)
    if scoring.engine == "vllm":
        return load_vllm_engine(source, largest_token_id, dtype, most_tokens, scoring.tokens_per_pack)
    return load_packed_engine(source, largest_token_id, dtype, scoring.tokens_per_pack, scoring.min_k_plus_plus)
