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
from models_train.logprobs import vllm_engine
from models_train.logprobs.engine import Request, score
from models_train.logprobs.scorer import load_engine
from models_train.logprobs.vllm_engine import ENVIRONMENT, load_vllm_engine
from models_train.modeling.base_models import ModelSource
from models_train.study.scoring import Corpus, Scoring
from models_train.study.training import DataSource

FAULTS: dict[str, Any] = {"_leave_out_rows_beyond": lambda model, n_vocabulary: None}
"""Functions of the vLLM engine, and what replaces each: the whole vocabulary, unused rows included."""


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Status and log-probabilities of each document, asked in their order and in the reverse; or the refusal."""
    source = ModelSource(order["name"], order["folder"])
    asked = [Request(str(n), np.array(ids, np.int64)) for n, ids in enumerate(order["documents"])]
    if "engines" in order:
        return choice(order, source, asked)
    try:
        engine = load_vllm_engine(source, order["largest_token_id"], torch.float32, order["most_tokens"], 64)
    except UserError as error:
        return {"refusal": str(error)}
    forth, back = score(engine, asked), score(engine, asked[::-1])[::-1]
    return {
        "statuses": [one.status for one in forth],
        "forth": [one.logprobs.tolist() for one in forth],
        "back": [one.logprobs.tolist() for one in back],
        "has_standardised": any(one.standardised is not None for one in forth),
        "n_vocabulary": engine.n_vocabulary,
        "context": engine.context,
    }


def choice(order: dict[str, Any], source: ModelSource, asked: list[Request]) -> dict[str, Any]:
    """The engine that is chosen among `engines`, and what is said; fault: planted in the vLLM engine."""
    scoring = Scoring(corpus=Corpus(name="texts", source=DataSource(path="texts")), precision="float32")
    said: list[str] = []
    sound = {name: getattr(vllm_engine, name) for name in FAULTS}
    if "fault" in order:
        setattr(vllm_engine, order["fault"], FAULTS[order["fault"]])
    try:
        engine = load_engine(
            scoring, order["engines"], source, order["largest_token_id"], order["most_tokens"], asked, said.append
        )
        return {"chosen": engine.name, "said": said}
    except UserError as error:
        return {"refusal": str(error), "said": said}
    finally:
        for name, function in sound.items():
            setattr(vllm_engine, name, function)


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
