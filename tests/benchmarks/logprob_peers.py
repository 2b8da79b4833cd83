"""One way to score documents, in a separate process: `python logprob_peers.py PEER FOLDER OUT`.

FOLDER holds a model and documents.json, lists of token ids that begin with BOS. Timed is the scoring alone, on a warm
model, and the best of TURNS counts. Memory is the largest resident set while scoring minus that after loading and
warming up.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from models_train.logprobs.engine import Engine, Request, score
from models_train.logprobs.packed_engine import model_on_device, packed_engine
from models_train.logprobs.vllm_engine import load_vllm_engine
from models_train.modeling.base_models import ModelSource

Documents = list[list[int]]
Scorer = Callable[[Documents], list[float]]
"""Sums of log-probabilities of the documents, in their order."""

LONGEST = 1024
TURNS = 2


def padded(folder: Path, n_rows: int, is_sorted: bool) -> Scorer:
    """Transformers on padded batches of `n_rows` documents, log_softmax over all logits, gather."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()

    @torch.inference_mode()
    def scorer(documents: Documents) -> list[float]:
        order = list(range(len(documents)))
        if is_sorted:
            order.sort(key=lambda place: -len(documents[place]))
        sums = [0.0] * len(documents)
        for first in range(0, len(order), n_rows):
            places = order[first : first + n_rows]
            width = max(len(documents[place]) for place in places)
            ids = torch.zeros(len(places), width, dtype=torch.long)
            mask = torch.zeros(len(places), width, dtype=torch.long)
            for row, place in enumerate(places):
                ids[row, : len(documents[place])] = torch.tensor(documents[place])
                mask[row, : len(documents[place])] = 1
            logits = model(input_ids=ids[:, :-1], attention_mask=mask[:, :-1], use_cache=False).logits
            found = logits.float().log_softmax(-1).gather(-1, ids[:, 1:, None])[:, :, 0] * mask[:, 1:]
            for place, total in zip(places, found.sum(1).tolist(), strict=True):
                sums[place] = total
        return sums

    return scorer


def by_engine(engine: Engine) -> Scorer:
    """One of the engines of the product."""

    def scorer(documents: Documents) -> list[float]:
        asked = [Request(str(place), np.array(ids, np.int64)) for place, ids in enumerate(documents)]
        return [float(one.logprobs.sum(dtype=np.float64)) for one in score(engine, asked)]

    return scorer


def peer(name: str, folder: Path, n_vocabulary: int) -> Scorer:
    """packed, packed_moments, vllm, sorted_N and unsorted_N (batches of N documents)."""
    source = ModelSource("bench", str(folder))
    if name.startswith("packed"):
        model = model_on_device(source, torch.float32)
        return by_engine(packed_engine(name, model, n_vocabulary - 1, 16_384, name == "packed_moments"))
    if name == "vllm":
        return by_engine(load_vllm_engine(source, n_vocabulary - 1, torch.float32, LONGEST, 16_384))
    kind, n_rows = name.split("_")
    return padded(folder, int(n_rows), kind == "sorted")


def memory(field: str) -> int:
    """Bytes of a line of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise KeyError(field)


def measured(name: str, folder: Path) -> dict[str, object]:
    """Seconds, sums and memory of one peer."""
    n_vocabulary = json.loads((folder / "config.json").read_text())["vocab_size"]
    documents: Documents = json.loads((folder / "documents.json").read_text())
    scorer = peer(name, folder, n_vocabulary)
    scorer([documents[0][:16], documents[1][:9]])
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    seconds = []
    for _ in range(TURNS):
        began = time.perf_counter()
        sums = scorer(documents)
        seconds.append(time.perf_counter() - began)
    return {
        "seconds": min(seconds),
        "sums": sums,
        "bytes": memory("VmHWM") - before,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(measured(sys.argv[1], Path(sys.argv[2]))))
