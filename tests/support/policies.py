"""Tiny policies, prompts for them, and rewards of their responses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from models_train.data.chat import Asked
from models_train.data.records import Turn
from models_train.modeling.base_models import ModelSource, load_tokenizer
from models_train.policies.prompts import PolicyPrompt
from models_train.policies.sampling import PolicyText, TransformersEngine
from models_train.policies.teaching import Policies, Run, TeachPrompt
from models_train.study.teachers import Method, Policy

PROMPTS = ("Say a.", "Say b, please.", "What is c?", "d", "Tell me of e and f.", "And g?")


def policy_of(folder: Path, **settings: object) -> Policy:
    """A policy in a folder; 12 tokens a response."""
    given = {"policy_id": "mine", "path": str(folder), "max_tokens": 12, "precision": "float32"} | settings
    return Policy.model_validate(given)


def model_of(folder: Path) -> PreTrainedModel:
    """The causal language model of a folder in float32."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval()


def policies_of(folder: Path, **settings: object) -> Policies:
    """A policy to train, and what goes with it."""
    trained, source = model_of(folder), ModelSource("mine", str(folder))
    policy = policy_of(folder, **settings)
    text = PolicyText(policy, load_tokenizer(source), trained.config)
    n_vocabulary = trained.get_output_embeddings().weight.shape[0]
    engine = TransformersEngine(trained, policy, text.ends(source), n_vocabulary)
    return Policies(trained, model_of(folder), engine, text, n_vocabulary)


def teach_prompts(text: PolicyText) -> list[TeachPrompt]:
    """PROMPTS, each of the split teach, as a policy is asked them."""
    found = []
    for number, prompt in enumerate(PROMPTS, 1):
        turns = (Turn("user", prompt),)
        one = PolicyPrompt("prompts", f"p{number}", "teach", turns, "made", order_no=number)
        asked = text.ask(one)
        assert isinstance(asked, Asked)
        found.append(TeachPrompt(one, asked))
    return found


def small_run(method: Method = "rloo", **settings: object) -> Run:
    """Eight steps of two prompts with four responses each."""
    given: dict[str, object] = {
        "steps": 8, "prompts_per_step": 2, "generations": 4, "learning_rate": 3e-3, "kl": 0.05, "seed": 0,
        "temperature": 1.0,
    }  # fmt: skip
    return Run(method, **given | settings)  # type: ignore[arg-type]


def letters(_prompts: Sequence[PolicyPrompt], texts: Sequence[str]) -> list[float | None]:
    """Share of small letters in each text; None for an empty one."""
    return [sum(one.islower() for one in text) / len(text) if text.strip() else None for text in texts]
