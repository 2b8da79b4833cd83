"""Reward models as other people publish them: classes of Transformers, and classes of a repository's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification, PreTrainedConfig

from tests.support.tiny_models import byte_tokenizer, classifier_of, randomize

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}{{ eos_token }}"
    "{% endfor %}"
)
OWN_CLASS = """\
import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class Judge(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.dropout = nn.Dropout(0.5)
        {head}
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **_):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        last = attention_mask.sum(1) - 1
        hidden = hidden[torch.arange(len(last)), last]
        return SequenceClassifierOutput(logits={logits})
"""
OWN_HEADS = {
    "v_head": ("self.v_head = nn.Linear(config.hidden_size, {n})", "self.v_head(self.dropout(hidden))"),
    "classifier": ("self.classifier = nn.Linear(config.hidden_size, {n}, bias=False)", "self.classifier(hidden)"),
    "two layers": (
        "self.v_head = nn.Sequential(nn.Linear(config.hidden_size, 8), nn.SiLU(), nn.Linear(8, {n}))",
        "self.v_head(hidden)",
    ),
    "not what it seems": ("self.score = nn.Linear(config.hidden_size, {n})", "self.score(hidden).tanh()"),
    "not what it gives": ("self.score = nn.Linear(config.hidden_size, {n})", "self.score(hidden)[:, :, None] * hidden"),
}


def write_classifier(folder: Path, config: PreTrainedConfig, n_outputs: int = 1, **settings: Any) -> Path:
    """A reward model of one of Transformers' classes. settings: of config.json, beside those of the configuration."""
    model = classifier_of(config, n_outputs)
    model.config.update(settings)
    model.save_pretrained(folder)
    byte_tokenizer(TEMPLATE).save_pretrained(folder)
    return folder


def write_own_class(folder: Path, config: PreTrainedConfig, head: str, n_outputs: int = 1, **settings: Any) -> Path:
    """A reward model of a class of its own, with one of OWN_HEADS. It reads the last token, whatever the pad token."""
    write_classifier(folder, config, n_outputs, **settings)
    made, logits = OWN_HEADS[head]
    code = OWN_CLASS.format(head=made.format(n=n_outputs), logits=logits)
    (folder / "modeling_judge.py").write_text(code)
    change(folder, auto_map={"AutoModelForSequenceClassification": "modeling_judge.Judge"}, architectures=["Judge"])
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=True, ignore_mismatched_sizes=True
    )
    randomize(model)
    model.save_pretrained(folder)
    return folder


def change(folder: Path, **settings: Any) -> None:
    """Change settings of config.json; None removes one."""
    path = folder / "config.json"
    changed = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))
