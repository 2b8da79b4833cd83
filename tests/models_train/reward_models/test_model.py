"""Reward models on packs give the rewards and gradients of plain, padded Transformers models of every family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BloomConfig,
    JambaConfig,
    LlamaConfig,
    PreTrainedConfig,
)

from models_train.errors import UserError
from models_train.modeling.base_models import ModelSource
from models_train.modeling.packing import pack
from models_train.reward_models.classifiers import refuse_without_classifier
from models_train.reward_models.model import RewardModel
from tests.support.families import tiny_config
from tests.support.tiny_models import (
    FAMILIES,
    SIZES,
    UNUSED,
    classifier_of,
    one_by_one,
    padded,
    random_base,
    sequences,
    write_base,
)


def far(given: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest difference, in units of 1 or of the largest value, whichever is larger."""
    return float((given - wanted).detach().abs().max() / max(1.0, float(wanted.detach().abs().max())))


@pytest.mark.parametrize("family", FAMILIES)
def test_rewards_and_gradients_equal_those_of_the_padded_model(family: str) -> None:
    reference = classifier_of(FAMILIES[family]())
    reference.config.pad_token_id = UNUSED
    model = RewardModel(classifier_of(FAMILIES[family]()))
    assert model.module.is_packed
    # LongRoPE takes other frequencies for a whole batch as soon as one sequence is long: stay within its border.
    lengths = (13, 1, 24, 7, 20, 2, 9) if "longrope" in family else (13, 1, 40, 7, 25, 2, 30)
    token_ids = sequences(lengths=lengths)
    weight = torch.randn(len(token_ids), 5, generator=torch.Generator().manual_seed(1))

    wanted = padded(reference, token_ids, "right")
    (wanted * weight).sum().backward()
    given = model.rewards(pack(token_ids))
    (given * weight).sum().backward()

    assert far(given, wanted) < 1e-5
    gradients = {name: one.grad for name, one in model.classifier.named_parameters()}
    for name, one in reference.named_parameters():
        gradient = gradients[name]
        assert one.grad is not None and gradient is not None, name
        assert float((gradient - one.grad).norm()) <= 1e-5 * float(one.grad.norm()), name


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_reward_does_not_depend_on_what_else_is_in_the_pack(family: str) -> None:
    model = RewardModel(classifier_of(FAMILIES[family](), 1))
    token_ids = sequences()  # shorter and longer than LongRoPE's border and than every window
    wanted = one_by_one(classifier_of(FAMILIES[family](), 1), token_ids)
    order = [4, 2, 6, 0, 5, 1, 3]
    assert far(model.rewards(pack(token_ids)), wanted) < 1e-5
    assert far(model.rewards(pack([token_ids[index] for index in order])), wanted[order]) < 1e-5
    assert far(torch.cat([model.rewards(pack([ids])) for ids in token_ids]), wanted) < 1e-5


JAMBA = SIZES | {"num_experts": 1, "attn_layer_offset": 1, "attn_layer_period": 2}


@pytest.mark.parametrize(
    "config",
    [lambda: BloomConfig(vocab_size=272, hidden_size=32, n_head=4, n_layer=2), lambda: JambaConfig(**JAMBA)],
    ids=["attention of its own", "state space layers"],
)
def test_families_that_cannot_be_packed_run_padded(config: Callable[[], PreTrainedConfig]) -> None:
    model = RewardModel(classifier_of(config()))
    assert not model.module.is_packed
    token_ids = sequences()
    given = model.rewards(pack(token_ids))
    assert far(given, one_by_one(model.classifier, token_ids)) < 1e-5
    given.sum().backward()
    assert all(one.grad is not None for one in model.classifier.parameters())


def test_dynamic_position_encodings_are_refused_beyond_their_training() -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    model = RewardModel(classifier_of(LlamaConfig(**SIZES | {"max_position_embeddings": 30}, rope_parameters=rope)))
    token_ids = sequences(lengths=(30, 4))
    with torch.no_grad():
        assert far(model.rewards(pack(token_ids)), one_by_one(model.classifier, token_ids)) < 1e-5
    with pytest.raises(ValueError, match=r"31 tokens is longer than the 30 .* set max_tokens"):
        model.rewards(pack(sequences(lengths=(4, 31))))


def test_the_head_is_seeded_and_keeps_float32(storyteller: Path) -> None:
    source = ModelSource("stories", str(storyteller))
    models = {
        name: RewardModel.from_base(source, n_outputs, seed, dtype)
        for name, n_outputs, seed, dtype in (
            ("a", 5, 3, torch.float32),
            ("again", 5, 3, torch.bfloat16),
            ("other", 5, 4, torch.float32),
            ("scalar", 1, 3, torch.float32),
        )
    }
    heads = {name: model.head.weight.detach() for name, model in models.items()}
    assert heads["a"].shape == (5, 64) and heads["a"].dtype == heads["again"].dtype == torch.float32
    assert torch.equal(heads["a"], heads["again"]) and not torch.equal(heads["a"], heads["other"])
    assert heads["a"].std().item() == pytest.approx(65**-0.5, rel=0.15)
    assert models["again"].classifier.dtype == torch.bfloat16
    assert models["a"].attributes == ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    assert models["scalar"].attributes == ("reward",) and models["scalar"].config.id2label == {0: "reward"}
    base = AutoModelForCausalLM.from_pretrained(source.place, dtype=torch.float32)
    weights = models["a"].classifier.state_dict()
    assert all(torch.equal(weights[name], one) for name, one in base.state_dict().items() if name in weights)
    assert len(weights) == len(base.model.state_dict()) + 1


@torch.no_grad()
def test_bfloat16_rewards_are_no_coarser_than_the_hidden_states(storyteller: Path) -> None:
    """The head's weights in bfloat16 would make rewards of 8 bits, and ties among 200 sequences."""
    source = ModelSource("stories", str(storyteller))
    model = RewardModel.from_base(source, 1, 0, torch.bfloat16)
    token_ids = [[1, *ids] for ids in sequences(lengths=(6,) * 200)]
    rewards = model.rewards(pack(token_ids))
    assert rewards.dtype == torch.float32
    assert len(set(rewards.flatten().tolist())) > 190 > len(set(rewards.bfloat16().flatten().tolist()))
    exact = RewardModel.from_base(source, 1, 0, torch.float32).rewards(pack(token_ids))
    assert far(rewards, exact) < 0.1
    with torch.autocast("cpu", torch.bfloat16):
        assert model.rewards(pack(token_ids)).dtype == torch.float32


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights; save the model as safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"short"), "is cut short or damaged"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config\.json is not JSON"),
        (
            lambda folder: set_config(folder, num_hidden_layers=3),
            r"lacks 9 of the model's weights, such as",
        ),
        (lambda folder: set_config(folder, hidden_size=64), r"have the shape \(\d+, 32\), by config.json \("),
        (lambda folder: set_config(folder, model_type="nothing"), "cannot be loaded"),
        (lambda folder: set_weight(folder, float("nan")), r"model\.norm\.weight hold NaN or infinity"),
        (lambda folder: set_weight(folder, float("inf")), r"model\.norm\.weight hold NaN or infinity"),
        (lambda folder: pickled(folder), r"holds only pytorch_model\.bin, which loading would run as code"),
    ],
    ids=["no weights", "cut off", "no JSON", "lacking", "misfit", "family", "NaN", "infinity", "pickle"],
)
def test_a_base_that_cannot_be_used_is_told(tmp_path: Path, spoil: Callable[[Path], None], said: str) -> None:
    folder = write_base(tmp_path / "base")
    spoil(folder)
    with pytest.raises(UserError, match=said) as caught:
        RewardModel.from_base(ModelSource("tiny", str(folder)), 1, 0, torch.float32)
    assert str(caught.value).startswith("tiny: ")


def set_config(folder: Path, **settings: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))


def set_weight(folder: Path, value: float) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.model.norm.weight.data[3] = value
    model.save_pretrained(folder)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    "family",
    ["apertus", "cohere2", "ernie4_5", "falcon_h1", "gemma3n_text", "glm4_moe", "granite", "lfm2", "nanochat", "olmoe"],
)
def test_families_without_a_classification_class_train_on_their_backbone(family: str, tmp_path: Path) -> None:
    base = random_base(tiny_config(family))
    base.save_pretrained(tmp_path / "base")
    model = RewardModel.from_base(ModelSource("tiny", str(tmp_path / "base")), 5, 0, torch.float32)
    base.set_attn_implementation("eager")
    token_ids = sequences()
    given = model.rewards(pack(token_ids))
    with torch.no_grad():
        hidden = [base.base_model(input_ids=torch.tensor([ids]), use_cache=False)[0][0, -1:] for ids in token_ids]
        assert far(given, torch.cat(hidden) @ model.head.weight.T) < 1e-5
    given.sum().backward()
    assert all(bool(one.grad.isfinite().all()) for one in model.classifier.parameters() if one.grad is not None)
    assert model.head.weight.grad is not None and model.classifier.get_input_embeddings().weight.grad is not None


@pytest.mark.parametrize("family", ["bart", "bert", "electra", "marian", "pegasus"])
def test_families_that_are_no_decoders_alone_are_told_before_their_weights_are_read(family: str) -> None:
    with pytest.raises(UserError, match=r"^tiny: .*(no linear head|can be made).*; take the model out of the study$"):
        refuse_without_classifier("tiny", tiny_config(family))


def test_rewards_that_padding_would_change_are_refused() -> None:
    """A family that mixes neighbours in packs, and ignores the padding of its batches."""
    classifier = classifier_of(JambaConfig(**JAMBA), 1)
    attend = classifier.model.forward
    classifier.model.forward = lambda input_ids, **_: attend(input_ids.flip(1), use_cache=False)
    with pytest.raises(UserError, match="gives a sequence another reward in a padded batch than by itself"):
        RewardModel(classifier)


@pytest.mark.parametrize("family", ["openai-gpt", "phimoe"])
def test_dropout_and_the_noise_of_experts_are_off_in_padded_batches(family: str) -> None:
    classifier = AutoModelForSequenceClassification.from_config(tiny_config(family)).train()
    model = RewardModel(classifier)
    assert not model.module.is_packed
    with torch.no_grad():
        rewards = [model.rewards(pack(sequences())) for _ in range(5)]
    assert all(torch.equal(one, rewards[0]) for one in rewards)


def test_an_encoder_is_no_reward_model() -> None:

    config = BertConfig(
        vocab_size=272, hidden_size=32, num_attention_heads=4, num_hidden_layers=1, intermediate_size=48
    )
    with pytest.raises(UserError, match="no linear head `score`"):
        RewardModel(AutoModelForSequenceClassification.from_config(config))
