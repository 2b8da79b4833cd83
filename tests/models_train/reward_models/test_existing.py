"""Reward models of others: the rewards of plain Transformers, and the words on what cannot be scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BloomConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    dynamic_module_utils,
)

from models_train.errors import UserError
from models_train.modeling.packing import pack
from models_train.reward_models.existing import ExistingRewardModel, load_existing
from models_train.reward_models.model import RewardModule
from models_train.study.reward_benchmarks import ScoredRewardModel
from tests.models_train.modeling.conftest import hub
from tests.support.hub_server import COMMIT, Hub
from tests.support.own_classifiers import TEMPLATE, change, write_classifier, write_own_class
from tests.support.tiny_models import (
    FAMILIES,
    SIZES,
    UNUSED,
    VOCABULARY,
    byte_tokenizer,
    one_by_one,
    padded,
    sequences,
    write_base,
)

__all__ = ["hub"]
EOS = 2
GPT2: dict[str, Any] = {"vocab_size": VOCABULARY, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 512}
CONFIGS: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama": FAMILIES["llama3"],
    "qwen2": FAMILIES["qwen2"],
    "gemma2": FAMILIES["gemma2"],
    "gpt2": lambda: GPT2Config(**GPT2, bos_token_id=1, eos_token_id=EOS),
}
FIVE = {f"LABEL_{place}": weight for place, weight in enumerate((0.5, 0.25, -1.0, 0.0, 2.0))}


@pytest.fixture(autouse=True)
def code_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of models is copied to the test's own folder."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def entry(folder: Path, **settings: Any) -> ScoredRewardModel:
    own = {"reward_id": "hub:other", "path": str(folder), "precision": "float32"}
    return ScoredRewardModel.model_validate(own | settings)


def load(folder: Path, **settings: Any) -> ExistingRewardModel:
    return load_existing(entry(folder, **settings), folder.parent)[0]


def told(folder: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, **settings)
    return str(caught.value)


def plain(folder: Path, **settings: Any) -> Any:
    """Transformers alone, with eager attention, which soft-caps."""
    loaded = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", **settings
    )
    return loaded.eval()


def far(given: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((given - wanted).abs().max() / max(1.0, float(wanted.abs().max())))


@pytest.mark.parametrize("n_outputs", [1, 5])
@pytest.mark.parametrize("family", CONFIGS)
@torch.no_grad()
def test_rewards_are_those_of_transformers(tmp_path: Path, family: str, n_outputs: int) -> None:
    """Texts end with EOS, which is the pad token of many: Transformers then reads the reward before it."""
    texts = [[*ids, EOS] if place % 2 else ids for place, ids in enumerate(sequences())]
    for pad_token_id in (None, EOS, UNUSED):
        folder = tmp_path / str(pad_token_id)
        write_classifier(folder, CONFIGS[family](), n_outputs, pad_token_id=pad_token_id)
        model = load(folder, merge_weights=FIVE if n_outputs > 1 else None)
        assert isinstance(model.module, RewardModule) and model.module.is_packed
        given = model.rewards(pack(texts))
        assert far(given, one_by_one(plain(folder), texts)) < 1e-5
        if pad_token_id is not None:
            assert far(given, padded(plain(folder), texts, "right", pad_token_id)) < 1e-5
    assert model.attributes == (("reward",) if n_outputs == 1 else tuple(FIVE))
    assert model.merge_weights == (None if n_outputs == 1 else FIVE)


@pytest.mark.parametrize(
    ("head", "is_packed"),
    [("v_head", True), ("classifier", True), ("two layers", False), ("not what it seems", False)],
)
@pytest.mark.parametrize("n_outputs", [1, 5])
@torch.no_grad()
def test_classes_of_a_repository(tmp_path: Path, head: str, is_packed: bool, n_outputs: int) -> None:
    """With bias, dropout, another name; a head that is no linear one on a hidden state has its own forward."""
    pad_token_id = EOS if n_outputs > 1 else None
    folder = write_own_class(tmp_path / "judge", LlamaConfig(**SIZES), head, n_outputs, pad_token_id=pad_token_id)
    model = load(folder, remote_code=True, merge_weights=FIVE if n_outputs > 1 else None)
    assert isinstance(model.module, RewardModule) == is_packed
    texts = [[*ids, EOS] for ids in sequences()]
    wanted = torch.cat(
        [
            plain(folder, trust_remote_code=True)(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long)).logits
            for ids in texts
        ]
    )
    assert far(model.rewards(pack(texts)), wanted) < 1e-5


@torch.no_grad()
def test_a_class_of_its_own_in_16_bits_runs_its_own_forward(tmp_path: Path) -> None:
    """A reward of a tenth, as of some published models, is as far from that of another token as rounding is."""
    folder = write_own_class(tmp_path / "judge", LlamaConfig(**SIZES), "v_head")
    model = load(folder, remote_code=True, precision="bfloat16")
    assert not isinstance(model.module, RewardModule)
    wanted = load(folder, remote_code=True).rewards(pack(sequences()))
    assert far(model.rewards(pack(sequences())), wanted) < 0.1


@torch.no_grad()
def test_a_family_that_cannot_be_packed_is_padded(tmp_path: Path) -> None:
    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_head=4, n_layer=2)
    folder = write_classifier(tmp_path / "bloom", config, pad_token_id=3)
    model = load(folder)
    assert isinstance(model.module, RewardModule) and not model.module.is_packed
    texts = [[*ids, 3] for ids in sequences()]
    assert far(model.rewards(pack(texts)), one_by_one(plain(folder), texts)) < 1e-5


@torch.no_grad()
def test_an_encoder_runs_its_own_forward(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_hidden_layers": 1,
        "intermediate_size": 48,
    }
    folder = write_classifier(tmp_path / "bert", BertConfig(vocab_size=VOCABULARY, **sizes))
    model = load(folder)
    assert not isinstance(model.module, RewardModule)
    assert far(model.rewards(pack(sequences())), one_by_one_encoder(plain(folder))) < 1e-5


def one_by_one_encoder(model: Any) -> torch.Tensor:
    return torch.cat([model(input_ids=torch.tensor([ids])).logits for ids in sequences()])


def test_bfloat16_rewards_are_finer_than_the_format(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "rm", LlamaConfig(**SIZES), pad_token_id=EOS)
    with torch.no_grad():
        rewards = load(folder, precision="bfloat16").rewards(pack(sequences(lengths=(6,) * 300)))
    assert len(set(rewards.flatten().tolist())) > 290 > len(set(rewards.bfloat16().flatten().tolist()))


def test_weights_of_outputs_by_name_number_and_config(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "rm", LlamaConfig(**SIZES), 2)
    assert load(folder, merge_weights={0: 1.0, "1": -1.0}).merge_weights == {"LABEL_0": 1.0, "LABEL_1": -1.0}
    change(folder, id2label={"0": "bad", "1": "good"}, label2id=None, merge_weights={"good": 2, "bad": 0})
    assert load(folder).merge_weights == {"bad": 0.0, "good": 2.0}
    assert load(folder).attributes == ("bad", "good")
    assert load(folder, merge_weights={"bad": -1.0, "good": 1.0}).merge_weights == {"bad": -1.0, "good": 1.0}


def with_weights(folder: Path, spoil: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    spoil(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


SPOILED: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "no head": (
        lambda folder: with_weights(folder, lambda weights: weights.pop("score.weight")),
        {},
        "holds no head of a reward model (score.weight): it is a base model, whose rewards would be random; name the",
    ),
    "head of another size": (
        lambda folder: change(folder, id2label={"0": "a", "1": "b", "2": "c"}),
        {"merge_weights": {"a": 1.0, "b": 1.0, "c": 1.0}},
        "the head score.weight has the shape (1, 32), and config.json names 3 outputs (id2label); take the config.json",
    ),
    "names without order": (
        lambda folder: change(folder, id2label={"1": "a", "2": "b"}),
        {},
        "id2label in config.json does not name outputs by their number, from 0; correct it",
    ),
    "names twice": (
        lambda folder: change(folder, id2label={"0": "a", "1": "a"}),
        {},
        "id2label in config.json names two outputs alike",
    ),
    "names as a list": (lambda folder: change(folder, id2label=["a"]), {}, "does not name outputs by their number"),
    "no number of outputs": (
        lambda folder: change(folder, id2label=None, label2id=None, num_labels="one"),
        {},
        "num_labels in config.json is 'one'; correct it",
    ),
    "several outputs": (
        lambda folder: change(folder, id2label={"0": "helpful", "1": "harmless"}),
        {},
        "has 2 outputs (helpful, harmless), and nothing says how they make one reward; state merge_weights in the",
    ),
    "unknown output": (
        lambda folder: change(folder, id2label={"0": "helpful", "1": "harmless"}),
        {"merge_weights": {"helpfull": 1.0, "harmless": 1.0}},
        "merge_weights names 'helpfull', which is no output of it; did you mean 'helpful'?",
    ),
    "missing output": (
        lambda folder: change(folder, id2label={"0": "helpful", "1": "harmless", "2": "long"}),
        {"merge_weights": {"helpful": 1.0, "harmless": 1.0}},
        "merge_weights has no weight of long; give each output one, 0 where it does not count",
    ),
    "output twice": (
        lambda folder: change(folder, id2label={"0": "helpful", "1": "harmless"}),
        {"merge_weights": {"helpful": 1.0, "0": 1.0}},
        "merge_weights has two weights of 'helpful'; keep one",
    ),
    "weights of one output": (
        lambda folder: None,
        {"merge_weights": {"0": 1.0, "1": 1.0}},
        "has one output, which is the reward; remove merge_weights",
    ),
    "weights that are none": (
        lambda folder: change(folder, id2label={"0": "a", "1": "b"}, merge_weights={"a": "high"}),
        {},
        "merge_weights in config.json are no numbers by output; state merge_weights in the study file",
    ),
    "quantised": (
        lambda folder: change(folder, quantization_config={"quant_method": "gptq", "bits": 4}),
        {},
        "is quantised (gptq), by quantization_config in config.json; quantised weights can be neither",
    ),
    "packed weights": (
        lambda folder: with_weights(
            folder, lambda weights: weights.update({"score.qweight": torch.zeros(2, dtype=torch.int32)})
        ),
        {},
        "holds quantised weights, such as score.qweight (I32)",
    ),
    "bias that the class drops": (
        lambda folder: with_weights(folder, lambda weights: weights.update({"score.bias": torch.zeros(1)})),
        {},
        "holds 1 weights that the model of config.json does not take, such as score.bias",
    ),
    "value head of TRL": (
        lambda folder: with_weights(folder, lambda w: w.update({"v_head.summary.weight": w.pop("score.weight")})),
        {},
        "lacks 1 of the model's weights, such as score.weight",
    ),
    "NaN": (
        lambda folder: with_weights(folder, lambda weights: weights["score.weight"].fill_(float("nan"))),
        {},
        "the weights score.weight hold NaN or infinity",
    ),
    "pickle": (
        lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"),
        {},
        "holds only pytorch_model.bin, which loading would run as code",
    ),
    "adapter": (
        lambda folder: (folder / "adapter_config.json").write_text("{}"),
        {},
        "holds an adapter (adapter_config.json), which is not loaded with the weights; merge it into its base model",
    ),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        {},
        "holds no tokenizer; add a tokenizer.json",
    ),
    "no template": (
        lambda folder: (folder / "chat_template.jinja").unlink(),
        {},
        "has no chat template, so it is not known how its training joined prompt and response; save that template as",
    ),
    "broken template": (
        lambda folder: (folder / "chat_template.jinja").write_text("{% for message in %}"),
        {},
        "its chat template cannot be used (the chat template refuses the conversation: Expected an expression, got",
    ),
    "template without the response": (
        lambda folder: (folder / "chat_template.jinja").write_text("constant"),
        {},
        "its chat template cannot be used (the chat template does not write the response); correct the template, or",
    ),
    "pad token outside of the vocabulary": (
        lambda folder: change(folder, pad_token_id=VOCABULARY),
        {},
        "cannot be loaded: Padding_idx must be within num_embeddings. Correct",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), {}, "holds no config.json"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_reward_model_that_cannot_be_scored_is_told(tmp_path: Path, name: str) -> None:
    spoil, settings, said = SPOILED[name]
    folder = write_classifier(tmp_path / "rm", LlamaConfig(**SIZES))
    spoil(folder)
    text = told(folder, **settings)
    assert said in text and text.startswith("hub:other: ") and "\n" not in text


def test_a_base_model_is_no_reward_model(tmp_path: Path) -> None:
    tied = write_base(tmp_path / "tied", LlamaConfig(**SIZES, tie_word_embeddings=True), byte_tokenizer(TEMPLATE))
    for folder in (tied, write_base(tmp_path / "base", tokenizer=byte_tokenizer(TEMPLATE))):
        assert "has 2 outputs (LABEL_0, LABEL_1), and nothing says how they make one reward" in told(folder)
        change(folder, id2label={"0": "reward"})
        assert "it is a base model, whose rewards would be random" in told(folder)


def test_a_class_that_gives_other_values_is_told(tmp_path: Path) -> None:
    folder = write_own_class(tmp_path / "judge", LlamaConfig(**SIZES), "not what it gives")
    said = told(folder)
    assert "its rewards are those of a class of its own (modeling_judge.Judge), whose code may not run; read" in said
    assert said.endswith("and to let it run set remote_code: true")
    text = told(folder, remote_code=True)
    assert "gives no reward for a text (it gives 32 values for a text, not 1); take it out of the study" in text


def test_a_hub_s_reward_model_is_fetched_at_its_commit(tmp_path: Path, hub: Hub) -> None:
    """Weights come last: outputs without weights are told before them."""
    folder = write_classifier(tmp_path / "rm", LlamaConfig(**SIZES), 2)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repositories["org/rm"] = files
    with pytest.raises(UserError, match=r"org/rm at 0123.* has 2 outputs \(LABEL_0, LABEL_1\), and nothing says how"):
        load_existing(hub_entry(), tmp_path)
    assert "model.safetensors" not in hub.fetched() and "config.json" in hub.fetched()
    model, renderer = load_existing(hub_entry(merge_weights={0: 1.0, 1: 0.5}), tmp_path)
    assert model.merge_weights == {"LABEL_0": 1.0, "LABEL_1": 0.5} and renderer.limit == 512
    with torch.no_grad():
        assert far(model.rewards(pack(sequences())), one_by_one(plain(folder), sequences())) < 1e-5
    with pytest.raises(
        UserError, match=r"hub:other: org/none at .* is not on .*, or is private; correct hub_id in the study"
    ):
        load_existing(hub_entry(hub_id="org/none"), tmp_path)
    with pytest.raises(UserError, match="the repository has no such revision; correct revision in the study file"):
        load_existing(hub_entry(revision="v9"), tmp_path)


def hub_entry(**settings: Any) -> ScoredRewardModel:
    own = {"reward_id": "hub:other", "hub_id": "org/rm", "revision": COMMIT, "precision": "float32"}
    return ScoredRewardModel.model_validate(own | settings)
