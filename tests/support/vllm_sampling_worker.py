"""Samples from models with vLLM, in a separate process: `python vllm_sampling_worker.py ORDERS ANSWERS`.

Orders and answers are JSON. An order: folder, policy, ends, and requests as token ids and seed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from models_train.errors import UserError
from models_train.modeling.base_models import ModelSource
from models_train.policies.sampling import Request
from models_train.policies.vllm_sampling import load_vllm_sampler
from models_train.study.teachers import Policy


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """Token ids, log-probabilities and ends of each request: asked together, and some of them in the reverse order."""
    source = ModelSource(order["policy"]["policy_id"], order["folder"])
    policy = Policy.model_validate(order["policy"])
    requests = [Request(tuple(ids), seed) for ids, seed in order["requests"]]
    longest = max(len(one.token_ids) for one in requests)
    try:
        sampler = load_vllm_sampler(source, policy, order["ends"], order["largest_token_id"], longest)
    except UserError as error:
        return {"refusal": str(error)}
    some = requests[:40:3]
    return {
        "together": [vars(one) for one in sampler.sampled(requests)],
        "apart": [vars(one) for one in reversed(sampler.sampled(some[::-1]))],
    }


if __name__ == "__main__":
    orders, answers = map(Path, sys.argv[1:])
    answers.write_text(json.dumps([answer(order) for order in json.loads(orders.read_text())]))
