"""A critique reward model: a causal language model that writes critiques, with a linear head that reads the reward at
the last token after one (Ankner et al. 2024, "Critique-out-Loud reward models").

It is trained on packs as other reward models are, by two losses in one step: Bradley-Terry on the rewards of the two
responses, and the cross-entropy of the tokens of both critiques.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from models_train.errors import UserError
from models_train.logprobs.head import head_of as language_head
from models_train.modeling.base_models import ModelSource, load_model
from models_train.modeling.packed_attention import NAME
from models_train.modeling.packing import Pack, same_frequencies
from models_train.reward_models.classifiers import HEAD
from models_train.reward_models.data import CritiquedPair, CritiquedResponse, TrainingPack
from models_train.reward_models.model import RewardModel, RewardModule, example_losses, new_head
from models_train.study.training import CritiqueRecipe, Precision

HEAD_FILE = "head.safetensors"
"""File of the head in a saved folder, with the weights HEAD, (1, hidden_size) float32."""


@dataclass(frozen=True)
class Critic:
    """How a critique reward model writes critiques. source: of its tokens that end a text. name: of the reward model.
    precision: of the writing."""

    source: ModelSource
    recipe: CritiqueRecipe
    precision: Precision
    name: str

    @property
    def n_of_benchmarks(self) -> int:
        """Critiques of each completion of a benchmark."""
        return max(self.recipe.samples)


class CritiqueModule(RewardModule):
    """The module to train. `classifier` is the causal language model, to which the head `score` was added."""

    def forward(self, pack: Pack, starts: Sequence[int] | None = None) -> Any:
        """(n_sequences, 1) float32 rewards; with `starts` also (n_sequences,) float32 sums of the negative
        log-probabilities of the tokens of each critique, in nats.

        starts: place of the first token of each sequence's critique, 1 or more.
        """
        if starts is None:
            return super().forward(pack)
        groups = same_frequencies(self.classifier.config, pack.lengths)
        if len(groups) == 1:
            return self._both(pack, starts)
        found = [self._both(pack.part(group), [starts[index] for index in group]) for group in groups]
        rewards, sums = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = torch.tensor([index for group in groups for index in group], device=rewards.device).argsort()
        return rewards[order], sums[order]

    def _both(self, pack: Pack, starts: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.hidden(pack)
        rewards = self._head(hidden[pack.last_positions])
        begins = pack.boundaries[:-1].tolist()
        predicted = [
            torch.arange(begin + start, begin + length)
            for begin, start, length in zip(begins, starts, pack.lengths, strict=True)
        ]
        places = torch.cat(predicted).to(hidden.device)
        losses = F.cross_entropy(self._logits(hidden[places - 1]), pack.token_ids[places], reduction="none")
        of_sequence = torch.repeat_interleave(torch.tensor([len(one) for one in predicted])).to(hidden.device)
        return rewards, torch.zeros(len(starts), device=hidden.device).index_add(0, of_sequence, losses)

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(n_tokens, n_vocabulary) float32 logits of the language model."""
        head = language_head(self.classifier, self.classifier.get_output_embeddings().weight.shape[0])
        logits = F.linear(hidden, head.weight, head.bias).float() * head.scale
        return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


class CritiqueModel(RewardModel):
    """A critique reward model. weight: of the cross-entropy in `losses`. critic: how it writes critiques, set where it
    does."""

    module: CritiqueModule
    weight: float
    critic: Critic

    def _module(self, classifier: PreTrainedModel) -> RewardModule:
        return CritiqueModule(classifier)

    @classmethod
    def of_language_model(cls, model: PreTrainedModel, head: torch.Tensor, weight: float = 1.0) -> Self:
        """A causal language model with a head, (1, hidden_size); the language model is changed in place."""
        model.score = nn.Linear(head.shape[1], 1, bias=False)  # by the name of the heads of classification models
        found = cls(model)
        found.set_head(head)
        found.weight = weight
        return found

    @classmethod
    def from_language_model(cls, source: ModelSource, seed: int, dtype: torch.dtype, weight: float) -> Self:
        """A critique reward model that begins with a language model's weights and a new head (`new_head`).

        Raises UserError where the language model cannot be loaded.
        """
        model = load_model(source, AutoModelForCausalLM, dtype)
        return cls.of_language_model(model, new_head(1, model.config.get_text_config().hidden_size, seed), weight)

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, *, remote_code: bool = False) -> Self:
        """A saved critique reward model; the head is float32. Raises UserError."""
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} holds no reward model; train it first, or correct the path")
        model = load_model(ModelSource(folder.name, str(folder), remote_code=remote_code), AutoModelForCausalLM, dtype)
        return cls.of_language_model(model, read_head(folder))

    def losses(self, one: TrainingPack) -> torch.Tensor:
        """(n_examples,) float32. Of pairs -log sigmoid(r_w - r_l) plus `weight` times the mean negative log-probability
        of the tokens of both critiques; of single responses that mean alone."""
        starts = [start for example in one.examples for start in _starts(example)]
        rewards, sums = self.module(one.pack.to(self.device), starts)
        n_tokens = torch.tensor(
            [length - start for length, start in zip(one.pack.lengths, starts, strict=True)], device=sums.device
        )
        if all(isinstance(example, CritiquedResponse) for example in one.examples):
            return sums / n_tokens + 0.0 * rewards[:, 0]  # the head has a gradient, of zeros
        written = (sums[0::2] + sums[1::2]) / (n_tokens[0::2] + n_tokens[1::2])
        return example_losses(rewards, one.examples) + self.weight * written

    @contextlib.contextmanager
    def as_writer(self) -> Iterator[PreTrainedModel]:
        """The language model with Transformers' own attention, which a cache of keys and values needs."""
        model = self.classifier
        capped = getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None
        if self.module.is_packed:
            model.set_attn_implementation("eager" if capped else "sdpa")
        try:
            yield model
        finally:
            if self.module.is_packed:
                model.set_attn_implementation(NAME)

    def language_weights(self) -> dict[str, torch.Tensor]:
        """The weights of the language model alone, by their names."""
        return {name: tensor for name, tensor in self.classifier.state_dict().items() if name != HEAD}


def _starts(example: Any) -> Sequence[int]:
    if not isinstance(example, CritiquedPair | CritiquedResponse):
        raise TypeError(f"a critique reward model is trained on critiques, not on {type(example).__name__}")
    return example.starts


def save_head(folder: Path, head: torch.Tensor) -> None:
    """Write the file of a head, (1, hidden_size)."""
    save_file({HEAD: head.detach().to("cpu", torch.float32).contiguous()}, folder / HEAD_FILE)


def read_head(folder: Path) -> torch.Tensor:
    """(1, hidden_size) float32: the head of a saved folder. Raises UserError where it cannot be read."""
    try:
        return load_file(folder / HEAD_FILE)[HEAD]
    except (OSError, KeyError, SafetensorError) as error:
        raise UserError(f"{folder}: the head {HEAD_FILE} cannot be read ({error}); train the model again") from error
