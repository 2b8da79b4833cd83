"""A reward model as a folder that Transformers loads by itself: weights, configuration, tokenizer, model card.

Three things differ from the base model's tokenizer. The chat template writes all that `Renderer` adds (BOS, EOS, the
pinned date), so that `apply_chat_template` by itself gives the ids of training. The pad token is one that no sequence
can end with, because Transformers takes the rightmost token that is no pad token. Several templates become the default.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from models_train.data.chat import DATE_FORMAT, NO_LIMIT, PINNED_DATE, Messages, Renderer
from models_train.data.records import Prompt, Turn
from models_train.errors import UserError
from models_train.files import atomic_path, remove
from models_train.reward_models.model import HEAD, RewardModel
from models_train.study.settings import Objective

CARD_TEMPLATE = Path(__file__).with_name("card.md.j2")
NEW_PAD = "<|pad|>"
PROBES: tuple[tuple[Prompt, str], ...] = (
    ((Turn("user", "Is seven a prime number?"),), "Yes"),
    ((Turn("user", "Name two."), Turn("assistant", "Two, three."), Turn("user", "And one more?")), "It is 5."),
)
"""Conversations that show how a template begins and ends; the responses end with different tokens."""

_STRFTIME = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


@dataclass(frozen=True)
class Card:
    """Content of a model card, beside the contents of the model's files.

    base_model: hub id or folder; base_revision: its commit, or content hash. data: data sets by their part in
    training. recipe, results: names and values, as they are to be shown. notes: sentences.
    """

    base_model: str
    base_revision: str
    objective: Objective
    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def base_name(self) -> str:
        """The hub id, or the last step of a folder's path."""
        return Path(self.base_model).name if Path(self.base_model).is_absolute() else self.base_model


@dataclass(frozen=True)
class Portable:
    """A tokenizer to save. renders_alike: its own `apply_chat_template` gives the token ids of training."""

    tokenizer: PreTrainedTokenizerBase
    renders_alike: bool


def save_reward_model(
    model: RewardModel,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
    dtype: torch.dtype | None = None,
) -> None:
    """Save as safetensors in a new folder, which appears complete or not at all; an existing one is replaced.

    dtype: of the saved backbone, by default as it is; the head is float32. Leftovers of a killed save are removed.
    Raises UserError where no pad token can be chosen, RenderError for a broken chat template; then nothing is written.
    """
    classifier = model.classifier
    dtype = dtype or classifier.dtype
    portable = portable_tokenizer(tokenizer, classifier.config)
    config = copy.deepcopy(classifier.config)
    config.get_text_config().pad_token_id = portable.tokenizer.pad_token_id
    config.architectures = [type(classifier).__name__]
    config.dtype = dtype
    if getattr(config.get_text_config(), "attn_logit_softcapping", None) is not None:
        # Transformers would load SDPA, which leaves soft-capping out without a warning.
        config.attn_implementation = "eager"
    weights = {
        name: tensor.to(torch.float32 if name == HEAD else dtype) if tensor.is_floating_point() else tensor
        for name, tensor in classifier.state_dict().items()
    }
    for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):
        remove(leftover)
    with atomic_path(folder) as beside:
        classifier.save_pretrained(beside, state_dict=weights)
        config.save_pretrained(beside)
        portable.tokenizer.save_pretrained(beside)
        model_card(card, config, portable).save(beside / "README.md")


def model_card(card: Card, config: PreTrainedConfig, portable: Portable) -> ModelCard:
    """The card in Markdown with the front matter of the hub."""
    template = str(portable.tokenizer.chat_template)
    longest_fence = max((len(run) for run in re.findall("`+", template)), default=0)
    return ModelCard.from_template(
        ModelCardData(
            base_model=None if Path(card.base_model).is_absolute() else card.base_model,
            library_name="transformers",
            pipeline_tag="text-classification",
            tags=["reward-model", "rewardbase", card.objective],
        ),
        template_path=str(CARD_TEMPLATE),
        **{one.name: getattr(card, one.name) for one in fields(card) if one.name != "base_model"},
        base_name=card.base_name,
        outputs=list((config.id2label or {}).values()),
        merge_weights=getattr(config, "merge_weights", None),
        dtype=str(config.dtype).removeprefix("torch."),
        pad_token=portable.tokenizer.pad_token,
        renders_alike=portable.renders_alike,
        chat_template=template,
        fence="`" * max(3, 1 + longest_fence),
    )


def portable_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> Portable:
    """The tokenizer to save with a reward model of this configuration; the one given stays as it is.

    Raises UserError where no pad token can be chosen, and RenderError for a broken chat template.
    """
    renderer = Renderer(tokenizer, NO_LIMIT)
    wanted = [renderer.render(prompt, response).token_ids for prompt, response in PROBES]
    saved = copy.deepcopy(tokenizer)
    pinned = _pinned(renderer.template)
    saved.chat_template = pinned
    _set_pad_token(saved, config, wanted)
    for template in _completed(pinned):
        saved.chat_template = template
        if [_ids(saved, prompt, response) for prompt, response in PROBES] == wanted:
            return Portable(saved, renders_alike=True)
    saved.chat_template = pinned
    return Portable(saved, renders_alike=False)


def _pinned(template: str) -> str:
    """The template with the pinned date in place of today's."""
    template = _STRFTIME.sub(lambda found: f'"{PINNED_DATE.strftime(found[2])}"', template)
    if "date_string" in template:
        template = f'{{%- set date_string = "{PINNED_DATE.strftime(DATE_FORMAT)}" %}}' + template
    return template


def _completed(template: str) -> Iterator[str]:
    """The template as it is, and with the BOS and EOS that it may leave to the tokenizer."""
    end = "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}"
    for beginning in ("", "{{ bos_token }}"):
        for ending in ("", end):
            yield beginning + template + ending


def _ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, response: str) -> list[int] | None:
    messages: Messages = [{"role": turn.role, "content": turn.text} for turn in prompt]
    try:
        found: Any = tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": response}], tokenize=True, return_dict=False
        )
    except (TypeError, ValueError):  # a template that adds a token which the tokenizer does not have
        return None
    return list(found)


def _set_pad_token(saved: PreTrainedTokenizerBase, config: PreTrainedConfig, rendered: list[list[int]]) -> None:
    """Choose the pad token: the first of these that is no EOS and that no sequence can end with.

    The tokenizer's own; BOS, which is at the beginning only; a special token that templates do not write; any
    other special token; a new one, where the model's vocabulary has an unused row. rendered: the probes' ids.
    """
    tokenizer: Any = saved
    n_rows = int(config.get_text_config().vocab_size)
    added = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = sorted(added.union(tokenizer.all_special_ids) - {tokenizer.unk_token_id})
    written = {token for ids in rendered for token in ids}
    candidates = [tokenizer.pad_token_id, tokenizer.bos_token_id]
    candidates += [token for token in special if token not in written] + special
    last = {ids[-1] for ids in rendered}
    excluded = last | _ends(config) | {tokenizer.eos_token_id}
    if len(last) > 1:  # sequences end with their response, and text may hold an unknown character
        excluded |= {token for token in candidates if token not in special}
    for candidate in candidates:
        if candidate is not None and candidate not in excluded and candidate < n_rows:
            tokenizer.pad_token = tokenizer.convert_ids_to_tokens(candidate)
            return
    if len(tokenizer) >= n_rows:
        raise UserError(
            "the tokenizer has no token that could be the pad token: none that is neither EOS nor the end of a turn, "
            "and the model's vocabulary has no unused row; add a pad token to the base model's tokenizer"
        )
    tokenizer.add_special_tokens({"pad_token": NEW_PAD})


def _ends(config: PreTrainedConfig) -> set[int]:
    ends = config.get_text_config().eos_token_id
    return set(ends) if isinstance(ends, list) else {ends} - {None}
