"""A reward model's tokenizer as it is saved: whoever renders and pads with it gets what the model was trained on.

Three things differ from the base model's tokenizer. The chat template writes all that `Renderer` adds (BOS, EOS, the
pinned date), so that `apply_chat_template` alone gives the same ids. The pad token is one that no sequence can end
with, because Transformers looks for the rightmost token that is no pad token. Several templates become the default one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from models_train.data.chat import NO_LIMIT, PINNED_DATE, Messages, Renderer
from models_train.data.records import Prompt, Turn
from models_train.modeling.base_models import BackboneError

NEW_PAD = "<|pad|>"
PROBES: tuple[tuple[Prompt, str], ...] = (
    ((Turn("user", "Is seven a prime number?"),), "Yes"),
    ((Turn("user", "Name two."), Turn("assistant", "Two, three."), Turn("user", "And one more?")), "It is 5."),
)
"""Conversations by which is seen how a template begins and ends; the responses end with different tokens."""

_STRFTIME = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


@dataclass(frozen=True)
class Portable:
    """A tokenizer to save. renders_alike: its own `apply_chat_template` gives the ids that the model was trained on."""

    tokenizer: PreTrainedTokenizerBase
    renders_alike: bool


def portable_tokenizer(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> Portable:
    """The tokenizer to save with a reward model of this configuration; the one given stays as it is.

    Raises BackboneError where no pad token can be chosen, and RenderError for a broken chat template.
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
        template = f'{{%- set date_string = "{PINNED_DATE.strftime("%d %b %Y")}" %}}' + template
    return template


def _completed(template: str) -> Iterator[str]:
    """The template alone, and with what it may leave to the tokenizer."""
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

    The tokenizer's own; BOS, which stands at the beginning only; a special token that templates do not write; any
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
        raise BackboneError(
            "the tokenizer has no token that could be the pad token: none that is neither EOS nor the end of a turn, "
            "and the model's vocabulary has no unused row; add a pad token to the base model's tokenizer"
        )
    tokenizer.add_special_tokens({"pad_token": NEW_PAD})


def _ends(config: PreTrainedConfig) -> set[int]:
    ends = config.get_text_config().eos_token_id
    return set(ends) if isinstance(ends, list) else {ends} - {None}
