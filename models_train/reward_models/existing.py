"""Reward models of a hub or of a folder, which were trained elsewhere: their files, outputs, merge weights, rewards.

A reward is what Transformers gives the text alone, unpadded. Where the head is a linear one on a hidden state, the
model runs on packs (or padded batches) as those that are trained here do, and is compared with its own forward on two
conversations first. Any other model runs its own forward, a sequence at a time; so does one of another class than
Transformers' own in 16 bits, where a comparison shows too little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME

from models_train.data.chat import NO_LIMIT, Renderer, RenderError
from models_train.errors import UserError, close_match, first_line, listed
from models_train.modeling.base_models import ModelSource, context_length, load_config, load_model, load_tokenizer
from models_train.modeling.hub_snapshots import HubModel
from models_train.modeling.model_files import ModelFiles, check_kind, check_tokenizer_files, weight_headers
from models_train.modeling.packed_attention import FORWARD_ERRORS
from models_train.modeling.packing import Pack, pack
from models_train.reward_models.classifiers import HEAD, classifier_class
from models_train.reward_models.export import COARSE_TOLERANCE, PROBES, TOLERANCES
from models_train.reward_models.model import RewardModule
from models_train.study.fingerprints import resolve
from models_train.study.reward_benchmarks import ScoredRewardModel
from models_train.study.settings import shown
from warehouse.contracts.scores import MERGED, REWARD

LINEAR_HEADS = ("score", "classifier", "v_head")
"""Names that linear heads have in classes of Transformers and of others."""
OTHER_HEADS = ("classification_head", "logits_proj")
"""Names of further heads in classes of Transformers."""
CLASS = "AutoModelForSequenceClassification"
"""Key of a class of the repository's own in `auto_map`."""
DEFAULT_OUTPUTS = 2
"""Outputs of a configuration that states none, in Transformers."""


class ExistingRewardModel:
    """A reward model that scores packs.

    attributes: names of its outputs; `reward` where it has one. merge_weights: of several outputs.
    """

    def __init__(
        self,
        classifier: PreTrainedModel,
        attributes: tuple[str, ...],
        merge_weights: dict[str, float] | None,
        trial: Sequence[Sequence[int]],
        name: str,
    ) -> None:
        """trial: token ids of conversations. name: for messages. Raises UserError where the model gives no rewards."""
        self.attributes = attributes
        self.merge_weights = merge_weights
        self.config: PreTrainedConfig = classifier.config
        if getattr(self.config.get_text_config(), "attn_logit_softcapping", None) is not None:
            classifier.set_attn_implementation("eager")  # SDPA leaves soft-capping out without a warning
        self.module = _module(classifier, len(self.attributes), trial, name)

    def rewards(self, pack: Pack) -> torch.Tensor:
        """(n_sequences, n_outputs) float32, in the pack's order."""
        found: torch.Tensor = self.module(pack.to(self.device))
        return found

    def to(self, device: torch.device | str) -> Self:
        """Move to a device."""
        self.module.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.module.parameters()).device


class OwnForward(nn.Module):
    """A model's own forward, a sequence at a time. Raises ValueError where that gives no value per output."""

    def __init__(self, classifier: PreTrainedModel, n_outputs: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.n_outputs = n_outputs

    def forward(self, pack: Pack) -> torch.Tensor:
        """(n_sequences, n_outputs) float32."""
        return torch.cat([self._one(ids[None]) for ids in pack.token_ids.split(list(pack.lengths))])

    def _one(self, token_ids: torch.Tensor) -> torch.Tensor:
        logits = self.classifier(input_ids=token_ids, attention_mask=torch.ones_like(token_ids)).logits
        if logits.numel() != self.n_outputs:
            raise ValueError(f"it gives {logits.numel()} values for a text, not {self.n_outputs}")
        return logits.reshape(1, self.n_outputs).float()


def load_existing(one: ScoredRewardModel, study_folder: Path) -> tuple[ExistingRewardModel, Renderer]:
    """A reward model of a study, at its commit, and the renderer of conversations for it.

    Raises UserError for files, outputs or a tokenizer that cannot be used, and LocationError where a folder is not
    there.
    """
    source = _source(one, study_folder)
    attributes, weights = outputs(source.files, one)
    check_tokenizer_files(source.files)
    config, tokenizer = load_config(source), load_tokenizer(source)
    if not tokenizer.chat_template:
        raise UserError(
            f"{source.label} has no chat template, so it is not known how its training joined prompt and response; "
            "save that template as chat_template.jinja in the model's folder, and give the folder as path"
        )
    try:
        renderer = Renderer(tokenizer, one.max_tokens, context=context_length(config))
        trial = [Renderer(tokenizer, NO_LIMIT).render(*probe).token_ids for probe in PROBES]
    except RenderError as error:
        raise UserError(
            f"{source.label}: its chat template cannot be used ({first_line(error)}); correct the template, or give a "
            "folder with another one as path"
        ) from error
    kind = classifier_class(source.name, config, remote_code=one.remote_code)
    _refuse_other_heads(source, len(attributes))
    classifier = load_model(source, kind, getattr(torch, one.precision))
    return ExistingRewardModel(classifier, attributes, weights, trial, source.label), renderer


def _source(one: ScoredRewardModel, study_folder: Path) -> ModelSource:
    """The files on this machine: a folder, or a hub's snapshot, whose weights are fetched last."""
    if one.path is not None:
        source = ModelSource(one.reward_id, str(resolve(one.path, study_folder)), None, one.remote_code)
    else:
        on_hub = HubModel(one.reward_id, str(one.hub_id), one.revision, study_folder)
        commit = on_hub.commit()
        fetched = on_hub.snapshot(commit, with_code=one.remote_code, check=lambda files: outputs(files, one))
        source = ModelSource(one.reward_id, str(fetched.folder), commit, one.remote_code, hub_id=one.hub_id)
    return source


def outputs(files: ModelFiles, one: ScoredRewardModel) -> tuple[tuple[str, ...], dict[str, float] | None]:
    """Names of a reward model's outputs by its config.json, and their weights in the reward where there are several.

    Weights in the study file come before those in config.json. Raises UserError.
    """
    config, stated = check_kind(files), one.merge_weights
    _refuse_code(files, config, one)
    # Classes of a repository may do without these settings; how many outputs theirs have shows when they are tried.
    labels = _labels(files, config, 1 if one.remote_code else DEFAULT_OUTPUTS)
    if len(labels) == 1:
        if stated is not None:
            raise UserError(f"{files.label} has one output, which is the reward; remove merge_weights")
        return (REWARD,), None
    if stated is not None:
        return labels, _by_label(files, labels, stated)
    own = config.get("merge_weights")
    if own is None:
        raise UserError(
            f"{files.label} has {len(labels)} outputs ({', '.join(listed(labels, most=12))}), and nothing says how "
            "they make one reward; state merge_weights in the study file: a weight of each output, 0 for one that does "
            "not count"
        )
    if not isinstance(own, Mapping) or not all(map(_is_finite, own.values())):
        raise UserError(
            f"{files.label}: merge_weights in {CONFIG_NAME} are no numbers by output; state merge_weights in the study "
            "file"
        )
    return labels, _by_label(files, labels, own)


def _refuse_code(files: ModelFiles, config: Mapping[str, Any], one: ScoredRewardModel) -> None:
    """Raise UserError for a class of the repository's own that may not run: Transformers would take the family's."""
    own = config.get("auto_map") or {}
    if not one.remote_code and isinstance(own, Mapping) and CLASS in own:
        where = "set remote_code: true" if one.is_local else "state its commit as revision and set remote_code: true"
        raise UserError(
            f"{files.label}: its rewards are those of a class of its own ({own[CLASS]}), whose code may not run; read "
            f"that code, and to let it run {where}"
        )


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _labels(files: ModelFiles, config: Mapping[str, Any], default: int) -> tuple[str, ...]:
    """Names of the outputs, in their order. default: their number where config.json does not state it."""
    named, number = config.get("id2label"), config.get("num_labels")
    if named is None:
        n_outputs = default if number is None else number
        if isinstance(n_outputs, bool) or not isinstance(n_outputs, int) or n_outputs < 1:
            raise UserError(f"{files.label}: num_labels in {CONFIG_NAME} is {shown(number)}; correct it")
        return tuple(f"LABEL_{place}" for place in range(n_outputs))
    places = [str(place) for place in range(len(named))] if isinstance(named, Mapping) else []
    if not places or set(named) != set(places):
        raise UserError(
            f"{files.label}: id2label in {CONFIG_NAME} does not name outputs by their number, from 0; correct it"
        )
    labels = tuple(str(named[place]) for place in places)
    if len(set(labels)) < len(labels) or MERGED in labels:
        raise UserError(
            f"{files.label}: id2label in {CONFIG_NAME} names two outputs alike, or one {MERGED!r}; give each output "
            "its own name"
        )
    return labels


def _by_label(files: ModelFiles, labels: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    """Weights by the names of the outputs, in their order; they may be given by number."""
    numbered = {str(number): label for number, label in enumerate(labels)}
    found: dict[str, float] = {}
    for name, weight in weights.items():
        label = name if name in labels else numbered.get(name)
        if label is None:
            raise UserError(
                f"{files.label}: merge_weights names {name!r}, which is no output of it; "
                f"{close_match(name, labels, 'its outputs are')}"
            )
        if label in found:
            raise UserError(f"{files.label}: merge_weights has two weights of {label!r}; keep one")
        found[label] = float(weight)
    if missing := [label for label in labels if label not in found]:
        raise UserError(
            f"{files.label}: merge_weights has no weight of {', '.join(listed(missing, most=12))}; give each output "
            "one, 0 where it does not count"
        )
    return {label: found[label] for label in labels}


def _refuse_other_heads(source: ModelSource, n_outputs: int) -> None:
    """Raise UserError for a head of another size than config.json has outputs, and for a model without a head.

    Transformers would draw the head at random.
    """
    headers = weight_headers(source.files)
    for name in (f"{head}.weight" for head in LINEAR_HEADS):
        if name in headers and headers[name].shape[:1] != (n_outputs,):
            raise UserError(
                f"{source.label}: the head {name} has the shape {headers[name].shape}, and {CONFIG_NAME} names "
                f"{n_outputs} output{'s' if n_outputs > 1 else ''} (id2label); take the {CONFIG_NAME} that the weights "
                "were saved with"
            )
    beginnings = tuple(f"{head}." for head in (*LINEAR_HEADS, *OTHER_HEADS))
    if not source.remote_code and not any(name.startswith(beginnings) for name in headers):
        raise UserError(
            f"{source.label} holds no head of a reward model ({HEAD}): it is a base model, whose rewards would be "
            "random; name the reward model that was trained on it"
        )


@torch.no_grad()
def _module(classifier: PreTrainedModel, n_outputs: int, trial: Sequence[Sequence[int]], name: str) -> nn.Module:
    """What scores packs: the head on hidden states, where that gives the rewards of the model's own forward; else the
    latter. Raises UserError where the model gives no rewards."""
    own, conversations = OwnForward(classifier.eval(), n_outputs), pack(trial).to(classifier.device)
    try:
        wanted = own(conversations)
    except FORWARD_ERRORS as error:
        raise UserError(f"{name} gives no reward for a text ({first_line(error)}); take it out of the study") from error
    for head_name in LINEAR_HEADS:
        head = getattr(classifier, head_name, None)
        if isinstance(head, nn.Linear) and head.out_features == n_outputs:
            before = head.weight.dtype
            head.float()  # rewards of 8 bits would make ties
            module = _on_hidden_states(classifier, head_name, conversations, wanted)
            if module is not None:
                return module
            head.to(before)
            classifier.set_attn_implementation("eager")  # in place of packed attention
    return own


def _on_hidden_states(
    classifier: PreTrainedModel, head: str, conversations: Pack, wanted: torch.Tensor
) -> RewardModule | None:
    """The head on hidden states; None where that does not give the rewards that are wanted.

    Transformers' classes read the last token that is no pad token, others may read the last one.
    """
    # Classes of Transformers with a head `score` are of this kind. Of others, rewards in 16 bits tell too little.
    is_known = head == "score" and type(classifier).__module__.startswith("transformers.")
    if not is_known and classifier.dtype not in TOLERANCES:
        return None
    most = TOLERANCES.get(classifier.dtype, COARSE_TOLERANCE) * max(1.0, float(wanted.abs().max()))
    for pad_token_id in dict.fromkeys((getattr(classifier.config.get_text_config(), "pad_token_id", None), None)):
        try:
            module = RewardModule(classifier, head, pad_token_id)
            given = module(conversations)
        except (UserError, *FORWARD_ERRORS):
            return None
        if float((given - wanted).abs().max()) <= most:
            return module
    return None
