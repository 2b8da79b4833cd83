"""The zoo's tokenizer: one for all architectures, also after a model folder is loaded again."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from models_train.study.lab import LabModel
from models_train.study.scoring import DOMAINS
from models_train.synthetic.models import new_model, train_tokenizer
from models_train.synthetic.texts import documents

VOCABULARY = 400


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(VOCABULARY, 0)


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2"])
def test_a_saved_model_reads_text_as_it_was_trained_to(
    architecture: str, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """Transformers may load another class of tokenizer than was saved: it must read alike."""
    spec = LabModel(model_id="m", architecture=architecture, hidden=16, layers=1)  # type: ignore[arg-type]
    new_model(spec, len(tokenizer), 0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert len(loaded) == len(tokenizer) == VOCABULARY
    for domain in DOMAINS:
        for text in islice(documents(domain, 1), 20):
            ids = loaded(text)["input_ids"]
            assert ids == tokenizer(text)["input_ids"]
            assert max(ids) < VOCABULARY
            assert ids[0] == tokenizer.bos_token_id and loaded.decode(ids[1:]) == text
    assert (loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (0, 1, 2)
