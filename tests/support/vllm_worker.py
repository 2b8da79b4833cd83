"""Scores documents of several models with vLLM, in a separate process: `python vllm_worker.py ORDERS ANSWERS`.

Importing vLLM takes long and changes the process, so that all tests share one. Orders and answers are JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models_train.errors import UserError
from models_train.logprobs.engine import Request, score
from models_train.logprobs.vllm_engine import ENVIRONMENT, load_vllm_engine
from models_train.modeling.base_models import ModelSource


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Status and log-probabilities of each document, asked in their order and in the reverse; or the refusal."""
    source = ModelSource(order["name"], order["folder"])
    try:
        engine = load_vllm_engine(source, order["largest_token_id"], torch.float32, order["most_tokens"], 64)
    except UserError as error:
        return {"refusal": str(error)}
    asked = [Request(str(n), np.array(ids, np.int64)) for n, ids in enumerate(order["documents"])]
    forth, back = score(engine, asked), score(engine, asked[::-1])[::-1]
    return {
        "statuses": [one.status for one in forth],
        "forth": [one.logprobs.tolist() for one in forth],
        "back": [one.logprobs.tolist() for one in back],
        "has_standardised": any(one.standardised is not None for one in forth),
        "n_vocabulary": engine.n_vocabulary,
        "context": engine.context,
    }


def look_at_models_here(folders: list[str]) -> None:
    """Where vLLM does not know a family yet, it starts a process of many seconds to look at its code."""
    os.environ.update(ENVIRONMENT)
    from vllm import ModelRegistry

    for folder in folders:
        (family,) = json.loads((Path(folder) / "config.json").read_text())["architectures"]
        ModelRegistry.register_model(family, ModelRegistry.models[family].load_model_cls())


if __name__ == "__main__":
    orders = json.loads(Path(sys.argv[1]).read_text())
    look_at_models_here([order["folder"] for order in orders])
    Path(sys.argv[2]).write_text(json.dumps({order["name"]: answer(order) for order in orders}))
