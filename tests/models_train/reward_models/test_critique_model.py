"""Training of critique models equals plain, padded training by Transformers, resumes bitwise, and loads elsewhere."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, PreTrainedModel

from models_train.data.chat import Renderer
from models_train.data.records import Turn
from models_train.errors import UserError
from models_train.modeling.packing import pack
from models_train.reward_models.critique_export import save_critique_model
from models_train.reward_models.critique_model import HEAD_FILE, CritiqueModel
from models_train.reward_models.critiques import CritiqueReader
from models_train.reward_models.data import CritiquedPair, CritiquedResponse, training_packs
from models_train.reward_models.export import Card
from models_train.reward_models.memory import model_shape, with_language_head
from models_train.reward_models.model import new_head
from models_train.reward_models.training import TrainingRun
from models_train.study.training import CritiqueRecipe
from tests.support.tiny_models import FAMILIES, SIZES, UNUSED, byte_tokenizer, random_base
from tests.support.training_runs import RECIPE, plan, token_lists

WEIGHT = 1.25
HEAD = new_head(1, 32, seed=3)


def critiqued(n: int, seed: int = 0) -> list[CritiquedPair]:
    """Pairs of random sequences of two tokens or more with random beginnings of the critiques."""
    dice = random.Random(seed)
    both = list(zip(token_lists(n, seed), token_lists(n, seed + 1000), strict=True))
    both = [([5, *one], [6, *other]) for one, other in both]
    starts = [(dice.randint(1, len(one) - 1), dice.randint(1, len(other) - 1)) for one, other in both]
    return [CritiquedPair(*sequences, where) for sequences, where in zip(both, starts, strict=True)]


def critique_model(config: Any = None) -> CritiqueModel:
    return CritiqueModel.of_language_model(random_base(config or LlamaConfig(**SIZES)), HEAD.clone(), WEIGHT)


def plain_losses(
    model: PreTrainedModel, head: torch.Tensor, pairs: Sequence[CritiquedPair]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Bradley-Terry and cross-entropy of each pair, by one padded batch of the causal language model."""
    sequences = [ids for pair in pairs for ids in pair.sequences]
    starts = [start for pair in pairs for start in pair.starts]
    longest = max(map(len, sequences))
    ids = torch.tensor([[*one, *[UNUSED] * (longest - len(one))] for one in sequences])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in sequences])
    hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
    logits = model(input_ids=ids, attention_mask=mask).logits
    rewards = torch.stack([head @ hidden[row, len(one) - 1] for row, one in enumerate(sequences)])[:, 0]
    ranked = -F.logsigmoid(rewards[0::2] - rewards[1::2])
    written = []
    for number, pair in enumerate(pairs):
        parts = []
        for row in (2 * number, 2 * number + 1):
            place = range(starts[row], len(sequences[row]))
            by_token = logits[row].log_softmax(-1)
            parts += [-by_token[at - 1, ids[row, at]] for at in place]
        assert len(parts) == sum(len(one) - start for one, start in zip(pair.sequences, pair.starts, strict=True))
        written.append(torch.stack(parts).mean())
    return ranked, torch.stack(written)


@pytest.mark.parametrize("family", ["llama3", "qwen2", "gemma2", "phi3_longrope"])
def test_loss_and_gradients_equal_a_padded_reference(family: str) -> None:
    pairs = critiqued(12)
    reference = random_base(FAMILIES[family]())
    reference.set_attn_implementation("eager")
    head = torch.nn.Parameter(HEAD.clone())
    if family == "phi3_longrope":  # its frequencies depend on the longest sequence of a batch
        pairs = [pair for pair in pairs if max(map(len, pair.sequences)) <= 24]
    ranked, written = plain_losses(reference, head, pairs)
    wanted = (ranked + WEIGHT * written).mean()
    wanted.backward()

    model = critique_model(FAMILIES[family]())
    total = 0.0
    packs = training_packs(pairs, 150)
    for one in packs:
        part = model.losses(one).sum() / len(pairs)
        part.backward()
        total += float(part.detach())
    assert total == pytest.approx(wanted.item(), rel=1e-5)
    assert head.grad is not None
    assert model.head.weight.grad is not None
    assert (model.head.weight.grad - head.grad).norm() <= 1e-5 * head.grad.norm()
    for name, weight in reference.named_parameters():
        gradient = model.classifier.get_parameter(name).grad
        if weight.grad is None or not weight.grad.any():
            continue
        assert gradient is not None, name
        assert (gradient - weight.grad).norm() <= 2e-5 * weight.grad.norm(), name


def test_a_response_alone_has_the_loss_of_its_critique() -> None:
    (pair,) = critiqued(1)
    response = CritiquedResponse(pair.chosen, pair.starts[0])
    model = critique_model()
    (one,) = training_packs([response], 150)
    loss = model.losses(one)
    loss.sum().backward()
    reference = random_base(LlamaConfig(**SIZES))
    wanted = reference(input_ids=torch.tensor([list(pair.chosen)])).logits[0].log_softmax(-1)
    places = range(pair.starts[0], len(pair.chosen))
    assert loss.item() == pytest.approx(
        -sum(wanted[place - 1, pair.chosen[place]].item() for place in places) / len(places), rel=1e-5
    )
    assert model.head.weight.grad is not None and not model.head.weight.grad.any()


class Killed(BaseException):
    """As if the process ended here."""


def test_an_interrupted_run_follows_the_same_curve_bitwise(tmp_path: Path) -> None:
    pairs, held_out = critiqued(19), critiqued(3, seed=9)
    recipe = RECIPE.model_copy(update={"epochs": 1, "checkpoint_every": 2})

    def evaluate(model: Any) -> dict[str, Any]:
        loss = float(sum(model.losses(one).sum() for one in training_packs(held_out, 150)))
        return {"n_won": 0, "n_pairs": 3, "loss": loss}

    def run(name: str, on_step: Any = None) -> TrainingRun:
        return TrainingRun(
            critique_model,
            pairs,
            recipe,
            objective="critique",
            learning_rate=1e-3,
            seed=5,
            folder=tmp_path / name,
            plan=plan(),
            evaluate=evaluate,
            on_step=on_step,
        )

    whole = run("whole")
    whole.advance(99)

    def kill(row: Any) -> None:
        if row["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        run("run", kill).advance(99)
    again = run("run")
    again.advance(99)
    assert [row["loss"] for row in again.steps] == [row["loss"] for row in whole.steps]
    assert again.checkpoints() == whole.checkpoints()
    given, wanted = (one.best_model().classifier.state_dict() for one in (again, whole))
    assert all(torch.equal(given[name], wanted[name]) for name in wanted)
    assert not torch.equal(wanted["score.weight"], HEAD)


def test_the_card_shows_how_to_use_what_is_saved(tmp_path: Path) -> None:
    model, tokenizer = critique_model(), byte_tokenizer()
    recipe = CritiqueRecipe(learning_rates=(1e-3,), critique_tokens=12, request='Judge "it".')
    card = Card("org/base", "0" * 40, "critique", {"preferences": "file"}, {"weight": 1.25}, {"n": 1})
    save_critique_model(model, tmp_path / "saved", tokenizer, card, recipe)
    assert {HEAD_FILE, "config.json", "model.safetensors", "README.md"} <= {
        path.name for path in (tmp_path / "saved").iterdir()
    }
    text = (tmp_path / "saved" / "README.md").read_text()
    assert "Critique reward model of org/base" in text and "| weight | 1.25 |" in text
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    torch.manual_seed(0)
    names: dict[str, Any] = {"folder": str(tmp_path / "saved"), "question": "Why?", "answer": "So."}
    exec(code, names)  # what a person would paste
    assert names["critique"]
    reader = CritiqueReader(Renderer(tokenizer, 400), recipe.request)
    read = reader.read((Turn("user", "Why?"),), "So.", names["critique"])
    assert names["inputs"]["input_ids"][0].tolist() == read.token_ids
    assert names["asked"]["input_ids"][0].tolist() == read.token_ids[: names["asked"]["input_ids"].shape[1]]
    loaded = CritiqueModel.load(tmp_path / "saved", torch.float32)
    assert loaded.rewards(pack([read.token_ids])).item() == pytest.approx(names["reward"], abs=1e-5)
    assert loaded.rewards(pack([read.token_ids])).item() == model.rewards(pack([read.token_ids])).item()

    (tmp_path / "saved" / HEAD_FILE).unlink()
    with pytest.raises(UserError, match="cannot be read"):
        CritiqueModel.load(tmp_path / "saved", torch.float32)


def test_the_memory_plan_counts_the_language_head() -> None:
    config = LlamaConfig(**SIZES, tie_word_embeddings=False)
    without = model_shape(config, 1, torch.float32)
    with_head = with_language_head(without, config, 0.5)
    assert with_head.n_weights - without.n_weights == 272 * 32
    assert with_head.outer_bytes - without.outer_bytes == 272 * 16 // 2
    config.tie_word_embeddings = True
    assert with_language_head(without, config, 0.5).n_weights == without.n_weights
