"""A reward model as a folder that Transformers loads by itself: weights, configuration, tokenizer, model card.

Three things differ from the base model's tokenizer. The chat template writes all that `Renderer` adds (BOS, EOS, the
pinned date), so that `apply_chat_template` by itself gives the ids of training. The pad token is one that no sequence
can end with, because Transformers takes the rightmost token that is no pad token; where the vocabulary has none, the
embedding gets a row for it. Several templates become the default.

What is saved is what was trained: the folder is loaded with Transformers alone, and its weights and some rewards are
compared with those in memory.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelCardData
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers import __version__ as transformers_version

from models_train.data.chat import DATE_FORMAT, NO_LIMIT, PINNED_DATE, Messages, Renderer
from models_train.data.records import Prompt, Turn
from models_train.errors import UserError, first_line
from models_train.files import atomic_path, remove
from models_train.modeling.base_models import context_length, quiet
from models_train.modeling.packed_attention import FORWARD_ERRORS, input_embedding
from models_train.modeling.packing import pack
from models_train.reward_models.classifiers import HEAD, is_built
from models_train.reward_models.model import RewardModel
from models_train.study.settings import Objective

CARD_TEMPLATE = Path(__file__).with_name("card.md.j2")
NEW_PAD = "<|pad|>"
PROBES: tuple[tuple[Prompt, str], ...] = (
    ((Turn("user", "Is seven a prime number?"),), "Yes"),
    ((Turn("user", "Name two."), Turn("assistant", "Two, three."), Turn("user", "And one more?")), "It is 5."),
)
"""Conversations that show how a template begins and ends; the responses end with different tokens."""
TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4}
"""Largest difference of a saved model's rewards, in units of 1 or of the largest reward, by number format."""
COARSE_TOLERANCE = 0.1
"""The same in formats of 16 bits, in which Transformers rounds hidden states and rewards."""

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
    """A tokenizer to save.

    renders_alike: its own `apply_chat_template` gives the token ids of training. probes: token ids of PROBES.
    """

    tokenizer: PreTrainedTokenizerBase
    renders_alike: bool
    probes: Sequence[list[int]]


def save_reward_model(
    model: RewardModel,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
    dtype: torch.dtype | None = None,
) -> None:
    """Save as safetensors in a new folder, which appears complete or not at all; an existing one is replaced.

    dtype: of the saved backbone, by default as it is; the head is float32. Leftovers of a killed save are removed.
    Raises UserError where the folder, loaded by Transformers alone, is another model than the one in memory, and
    RenderError for a broken chat template; then nothing is written.
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
    _add_rows(classifier, config, weights)
    for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):
        remove(leftover)
    with atomic_path(folder) as beside:
        classifier.save_pretrained(beside, state_dict=weights)
        config.save_pretrained(beside)
        portable.tokenizer.save_pretrained(beside)
        model_card(card, config, portable, type(classifier)).save(beside / "README.md")
        _refuse_another_model(model, beside, weights, portable.probes, dtype)


def _add_rows(classifier: PreTrainedModel, config: PreTrainedConfig, weights: dict[str, torch.Tensor]) -> None:
    """Add rows of zeros to the embedding up to the pad token's; no sequence sees them."""
    embedding = input_embedding(classifier)
    n_rows, text = len(embedding), config.get_text_config()
    n_more = int(text.pad_token_id) + 1 - n_rows
    if n_more > 0:
        name = next(name for name, weight in classifier.named_parameters() if weight is embedding)
        weights[name] = torch.cat([weights[name], weights[name].new_zeros(n_more, embedding.shape[1])])
        text.vocab_size = n_rows + n_more


def _refuse_another_model(
    model: RewardModel,
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    probes: Sequence[list[int]],
    dtype: torch.dtype,
) -> None:
    """Raise UserError where a saved folder, loaded as others load it, is not the model in memory.

    weights: as they were to be saved. probes: token ids of conversations, which are rewarded in one padded batch.
    """
    what = "the reward model as saved is not the one in memory"
    alone, found = _loaded_alone(folder, dtype, type(model.classifier))
    for kind in ("missing", "unexpected", "mismatched"):
        if names := sorted(map(str, found[f"{kind}_keys"])):
            raise UserError(f"{what}: Transformers finds {len(names)} {kind} weights in its files, such as {names[0]}")
    loaded = alone.state_dict()
    other = [name for name, one in weights.items() if not torch.equal(loaded[name], one.to(loaded[name]))]
    if other:
        raise UserError(f"{what}: {len(other)} of its weights have other values once loaded, such as {other[0]}")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    context = context_length(alone.config) or NO_LIMIT
    token_ids = [ids[-context:] for ids in probes]
    with torch.no_grad():
        wanted = model.rewards(pack(token_ids)).cpu()
        try:
            given = alone.eval()(**tokenizer.pad({"input_ids": token_ids}, return_tensors="pt")).logits.float()
        except FORWARD_ERRORS as error:
            raise UserError(
                f"{what}: the sequence classification model of Transformers fails on a batch of test conversations "
                f"({first_line(error)})"
            ) from error
    _refuse_other_rewards(what, given, wanted, TOLERANCES.get(dtype, COARSE_TOLERANCE))


def _loaded_alone(
    folder: Path, dtype: torch.dtype, kind: type[PreTrainedModel]
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A saved model and the report of its loading. kind: its class, which the Auto class may not know."""
    is_own = is_built(kind) or kind.__module__.startswith("transformers_modules")
    loader: Any = kind if is_own else AutoModelForSequenceClassification
    with quiet():
        loaded: tuple[PreTrainedModel, dict[str, Any]] = loader.from_pretrained(
            folder, dtype=dtype, output_loading_info=True
        )
    return loaded


def _refuse_other_rewards(what: str, given: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> None:
    differences = (given - wanted).abs()
    most = tolerance * max(1.0, float(wanted.abs().max()))
    if not bool((differences <= most).all()):
        worst = int(differences.nan_to_num(torch.inf).argmax())
        raise UserError(
            f"{what}: Transformers by itself gives a test conversation the reward {float(given.flatten()[worst]):.6g} "
            f"instead of {float(wanted.flatten()[worst]):.6g} (tolerance {most:.1g})"
        )


def model_card(
    card: Card, config: PreTrainedConfig, portable: Portable, classifier: type[PreTrainedModel]
) -> ModelCard:
    """The card in Markdown with the front matter of the hub. classifier: class of the model."""
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
        built=classifier if is_built(classifier) else None,
        transformers_version=transformers_version,
        chat_template=template,
        fence="`" * max(3, 1 + longest_fence),
    )


def portable_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> Portable:
    """The tokenizer to save with a reward model of this configuration; the one given stays as it is.

    Raises RenderError for a broken chat template.
    """
    renderer = Renderer(tokenizer, NO_LIMIT)
    wanted = [renderer.render(prompt, response).token_ids for prompt, response in PROBES]
    saved = copy.deepcopy(tokenizer)
    pinned = _pinned(renderer.template)
    saved.chat_template = pinned
    # On the left, positions that are counted from the beginning of a row, and states carried along it, would change.
    saved.padding_side = "right"
    _set_pad_token(saved, config, wanted)
    for template in _completed(pinned):
        saved.chat_template = template
        if [_ids(saved, prompt, response) for prompt, response in PROBES] == wanted:
            return Portable(saved, renders_alike=True, probes=wanted)
    saved.chat_template = pinned
    return Portable(saved, renders_alike=False, probes=wanted)


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
    other special token; a new one, on an unused row of the model's vocabulary or on a further row. rendered: the
    probes' ids.
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
    tokenizer.add_special_tokens({"pad_token": NEW_PAD})


def _ends(config: PreTrainedConfig) -> set[int]:
    ends = getattr(config.get_text_config(), "eos_token_id", None)
    return {int(end) for end in (ends if isinstance(ends, list) else [ends]) if end is not None}
