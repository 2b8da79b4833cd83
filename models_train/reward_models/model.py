"""A reward model: a causal language model's backbone, a linear head on each sequence's last hidden state, its loss.

It is Transformers' sequence classification model of the family (`classifiers.py`), run on packs. No pad token is
searched for: the pack says where a sequence ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from models_train.data.records import ATTRIBUTES
from models_train.errors import UserError, first_line
from models_train.modeling.base_models import ModelSource, load_config, load_model
from models_train.modeling.packed_attention import FORWARD_ERRORS, packed_inputs, use_packed_attention
from models_train.modeling.packing import Pack, pack, same_frequencies
from models_train.reward_models.classifiers import HEAD, classifier_class, head_of
from models_train.reward_models.data import Example, TokenPair, TokenRating
from models_train.study.settings import Objective
from warehouse.contracts.scores import REWARD

_TRIAL_IDS = [3, 1, 2, 0, 1, 3, 0, 2, 2, 0, 3, 1, 0, 1, 2, 3]
"""Token ids of the trial of padded batches; every vocabulary has them."""


def n_outputs(objective: Objective) -> int:
    """Width of the head: one reward, or the five attributes."""
    return 1 if objective == "bradley_terry" else len(ATTRIBUTES)


class RewardModule(nn.Module):
    """The module to train: a pack goes in, the rewards of its sequences come out.

    A model that cannot run on packs (`is_packed` False, for the reason `not_packed`) runs on batches padded on the
    right instead: the same rewards, more slowly. Raises UserError where padding changes them.

    head: name of the linear head. A reward is read at the last token; with a pad_token_id at the last one that is no
    pad token, as Transformers does.
    """

    def __init__(self, classifier: PreTrainedModel, head: str = "score", pad_token_id: int | None = None) -> None:
        super().__init__()
        self.classifier = classifier
        self.head_name = head
        self.pad_token_id = pad_token_id
        self.not_packed: str | None = None
        try:
            use_packed_attention(classifier)
        except ValueError as error:
            self.not_packed = str(error)
            if getattr(classifier.config.get_text_config(), "attn_logit_softcapping", None) is not None:
                # SDPA leaves soft-capping out without a warning.
                classifier.set_attn_implementation("eager")
        self.is_packed = self.not_packed is None
        self.eval()  # no dropout and no noise of experts: a reward is the same each time
        if not self.is_packed and classifier.device.type != "meta":
            self._refuse_other_batches()

    @torch.no_grad()
    def _refuse_other_batches(self) -> None:
        """Raise UserError where a sequence has another reward in a batch with a longer one than by itself."""
        try:
            wanted = self(pack([_TRIAL_IDS[:9]]).to(self.classifier.device))[0]
            given = self(pack([_TRIAL_IDS, _TRIAL_IDS[:9]]).to(self.classifier.device))[1]
        except FORWARD_ERRORS as error:
            raise UserError(
                f"{type(self.classifier).__name__} cannot run on padded batches ({first_line(error)}), and "
                f"{self.not_packed}; take the model out of the study"
            ) from error
        most = (1e-4 if self.classifier.dtype == torch.float32 else 0.2) * max(1.0, float(wanted.abs().max()))
        difference = float((given - wanted).abs().max())
        if not difference <= most:
            raise UserError(
                f"{type(self.classifier).__name__} gives a sequence another reward in a padded batch than by itself "
                f"(a difference of {difference:.1e}), and {self.not_packed}; take the model out of the study"
            )

    def forward(self, pack: Pack) -> torch.Tensor:
        """(n_sequences, n_outputs) float32. Raises ValueError for sequences that the position encoding cannot pack."""
        groups = same_frequencies(self.classifier.config, pack.lengths)
        if len(groups) == 1:
            return self._head(self._last_hidden(pack))
        rewards = [self._head(self._last_hidden(pack.part(group))) for group in groups]
        order = torch.tensor([index for group in groups for index in group], device=rewards[0].device)
        return torch.cat(rewards)[order.argsort()]

    def _last_hidden(self, pack: Pack) -> torch.Tensor:
        """(n_sequences, hidden_size): the hidden state of each sequence that the head reads."""
        backbone = self.classifier.base_model
        sequences = pack.token_ids.split(list(pack.lengths))
        places = torch.tensor([self._place(one) for one in sequences], device=pack.token_ids.device)
        if self.is_packed:
            hidden: torch.Tensor = backbone(**packed_inputs(pack)).last_hidden_state[0]
            return hidden[pack.boundaries[:-1].long() + places]
        token_ids = nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
        lengths = torch.tensor(pack.lengths, device=token_ids.device)
        mask = torch.arange(token_ids.shape[1], device=token_ids.device) < lengths[:, None]
        hidden = backbone(input_ids=token_ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
        return hidden[torch.arange(len(lengths), device=hidden.device), places]

    def _place(self, token_ids: torch.Tensor) -> int:
        """Place of the token of a sequence at which its reward is read."""
        if self.pad_token_id is None:
            return len(token_ids) - 1
        others = torch.nonzero(token_ids != self.pad_token_id)
        return int(others[-1]) if len(others) else 0

    def _head(self, hidden: torch.Tensor) -> torch.Tensor:
        """bf16 steps around a reward of 4 are 0.03 wide and make ties: the head's weights decide, which are float32."""
        head: nn.Linear = getattr(self.classifier, self.head_name)
        with torch.autocast(hidden.device.type, enabled=False):
            rewards: torch.Tensor = head(hidden.to(head.weight.dtype))
        return rewards.float()


class RewardModel:
    """A reward model: `module` is trained, `rewards` scores packs."""

    def __init__(self, classifier: PreTrainedModel) -> None:
        """classifier: of `AutoModelForSequenceClassification`. Raises UserError where its head is no linear one."""
        head_of(classifier)
        self.module: RewardModule = RewardModule(classifier)

    @classmethod
    def from_base(cls, source: ModelSource, n_outputs: int, seed: int, dtype: torch.dtype) -> Self:
        """A reward model that begins with a base model's weights and a new head.

        n_outputs: 1 (Bradley-Terry) or 5 (regression). dtype: of the backbone; the head is float32. The head's
        weights are normal with mean 0 and variance 1 / (hidden_size + 1) (Stiennon et al. 2020, Appendix C), drawn on
        the CPU from `seed`. Raises UserError.
        """
        kind = classifier_class(source.name, load_config(source), remote_code=source.remote_code)
        classifier = load_model(source, kind, dtype, may_miss=(HEAD,), num_labels=n_outputs)
        model = cls(classifier)
        hidden_size = model.head.weight.shape[1]
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(n_outputs, hidden_size, generator=generator) / (hidden_size + 1) ** 0.5
        model.set_head(weight)
        model._name_outputs()
        return model

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, *, remote_code: bool = False) -> Self:
        """A saved reward model; the head is float32 whatever `dtype` is. Raises UserError."""
        source = ModelSource(folder.name, str(folder), remote_code=remote_code)
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no reward model; train it first, or correct the path")
        kind = classifier_class(source.name, load_config(source), remote_code=remote_code)
        model = cls(load_model(source, kind, dtype))
        model.set_head(read_tensor(folder, HEAD))
        return model

    def rewards(self, pack: Pack) -> torch.Tensor:
        """(n_sequences, n_outputs) float32, in the pack's order, with gradients where they are on."""
        rewards: torch.Tensor = self.module(pack.to(self.device))
        return rewards

    def to(self, device: torch.device | str) -> Self:
        """Move to a device."""
        self.module.to(device)
        return self

    def set_head(self, weight: torch.Tensor) -> None:
        """Set the head's weights, (n_outputs, hidden_size), in float32."""
        head = self.head
        if weight.shape != head.weight.shape:
            shapes = f"{tuple(weight.shape)}, not {tuple(head.weight.shape)}"
            raise UserError(f"the weights of the head have the shape {shapes}; the saved files do not fit together")
        head.weight = nn.Parameter(weight.to(head.weight.device, torch.float32))

    @property
    def classifier(self) -> PreTrainedModel:
        """Transformers' own model."""
        return self.module.classifier

    @property
    def head(self) -> nn.Linear:
        """The linear head."""
        return head_of(self.classifier)

    @property
    def config(self) -> PreTrainedConfig:
        """Transformers' configuration."""
        return self.classifier.config

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.head.weight.device

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the outputs: `reward`, or the five attributes."""
        return (REWARD,) if self.head.out_features == 1 else ATTRIBUTES

    @property
    def merge_weights(self) -> dict[str, float] | None:
        """Weight of each attribute in the merged reward (regression, once it is chosen); else None."""
        weights: dict[str, float] | None = getattr(self.config, "merge_weights", None)
        return weights

    @merge_weights.setter
    def merge_weights(self, weights: Mapping[str, float]) -> None:
        if set(weights) != set(self.attributes) or self.attributes == (REWARD,):
            raise ValueError(f"merge weights are of {', '.join(ATTRIBUTES)}, not of {', '.join(weights)}")
        self.config.merge_weights = {name: float(weights[name]) for name in self.attributes}

    def _name_outputs(self) -> None:
        self.config.id2label = dict(enumerate(self.attributes))
        self.config.label2id = {name: index for index, name in enumerate(self.attributes)}
        self.config.problem_type = "regression"


def example_losses(rewards: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
    """Loss of each example of a pack: (n_examples,) float32.

    rewards: (n_sequences, n_outputs), the sequences of the examples in order. Bradley-Terry, -log sigmoid(r_w - r_l),
    for pairs (paper, Equation 2); the squared error averaged over the five attributes for ratings (Equation 5).
    Raises ValueError where rewards and examples do not fit together.
    """
    rewards = rewards.float()
    n_sequences = sum(len(example.sequences) for example in examples)
    if all(isinstance(example, TokenPair) for example in examples):
        _fits(rewards, (n_sequences, 1))
        chosen, rejected = rewards[0::2, 0], rewards[1::2, 0]
        return -F.logsigmoid(chosen - rejected)
    ratings = [example.attributes for example in examples if isinstance(example, TokenRating)]
    if len(ratings) != len(examples):
        raise ValueError("pairs and ratings cannot be trained on together; train one objective at a time")
    _fits(rewards, (n_sequences, len(ATTRIBUTES)))
    wanted = torch.tensor(ratings, dtype=torch.float32, device=rewards.device)
    return F.mse_loss(rewards, wanted, reduction="none").mean(dim=1)


def read_tensor(folder: Path, name: str) -> torch.Tensor:
    """One tensor of a saved model, in the format of the file. Raises UserError where it is not there."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    try:
        file = json.loads(index.read_text())["weight_map"][name] if index.is_file() else SAFE_WEIGHTS_NAME
        with safe_open(folder / file, framework="pt") as tensors:
            return tensors.get_tensor(name)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder}: the weights {name} cannot be read ({error}); train the model again") from error


def _fits(rewards: torch.Tensor, shape: tuple[int, int]) -> None:
    if tuple(rewards.shape) != shape:
        raise ValueError(f"rewards have the shape {tuple(rewards.shape)}, the examples need {shape}: check the head")
