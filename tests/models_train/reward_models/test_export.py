"""A saved reward model gives equal rewards when Transformers alone loads it, padded on either side."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from models_train import files
from models_train.data.chat import Renderer
from models_train.data.records import ATTRIBUTES, Prompt, Turn
from models_train.errors import UserError
from models_train.modeling.base_models import ModelSource
from models_train.modeling.packing import pack
from models_train.reward_models.export import Card, portable_tokenizer, save_reward_model
from models_train.reward_models.model import RewardModel, read_tensor
from tests.support.chat_tokenizers import FAMILIES as TEMPLATES
from tests.support.chat_tokenizers import chat_tokenizer
from tests.support.families import tiny_config
from tests.support.tiny_models import (
    FAMILIES,
    SIZES,
    VOCABULARY,
    byte_tokenizer,
    classifier_of,
    padded,
    sequences,
    write_base,
)

CARD = Card("org/base", "0" * 40, "regression", {"ratings": "nvidia/HelpSteer2"}, {"learning_rate": 5e-7}, {"n": 1})
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{% endif %}"
)
DATED = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string = "
    'strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}{%- endif %}'
    "{{ bos_token }}Today: {{ date_string }} ({{ strftime_now('%A') }})\n"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
)
TWO = ("<unk>", "</s>")
TURNS = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}"
TURN_TOKENS = ("<unk>", "<|im_end|>", "<|fim|>", "<|im_start|>")
PROMPT: Prompt = (Turn("user", "What is <s> in HTML?"), Turn("assistant", "Struck out."), Turn("user", "And <b>?"))


def chatml(**special: str | None) -> PreTrainedTokenizerFast:
    return byte_tokenizer(CHATML, ("<unk>", "<|im_start|>", "<|im_end|>", "<|fim|>"), bos_token=None, **special)


TOKENIZERS: dict[str, tuple[PreTrainedTokenizerFast, str]] = {
    "own pad": (byte_tokenizer(pad_token="<unk>"), "<unk>"),
    "no pad": (byte_tokenizer(), "<s>"),
    "pad is eos": (byte_tokenizer(pad_token="</s>"), "<s>"),
    "bos is eos, too": (byte_tokenizer(None, TWO, bos_token="</s>", pad_token="</s>"), "<|pad|>"),
    "no bos": (byte_tokenizer(bos_token=None), "<s>"),
    "chatml, pad is eos": (chatml(eos_token="<|im_end|>", pad_token="<|im_end|>"), "<|fim|>"),
    "pad ends every turn": (
        byte_tokenizer(TURNS, TURN_TOKENS, bos_token=None, eos_token="<|fim|>", pad_token="<|im_end|>"),
        "<|im_start|>",
    ),
    "no eos": (byte_tokenizer(eos_token=None), "<s>"),
    "neither bos nor eos": (byte_tokenizer(bos_token=None, eos_token=None, unk_token=None), "<unk>"),
    "template without eos": (byte_tokenizer(INST + "{% endfor %}"), "<s>"),
    "date": (byte_tokenizer(DATED), "<s>"),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@torch.no_grad()
def test_the_saved_tokenizer_renders_and_pads_as_the_model_was_trained(name: str, tmp_path: Path) -> None:
    tokenizer, pad = TOKENIZERS[name]
    before = (tokenizer.pad_token, tokenizer.chat_template, len(tokenizer))
    model = RewardModel(classifier_of(LlamaConfig(**SIZES), 1))
    save_reward_model(model, tmp_path / "rm", tokenizer, CARD)
    assert (tokenizer.pad_token, tokenizer.chat_template, len(tokenizer)) == before

    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    saved: Any = AutoTokenizer.from_pretrained(tmp_path / "rm")
    assert saved.pad_token == pad and alone.config.pad_token_id == saved.pad_token_id < VOCABULARY
    responses = ["Bold text.", "b", "It makes text stand out: héllo 😀 " * 3]
    renderer, again = Renderer(tokenizer, 10_000), Renderer(saved, 10_000)
    rendered = [renderer.render(PROMPT, response).token_ids for response in responses]
    assert [again.render(PROMPT, response).token_ids for response in responses] == rendered
    # Text that spells a special token stays text in training; apply_chat_template of Transformers makes it one.
    plain = (Turn("user", "What is bold?"),)
    for response in responses:
        messages = [{"role": "user", "content": "What is bold?"}, {"role": "assistant", "content": response}]
        ids = saved.apply_chat_template(messages, tokenize=True, return_dict=False)
        assert ids == renderer.render(plain, response).token_ids
    wanted = model.rewards(pack(rendered))
    for side in ("left", "right"):
        saved.padding_side = side
        batch = saved.pad({"input_ids": rendered}, return_tensors="pt")
        given = alone(**batch).logits
        assert torch.allclose(given, wanted, atol=1e-5, rtol=1e-5), side


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_of_well_known_families_render_alike_once_saved(name: str) -> None:
    tokenizer = chat_tokenizer(TEMPLATES[name])
    config = LlamaConfig(vocab_size=len(tokenizer) + 1, eos_token_id=tokenizer.eos_token_id)
    portable = portable_tokenizer(tokenizer, config)
    assert portable.renders_alike
    renderer, again = Renderer(tokenizer, 10_000), Renderer(portable.tokenizer, 10_000)
    for response in ("Fine.", "No <|im_end|> or </s>!"):
        rendered = renderer.render(PROMPT, response).token_ids
        assert again.render(PROMPT, response).token_ids == rendered
        assert rendered[-1] != portable.tokenizer.pad_token_id


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_every_family_gives_equal_rewards_by_transformers_alone(family: str, tmp_path: Path) -> None:
    """As loaded by default: soft-capping is not lost to SDPA."""
    model = RewardModel(classifier_of(FAMILIES[family]()))
    save_reward_model(model, tmp_path / "rm", byte_tokenizer(), CARD)
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    assert alone.dtype == torch.float32
    lengths = (13, 24, 7) if "longrope" in family else (13, 40, 7)
    token_ids = [[1, *ids, 2] for ids in sequences(lengths=tuple(length - 2 for length in lengths))]
    wanted = model.rewards(pack(token_ids))
    for side in ("left", "right"):
        assert torch.allclose(padded(alone, token_ids, side, pad=1), wanted, atol=1e-5, rtol=1e-5), side
    again = RewardModel.load(tmp_path / "rm", torch.float32)
    assert torch.equal(again.rewards(pack(token_ids)), wanted)


@torch.no_grad()
def test_bfloat16_is_saved_as_such_with_a_float32_head(tmp_path: Path) -> None:
    model = RewardModel(classifier_of(LlamaConfig(**SIZES), 1))
    save_reward_model(model, tmp_path / "rm", byte_tokenizer(), CARD, dtype=torch.bfloat16)
    assert model.classifier.dtype == torch.float32
    config = json.loads((tmp_path / "rm" / "config.json").read_text())
    assert config["dtype"] == "bfloat16" and config["architectures"] == ["LlamaForSequenceClassification"]
    head = read_tensor(tmp_path / "rm", "score.weight")
    assert torch.equal(head, model.head.weight)
    assert read_tensor(tmp_path / "rm", "model.norm.weight").dtype == torch.bfloat16
    token_ids = [[1, *ids, 2] for ids in sequences()]
    alone = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", dtype=torch.float32).eval()
    wanted = padded(alone, token_ids, "left", pad=1)
    loaded = {dtype: RewardModel.load(tmp_path / "rm", dtype) for dtype in (torch.float32, torch.bfloat16)}
    assert torch.allclose(loaded[torch.float32].rewards(pack(token_ids)), wanted, atol=1e-5, rtol=1e-5)
    for one in loaded.values():
        assert torch.equal(one.head.weight, head)
    assert (loaded[torch.bfloat16].rewards(pack(token_ids)) - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_configuration_and_card_say_what_it_is(tmp_path: Path) -> None:
    model = RewardModel(classifier_of(LlamaConfig(**SIZES)))
    model._name_outputs()
    weights = dict(zip(ATTRIBUTES, (0.3, 0.75, 0.45, 0.55, -0.4), strict=True))
    model.merge_weights = weights
    notes = ("Trained on a | b.",)
    card = Card("org/base", "0" * 40, "regression", {"ratings | x": "a\nb"}, {"learning_rate": 5e-7}, {}, notes)
    save_reward_model(model, tmp_path / "rm", byte_tokenizer(DATED + "{# ```` #}"), card)

    config: Any = PreTrainedConfig.from_pretrained(tmp_path / "rm")
    assert config.merge_weights == weights and config.problem_type == "regression"
    assert config.id2label == dict(enumerate(ATTRIBUTES)) and config.num_labels == 5
    assert RewardModel.load(tmp_path / "rm", torch.float32).merge_weights == weights
    text = (tmp_path / "rm" / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["base_model"] == "org/base" and "reward-model" in front["tags"]
    for said in (
        f"`org/base` at `{'0' * 40}`",
        "`helpfulness`, `correctness`",
        "| verbosity | -0.4 |",
        "`merge_weights`",
        "| ratings \\| x | a b |",
        "| learning_rate | 5e-07 |",
        'set date_string = "26 Jul 2024"',
        "pad token `<s>`",
        "Trained on a | b.",
        "`````jinja",
    ):
        assert said in text, said
    assert "## Results" not in text and "strftime_now(" not in text
    assert str(tmp_path) not in text


def test_the_code_of_the_card_runs(tmp_path: Path) -> None:
    folder = tmp_path / "base of mine"
    save_reward_model(
        RewardModel(classifier_of(LlamaConfig(**SIZES), 1)),
        tmp_path / "rm",
        byte_tokenizer(),
        Card(str(folder), "abc", "bradley_terry"),
    )
    text = (tmp_path / "rm" / "README.md").read_text()
    assert "# Reward model of base of mine" in text and "base_model" not in text.split("---")[1]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    names: dict[str, Any] = {"folder": str(tmp_path / "rm"), "question": "Why?", "answer": "Because."}
    exec(found[1], names)
    assert names["rewards"].shape == (1, 1)


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RewardModel(classifier_of(LlamaConfig(**SIZES), 1))
    save_reward_model(model, tmp_path / "rm", byte_tokenizer(), CARD)
    before = {path.name: path.read_bytes() for path in (tmp_path / "rm").iterdir()}
    (tmp_path / ".rm.0123abcd.tmp").mkdir()  # of a save that was killed
    monkeypatch.setattr(files, "flush", lambda path: exec("raise OSError('no space left')"))
    with pytest.raises(OSError, match="no space"):
        save_reward_model(model, tmp_path / "rm", byte_tokenizer(), CARD)
    assert os.listdir(tmp_path) == ["rm"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "rm").iterdir()} == before
    monkeypatch.undo()
    model.set_head(torch.ones(1, 32))
    save_reward_model(model, tmp_path / "rm", byte_tokenizer(), CARD)
    assert os.listdir(tmp_path) == ["rm"]
    assert torch.equal(read_tensor(tmp_path / "rm", "score.weight"), torch.ones(1, 32))


def test_no_pickle_is_written(tmp_path: Path) -> None:
    save_reward_model(RewardModel(classifier_of(LlamaConfig(**SIZES), 1)), tmp_path / "rm", byte_tokenizer(), CARD)
    assert {path.suffix for path in (tmp_path / "rm").rglob("*")} == {".json", ".safetensors", ".md", ".jinja"}


FULL = SIZES | {"vocab_size": 257, "bos_token_id": 0, "eos_token_id": 0}


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**FULL),
        LlamaConfig(**FULL, tie_word_embeddings=True),
        GPT2Config(vocab_size=257, n_embd=32, n_layer=2, n_head=2, n_positions=256, bos_token_id=0, eos_token_id=0),
        GPTNeoXConfig(**FULL),
        tiny_config("granite", **FULL),
    ],
    ids=["llama", "tied", "gpt2", "gpt_neox", "granite"],
)
@torch.no_grad()
def test_where_no_token_can_be_the_pad_token_the_embedding_gets_a_row(config: PreTrainedConfig, tmp_path: Path) -> None:
    """GPT-2's kind: one special token, which is BOS and EOS, and as many rows as tokens."""
    end = "<|endoftext|>"
    tokenizer = byte_tokenizer(None, (end,), bos_token=end, eos_token=end, unk_token=end)
    write_base(tmp_path / "base", config, tokenizer)
    model = RewardModel.from_base(ModelSource("tiny", str(tmp_path / "base")), 1, 0, torch.float32)
    save_reward_model(model, tmp_path / "rm", tokenizer, CARD)
    assert len(model.classifier.get_input_embeddings().weight) == 257

    alone = type(model.classifier).from_pretrained(tmp_path / "rm").eval()
    saved: Any = AutoTokenizer.from_pretrained(tmp_path / "rm")
    assert saved.pad_token == "<|pad|>" and saved.pad_token_id == alone.config.pad_token_id == 257
    assert alone.config.vocab_size == len(alone.get_input_embeddings().weight) == 258
    token_ids = [[0, *(1 + one % 256 for one in ids), 0] for ids in sequences(lengths=(13, 40, 7))]
    batch = saved.pad({"input_ids": token_ids}, return_tensors="pt")
    assert batch["input_ids"][0, -1] == 257
    assert torch.allclose(alone(**batch).logits, model.rewards(pack(token_ids)), atol=1e-5, rtol=1e-5)
    again = RewardModel.load(tmp_path / "rm", torch.float32)
    assert torch.equal(again.rewards(pack(token_ids)), model.rewards(pack(token_ids)))


@pytest.mark.parametrize("spoil", ["values", "name", "further", "attribute"])
def test_what_is_saved_is_compared_with_what_was_trained(
    spoil: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Transformers writes something else than it was given: quantised weights, without their scales."""
    model = RewardModel(classifier_of(LlamaConfig(**SIZES), 1))
    write = model.classifier.save_pretrained

    def spoiled(folder: Path, state_dict: dict[str, torch.Tensor]) -> None:
        name = "model.layers.0.mlp.up_proj.weight"
        if spoil == "values":
            state_dict = state_dict | {name: state_dict[name].to(torch.float8_e4m3fn).to(torch.float32)}
        elif spoil == "name":
            state_dict = {one.replace("up_proj", "up_projection"): weight for one, weight in state_dict.items()}
        elif spoil == "further":
            state_dict = state_dict | {f"{name}_scale_inv": torch.ones(1)}
        else:  # something that config.json does not say
            model.classifier.model.layers[0].self_attn.scaling *= 2
        write(folder, state_dict=state_dict)

    monkeypatch.setattr(model.classifier, "save_pretrained", spoiled)
    said = {
        "values": r"1 of its weights have other values once loaded, such as model\.layers\.0\.mlp\.up_proj\.weight",
        "name": r"Transformers finds 2 missing weights in its files, such as model\.layers\.0\.mlp\.up_proj",
        "further": r"Transformers finds 1 unexpected weights in its files, such as .*_scale_inv",
        "attribute": r"gives a test conversation the reward -?\d\S+ instead of -?\d\S+ \(tolerance",
    }
    with pytest.raises(UserError, match=f"^the reward model as saved is not the one in memory: .*{said[spoil]}"):
        save_reward_model(model, tmp_path / "rm", byte_tokenizer(), CARD)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("family", ["falcon_h1", "granite", "olmoe"])
def test_the_card_of_a_family_without_class_makes_one(family: str, tmp_path: Path) -> None:
    """In a process that knows nothing of this project."""
    write_base(tmp_path / "base", tiny_config(family))
    model = RewardModel.from_base(ModelSource("tiny", str(tmp_path / "base")), 1, 0, torch.float32)
    save_reward_model(model, tmp_path / "rm", byte_tokenizer(), CARD)
    assert (tmp_path / "rm" / "config.json").read_text().count("auto_map") == 0
    found = re.search(r"```python\n(.*?)```", (tmp_path / "rm" / "README.md").read_text(), re.DOTALL)
    assert found
    names = {"folder": str(tmp_path / "rm"), "question": "Why?", "answer": "Because."}
    code = "".join(f"{name} = {value!r}\n" for name, value in names.items()) + found[1] + "print(float(rewards))"
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    rendered = Renderer(byte_tokenizer(), 10_000).render((Turn("user", "Why?"),), "Because.").token_ids
    with torch.no_grad():
        assert float(said.stdout) == pytest.approx(float(model.rewards(pack([rendered]))), abs=1e-5)


@pytest.mark.parametrize("damage", ["absent", "cut off", "no head", "another head", "NaN"])
def test_a_damaged_reward_model_is_told(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "rm"
    model = RewardModel(classifier_of(LlamaConfig(**SIZES), 1))
    save_reward_model(model, folder, byte_tokenizer(), CARD)
    weights = folder / "model.safetensors"
    if damage == "absent":
        shutil.rmtree(folder)
    elif damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        state = dict(model.classifier.state_dict())
        if damage == "no head":
            del state["score.weight"]
        else:
            state["score.weight"] = torch.full((2 if damage == "another head" else 1, 32), float("nan"))
        save_file(state, weights, {"format": "pt"})
    with pytest.raises(UserError, match=r"rm.*(train it|train the model|download|the files)"):
        RewardModel.load(folder, torch.float32)


def test_merge_weights_are_of_the_five_attributes() -> None:
    five, one = (RewardModel(classifier_of(LlamaConfig(**SIZES), n)) for n in (5, 1))
    for model, weights in ((five, {"helpfulness": 1.0}), (one, {"reward": 1.0})):
        with pytest.raises(ValueError, match="merge weights are of helpfulness, correctness"):
            model.merge_weights = weights
    assert five.merge_weights is None
