"""Every family that Transformers builds as a causal language model: equal to plain Transformers, or refused in words.

Tiny random models, whose windows and chunks are shorter than the sequences. Scored: log-probabilities by the packed
engine. Trained: rewards of a reward model of this base, before and after it is saved and loaded by Transformers alone.
Reference is the causal language model with eager attention, one sequence at a time.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from models_train.errors import UserError
from models_train.logprobs.engine import Request
from models_train.logprobs.packed_engine import packed_engine
from models_train.logprobs.trial import plain_trial, refuse_unlike
from models_train.modeling.base_models import ModelSource
from models_train.modeling.packing import pack
from models_train.reward_models.classifiers import is_built, refuse_without_classifier
from models_train.reward_models.export import Card, save_reward_model
from models_train.reward_models.memory import model_shape
from models_train.reward_models.model import RewardModel
from tests.support.families import families, tiny_config
from tests.support.tiny_models import byte_tokenizer, randomize, sequences

pytestmark = pytest.mark.bench

MOST = 1e-5
"""Largest difference, in units of 1 or of the largest value."""
FEWEST_BUILT, FEWEST_SCORED, FEWEST_TRAINED = 140, 75, 100
LENGTHS = (30, 7, 44, 19)
CARD = Card("org/base", "0" * 40, "bradley_terry")


MOST_WEIGHTS = 3_000_000
"""A family that is larger with the settings here has sizes under other names."""


def base_of(family: str) -> PreTrainedModel:
    """A random causal language model in float32; equal ones for equal families."""
    config = tiny_config(family)
    with torch.device("meta"):
        n_weights = sum(weight.numel() for weight in AutoModelForCausalLM.from_config(config).parameters())
    if n_weights > MOST_WEIGHTS:
        raise ValueError(f"{n_weights:,} weights")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomize(model, scale=0.1)
    return model.eval()


def eager(model: PreTrainedModel) -> PreTrainedModel:
    with contextlib.suppress(ValueError):  # where it has one implementation only
        model.set_attn_implementation("eager")
    return model


def far(given: torch.Tensor, wanted: torch.Tensor) -> float:
    assert given.shape == wanted.shape and bool(wanted.isfinite().all())
    return float((given - wanted).abs().max() / max(1.0, float(wanted.abs().max())))


@torch.no_grad()
def scored(family: str) -> float:
    """Largest difference of the log-probabilities of all tokens. Raises UserError."""
    token_ids = sequences(lengths=LENGTHS)
    reference = eager(base_of(family))
    wanted = []
    for ids in token_ids:
        logits = reference(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1, :272].float()
        wanted.append(logits.log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None])[:, 0])
    requests = [Request("", np.array(ids)) for ids in token_ids]
    engine = packed_engine(family, base_of(family), 271, 64, standardise=False)
    refuse_unlike(family, engine, plain_trial(family, base_of(family), requests, 272))
    found = dict(engine.scored(requests))
    given = [torch.from_numpy(found[place].logprobs) for place in range(len(token_ids))]
    return max(far(one, other) for one, other in zip(given, wanted, strict=True))


@torch.no_grad()
def trained(family: str, folder: Path) -> tuple[float, RewardModel]:
    """Largest difference of rewards, and the reward model. Raises UserError."""
    base = base_of(family)
    refuse_without_classifier(family, base.config)
    shapes = [model_shape(base.config, 1, dtype) for dtype in (torch.float32, torch.bfloat16)]
    base.save_pretrained(folder / "base")
    byte_tokenizer().save_pretrained(folder / "base")
    model = RewardModel.from_base(ModelSource(family, str(folder / "base")), 1, 0, torch.float32)
    n_weights = sum(weight.numel() for weight in model.classifier.parameters())
    assert all(shape.n_weights == n_weights for shape in shapes)
    token_ids = sequences(lengths=LENGTHS)
    eager(base)
    hidden = [base.base_model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state for ids in token_ids]
    wanted = torch.cat([one[0, -1:].float() for one in hidden]) @ model.head.weight.T
    differences = [far(model.rewards(pack(token_ids)), wanted)]
    save_reward_model(model, folder / "rm", byte_tokenizer(), CARD)
    kind = type(model.classifier) if is_built(type(model.classifier)) else AutoModelForSequenceClassification
    alone = kind.from_pretrained(folder / "rm").eval()
    batch = AutoTokenizer.from_pretrained(folder / "rm").pad({"input_ids": token_ids}, return_tensors="pt")
    differences.append(far(alone(**batch).logits.float(), wanted))
    return max(differences), model


def has_gradients(model: RewardModel) -> bool:
    model.rewards(pack(sequences(lengths=LENGTHS))).sum().backward()
    gradient = model.head.weight.grad
    return gradient is not None and bool(gradient.isfinite().all()) and bool(gradient.abs().sum() > 0)


def test_families(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every accepted family within 1e-5 of plain Transformers; every other one is refused in words."""
    n_built, n_scored, n_trained = 0, 0, 0
    wrong: list[str] = []
    for family in families():
        line, ok_scored, ok_trained, faults = one_family(family, tmp_path / family)
        n_built += "not built" not in line
        n_scored, n_trained = n_scored + ok_scored, n_trained + ok_trained
        wrong += faults
        with capsys.disabled():
            print(line)
            sys.stdout.flush()
    with capsys.disabled():
        print(f"{n_scored} families scored, {n_trained} trained, of {n_built}; the others are refused in words")
    assert not wrong
    assert n_built >= FEWEST_BUILT and n_scored >= FEWEST_SCORED and n_trained >= FEWEST_TRAINED


def one_family(family: str, folder: Path) -> tuple[str, bool, bool, list[str]]:
    """A line, whether the family was scored and trained, and its faults."""
    try:
        base_of(family)(input_ids=torch.tensor(sequences(lengths=LENGTHS[:1])), use_cache=False)
    except Exception as error:  # whatever Transformers raises: a family that cannot be built here is named as such
        return f"{family}: not built ({str(error).splitlines()[0][:100]})", False, False, []
    said, good, faults = [], [], []
    for what in ("scored", "trained"):
        try:
            if what == "scored":
                difference, more = scored(family), ""
            else:
                difference, model = trained(family, folder)
                more = " in packs" if model.module.is_packed else f" padded ({model.module.not_packed})"
                more += "" if has_gradients(model) else " WITHOUT GRADIENT"
        except UserError as error:
            said.append(f"not {what}: {error}")
            good.append(False)
            continue
        except Exception as error:
            said.append(f"{what}: FAULT {type(error).__name__}: {error}")
            faults.append(f"{family}: {said[-1]}")
            good.append(False)
            continue
        good.append(True)
        said.append(f"{what}{more}: {difference:.1e}")
        if not difference <= MOST or "WITHOUT" in more:
            faults.append(f"{family}: {said[-1]}")
    return f"{family}: " + "; ".join(said), good[0], good[1], faults
