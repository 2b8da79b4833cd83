"""The model card of a saved reward model: what it was made of, how, how good it is, and how to ask it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from transformers import PreTrainedConfig

from models_train.study.settings import Objective

if TYPE_CHECKING:
    from models_train.reward_models.export import Portable


@dataclass(frozen=True)
class Card:
    """What a card says, beside what the model's files say themselves.

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


OBJECTIVES = {
    "bradley_terry": "Bradley-Terry on pairs of responses; one output, `reward`",
    "regression": "regression to five attributes of a response; the outputs, in order",
}


def card_text(card: Card, config: PreTrainedConfig, portable: Portable) -> str:
    """The card as Markdown with the front matter of the hub."""
    names = ", ".join(f"`{name}`" for name in (config.id2label or {}).values())
    objective = OBJECTIVES[card.objective] + (f": {names}" if card.objective == "regression" else "")
    sections = [
        _front_matter(card),
        f"# Reward model of {card.base_name}",
        f"Base model: `{card.base_name}` at `{card.base_revision}`.\nObjective: {objective} (arXiv 2505.10775, "
        "Section 3.1).",
        _how_to_ask(config, portable),
        _merge(config),
        _table("Data", "data set", card.data),
        _table("Recipe", "value", card.recipe),
        _table("Results", "value", card.results),
        _template(portable),
        *card.notes,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(card: Card) -> str:
    entries: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["reward-model", "rewardbase", card.objective],
    }
    if not Path(card.base_model).is_absolute():
        entries["base_model"] = card.base_model
    return f"---\n{yaml.safe_dump(entries, sort_keys=False)}---"


def _how_to_ask(config: PreTrainedConfig, portable: Portable) -> str:
    pad = portable.tokenizer.pad_token
    return f"""## How to ask it
```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder)
conversation = [{{"role": "user", "content": question}}, {{"role": "assistant", "content": answer}}]
inputs = tokenizer.apply_chat_template(conversation, tokenize=True, return_dict=True, return_tensors="pt")
rewards = model(**inputs).logits
```
Batches may be padded on either side. Transformers takes the hidden state of the rightmost token that is no pad token;
the pad token `{pad}` was chosen so that no conversation ends with it: do not set it to the EOS token.
The backbone is saved in {_dtype(config)}, the head in float32. Load with `dtype=torch.float32` for rewards that do not
depend on the batch; in bfloat16 Transformers rounds the rewards themselves to 8 bits, which makes ties."""


def _merge(config: PreTrainedConfig) -> str:
    weights: Mapping[str, float] | None = getattr(config, "merge_weights", None)
    if weights is None:
        return ""
    return (
        _table("Merge weights", "weight", weights)
        + "\n\nMerged reward = sum of weight times attribute. The weights also stand in `config.json`, key "
        "`merge_weights`."
    )


def _template(portable: Portable) -> str:
    template = str(portable.tokenizer.chat_template)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", template)), default=0))
    if portable.renders_alike:
        how = "`apply_chat_template` gives the token ids that the model was trained on; the date in it is pinned."
    else:
        how = "`apply_chat_template` differs from what the model was trained on at the beginning or end of a sequence."
    return (
        f"## Chat template\n{how} In training, a system turn that the template refuses or ignores stood before the "
        f"first user turn, and text that spells a special token was ordinary text.\n\n{fence}jinja\n{template}\n{fence}"
    )


def _table(title: str, heading: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join([f"## {title}", f"| | {heading} |", "| --- | --- |", *lines])


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", r"\|").split())


def _dtype(config: PreTrainedConfig) -> str:
    return str(config.dtype).removeprefix("torch.")
