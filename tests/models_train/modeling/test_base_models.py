"""Base models by folder and by hub id: what is loaded, and what is refused, with words."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    dynamic_module_utils,
)

from models_train.errors import UserError
from models_train.modeling.base_models import (
    ModelSource,
    context_length,
    load_config,
    load_model,
    load_tokenizer,
    model_source,
    refuse_not_finite,
)
from models_train.modeling.packing import pack
from models_train.reward_models.export import Card, save_reward_model
from models_train.reward_models.model import RewardModel
from models_train.study.fingerprints import LocationError, content_of
from models_train.study.models import StudyModel
from tests.support.tiny_models import SIZES, byte_tokenizer, one_by_one, random_base, sequences, write_base

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def study_model(hub_id: str, **settings: object) -> StudyModel:
    return StudyModel.model_validate(
        {"model_id": "tiny", "hub_id": hub_id, "family": "Llama", "stage": "base"} | settings
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama; tests that spoil it take a copy."""
    return write_base(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def copied(base: Path, tmp_path: Path) -> ModelSource:
    """A copy of the tiny Llama."""
    shutil.copytree(base, tmp_path / "base")
    return ModelSource("tiny", str(tmp_path / "base"))


def test_a_folder_is_found_from_the_study_file_and_named_by_its_content(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS", str(base.parent))
    for hub_id in ("./base", str(base), "$MODELS/base"):
        source = model_source(study_model(hub_id), base.parent)
        assert source == ModelSource("tiny", str(base), None, False, content_of(base))
        assert source.stated_revision == content_of(base)
    with pytest.raises(LocationError, match="correct the path"):
        model_source(study_model("./elsewhere"), base.parent)


def test_what_is_loaded_is_what_was_saved(base: Path) -> None:
    source = ModelSource("tiny", str(base))
    wanted = random_base(LlamaConfig(**SIZES)).state_dict()
    for dtype in (torch.float32, torch.bfloat16):
        model = load_model(source, AutoModelForCausalLM, dtype)
        assert model.dtype == dtype and not model.training
        assert all(torch.equal(one, wanted[name].to(dtype)) for name, one in model.state_dict().items())
    assert load_config(source).num_hidden_layers == 2
    assert load_tokenizer(source)("a")["input_ids"] == byte_tokenizer()("a")["input_ids"]


def test_the_context_is_what_the_configuration_says() -> None:
    assert context_length(LlamaConfig(**SIZES)) == 512
    assert context_length(PreTrainedConfig()) is None


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model.safetensors", b"\x00" * 5, r": model\.safetensors is cut short or damaged; download the files again"),
        ("model.safetensors", b"\xff" * 500, r": model\.safetensors is cut short or damaged; download the files again"),
        ("config.json", b"{", r": config\.json is not JSON: .*; download the files again"),
        (
            "config.json",
            b'{"model_type": "llama", "hidden_size": "many"}',
            " cannot be loaded: .*hidden_size.* Correct hub",
        ),
        (
            "config.json",
            b'{"model_type": "of another world"}',
            " cannot be loaded: .*of another world.* Correct hub_id",
        ),
    ],
)
def test_damaged_files_are_told(copied: ModelSource, file: str, content: bytes, said: str) -> None:
    (Path(copied.place) / file).write_bytes(content)
    with pytest.raises(UserError, match=f"^tiny: {copied.place}{said}"):
        load_model(copied, AutoModelForCausalLM, torch.float32)


def test_a_damaged_tokenizer_is_told(copied: ModelSource) -> None:
    for content, said in {"{": ": tokenizer.json is not JSON", '{"model": 3}': " cannot be loaded: "}.items():
        (Path(copied.place) / "tokenizer.json").write_text(content)
        with pytest.raises(UserError, match=f"^tiny: {copied.place}{said}"):
            load_tokenizer(copied)


def test_missing_weights_are_never_made_up(copied: ModelSource) -> None:
    file = Path(copied.place) / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 of the model's weights, such as model\.layers\.1\.mlp\.up_proj"):
        load_model(copied, AutoModelForCausalLM, torch.float32)
    with pytest.raises(UserError, match="lacks 1"):
        load_model(copied, AutoModelForSequenceClassification, torch.float32, may_miss=("score.weight",), num_labels=1)
    may_miss = ("score.weight", "model.layers.1.mlp.up_proj.weight")
    load_model(copied, AutoModelForSequenceClassification, torch.float32, may_miss=may_miss, num_labels=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    model = random_base(Qwen2Config(**SIZES))
    refuse_not_finite(model, "tiny")
    with torch.no_grad():
        model.model.layers[1].self_attn.q_proj.bias[7] = value
    with pytest.raises(UserError, match=r"tiny: the weights model\.layers\.1\.self_attn\.q_proj\.bias hold NaN"):
        refuse_not_finite(model, "tiny")


def test_pickled_weights_are_refused_unread(copied: ModelSource) -> None:
    folder = Path(copied.place)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights; save the model as safetensors"):
        load_model(copied, AutoModelForCausalLM, torch.float32)
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(UserError, match=r"holds only pytorch_model\.bin, which loading would run as code"):
        load_model(copied, AutoModelForCausalLM, torch.float32)
    assert not Path("pwned").exists()


CODE = """
import os
from torch import nn
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

os.environ["TINY_CODE_RAN"] = "yes"


class TinyConfig(LlamaConfig):
    model_type = "tiny_code"


class TinyForSequenceClassification(LlamaPreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        last = hidden.shape[1] - 1 if attention_mask is None else attention_mask.sum(1) - 1
        return SequenceClassifierOutputWithPast(logits=self.score(hidden[range(len(hidden)), last]))
"""
AUTO_MAP = {
    "AutoConfig": "tiny_code.TinyConfig",
    "AutoModelForSequenceClassification": "tiny_code.TinyForSequenceClassification",
}


@pytest.fixture
def with_code(copied: ModelSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny Llama as a repository that brings its own code."""
    folder = Path(copied.place)
    (folder / "tiny_code.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "tiny_code", "architectures": ["TinyForSequenceClassification"], "auto_map": AUTO_MAP}
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.delenv("TINY_CODE_RAN", raising=False)
    return folder


def test_code_of_a_repository_does_not_run_unlisted(with_code: Path) -> None:
    source = ModelSource("tiny", str(with_code))
    said = r"tiny: .* cannot be loaded: .*custom code.* set remote_code: true"
    with pytest.raises(UserError, match=said):
        load_config(source)
    with pytest.raises(UserError, match=said):
        RewardModel.from_base(source, 1, 0, torch.float32)
    with pytest.raises(UserError, match=said):
        load_model(source, AutoModelForCausalLM, torch.float32)
    load_tokenizer(source)
    assert "TINY_CODE_RAN" not in os.environ


def test_listed_code_makes_a_reward_model_that_brings_it_along(with_code: Path, tmp_path: Path) -> None:
    source = ModelSource("tiny", str(with_code), COMMIT, remote_code=True)
    model = RewardModel.from_base(source, 1, 0, torch.float32)
    assert os.environ["TINY_CODE_RAN"] == "yes" and model.module.is_packed
    token_ids = sequences()
    with torch.no_grad():
        wanted = model.rewards(pack(token_ids))
        save_reward_model(model, tmp_path / "rm", byte_tokenizer(), Card("org/tiny", COMMIT, "bradley_terry"))
        with pytest.raises(UserError, match="custom code"):
            RewardModel.load(tmp_path / "rm", torch.float32)
        loaded = RewardModel.load(tmp_path / "rm", torch.float32, remote_code=True)
        assert torch.equal(loaded.rewards(pack(token_ids)), wanted)
        alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", trust_remote_code=True)
        assert torch.allclose(one_by_one(alone, token_ids), wanted, atol=1e-5)


def test_another_family_of_the_library_needs_no_listing(tmp_path: Path) -> None:
    """Phi-3's repositories name their own code, too; the library's own class is taken."""
    folder = write_base(tmp_path / "base", Phi3Config(**SIZES))
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3"}
    (folder / "config.json").write_text(json.dumps(config))
    model = load_model(ModelSource("tiny", str(folder)), AutoModelForCausalLM, torch.float32)
    assert type(model).__module__.startswith("transformers.models.phi3")
