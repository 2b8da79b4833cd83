"""A critique reward model as a folder: a language model that Transformers loads by itself, the file of the head, and a
model card that says how to use both.

As for other reward models (`export`), what is saved is loaded with Transformers alone and compared with what is in
memory.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerBase

from models_train.data.chat import NO_LIMIT
from models_train.files import atomic_path, remove
from models_train.modeling.base_models import context_length, quiet
from models_train.modeling.packing import pack
from models_train.reward_models.classifiers import HEAD
from models_train.reward_models.critique_model import HEAD_FILE, CritiqueModel, read_head, save_head
from models_train.reward_models.export import (
    COARSE_TOLERANCE,
    NOT_THE_SAME,
    TOLERANCES,
    Card,
    Portable,
    portable_tokenizer,
    refuse_other_rewards,
    refuse_other_weights,
)
from models_train.study.training import CritiqueRecipe

CARD_TEMPLATE = Path(__file__).with_name("critique_card.md.j2")


def save_critique_model(
    model: CritiqueModel, folder: Path, tokenizer: PreTrainedTokenizerBase, card: Card, recipe: CritiqueRecipe
) -> None:
    """Save as safetensors in a new folder, which appears complete or not at all; an existing one is replaced.

    Leftovers of a killed save are removed. Raises UserError where the folder, loaded by Transformers alone, is another
    model than the one in memory, and RenderError for a broken chat template; then nothing is written.
    """
    language, dtype = model.classifier, model.classifier.dtype
    portable = portable_tokenizer(tokenizer, language.config, for_batches=False)
    config = copy.deepcopy(language.config)
    config.dtype = dtype
    if getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None:
        # Transformers would load SDPA, which leaves soft-capping out without a warning.
        config.attn_implementation = "eager"
    weights = model.language_weights()
    for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):
        remove(leftover)
    with atomic_path(folder) as beside:
        language.save_pretrained(beside, state_dict=dict(weights))
        config.architectures = [type(language).__name__]
        config.save_pretrained(beside)
        portable.tokenizer.save_pretrained(beside)
        save_head(beside, model.head.weight)
        model_card(card, config, portable, recipe).save(beside / "README.md")
        _refuse_another_model(model, beside, weights, portable.probes, dtype)


def save_language_model(model: CritiqueModel, folder: Path) -> None:
    """Save the language model alone, for a further training here; an existing folder is replaced."""
    with atomic_path(folder) as beside:
        model.classifier.save_pretrained(beside, state_dict=model.language_weights())


def _refuse_another_model(
    model: CritiqueModel,
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    probes: Sequence[list[int]],
    dtype: torch.dtype,
) -> None:
    """Raise UserError where a saved folder, loaded as others load it, is not the model in memory."""
    with quiet():
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    alone, found = loaded
    refuse_other_weights(alone, found, weights)
    context = context_length(alone.config) or NO_LIMIT
    token_ids = [ids[-context:] for ids in probes]
    head = read_head(folder)
    alone.eval()
    with torch.no_grad():
        wanted = model.rewards(pack(token_ids)).cpu()
        last = [alone.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1] for ids in token_ids]
        given = torch.stack(last).float() @ head.T
    refuse_other_rewards(NOT_THE_SAME, given, wanted, TOLERANCES.get(dtype, COARSE_TOLERANCE))


def model_card(card: Card, config: PreTrainedConfig, portable: Portable, recipe: CritiqueRecipe) -> ModelCard:
    """The card in Markdown with the front matter of the hub."""
    template = str(portable.tokenizer.chat_template)
    longest_fence = max((len(run) for run in re.findall("`+", template)), default=0)
    return ModelCard.from_template(
        ModelCardData(
            base_model=None if Path(card.base_model).is_absolute() else card.base_model,
            library_name="transformers",
            pipeline_tag="text-generation",
            tags=["reward-model", "rewardbase", card.objective],
        ),
        template_path=str(CARD_TEMPLATE),
        **{one.name: getattr(card, one.name) for one in fields(card) if one.name != "base_model"},
        base_name=card.base_name,
        head_file=HEAD_FILE,
        head_name=HEAD,
        request=recipe.request,
        critique_tokens=recipe.critique_tokens,
        dtype=str(config.dtype).removeprefix("torch."),
        renders_alike=portable.renders_alike,
        chat_template=template,
        fence="`" * max(3, 1 + longest_fence),
    )
