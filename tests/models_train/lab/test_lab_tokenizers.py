"""A model of the lab is pre-trained on the tokens that its folder's tokenizer yields, whatever the architecture."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from models_train.lab.corpora import documents
from models_train.lab.world import _as_loaded
from models_train.lab.zoo import new_model, train_tokenizer
from models_train.lab_settings import DOMAINS, LabModel

VOCABULARY = 400


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2"])
def test_training_and_folder_have_the_same_tokens(tmp_path: Path, architecture: str) -> None:
    mix = {"Book": 1.0}
    spec = LabModel.model_validate(
        {"model_id": "m", "architecture": architecture, "hidden": 32, "layers": 1, "pretraining_tokens": 1, "mix": mix}
    )
    model = new_model(spec, VOCABULARY, 0)
    trained_with = _as_loaded(model, train_tokenizer(VOCABULARY, 0))
    model.save_pretrained(tmp_path)
    trained_with.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for domain in DOMAINS:
        for text in islice(documents(domain, 1), 3):
            ids = loaded(text)["input_ids"]
            assert ids == trained_with(text)["input_ids"]
            assert ids[0] == 0 and max(ids) < VOCABULARY
            assert loaded.decode(ids, skip_special_tokens=True) == text
