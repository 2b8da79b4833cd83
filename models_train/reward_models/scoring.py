"""Rewards of the completions of a benchmark; a completion that cannot be scored gets a status and stops no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers import PreTrainedConfig

from models_train.data.chat import Rendered, Renderer, RenderError
from models_train.errors import first_line
from models_train.modeling.packing import Pack, bins, pack
from models_train.reward_benchmarks.items import Completion, Item
from warehouse.contracts.scores import MERGED

OK = "ok"
TOKENS_PER_PACK = {"cpu": 2048, "cuda": 32_768}
"""Tokens of a pack by device, where the study sets none; a longer sequence has a pack to itself."""

Progress = Callable[[int, int], None]
"""Called with the number of sequences that are done, and of tokens in them, after every pack."""


class Scorer(Protocol):
    """A reward model on a device, trained here or elsewhere."""

    @property
    def config(self) -> PreTrainedConfig:
        """Transformers' configuration."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the outputs."""

    @property
    def merge_weights(self) -> dict[str, float] | None:
        """Weight of each attribute in the merged reward; None where there is one output."""

    def rewards(self, pack: Pack) -> torch.Tensor:
        """(n_sequences, n_outputs) float32, in the pack's order."""


@dataclass(frozen=True)
class Outcome:
    """Rewards of a sequence by output name; None and a status other than `ok` where there are none."""

    rewards: Mapping[str, float] | None
    status: str = OK


def token_rewards(
    reward_model: Scorer,
    sequences: Sequence[Sequence[int]],
    tokens_per_pack: int | None = None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """The rewards of token sequences, in their order; they do not depend on how the sequences share packs.

    tokens_per_pack: most tokens at once, by default TOKENS_PER_PACK of the device. A pack that does not fit in the
    device's memory is halved.
    """
    at_once = tokens_per_pack or TOKENS_PER_PACK.get(reward_model.device.type, TOKENS_PER_PACK["cpu"])
    n_rows = int(reward_model.config.get_text_config().vocab_size)
    outcomes = {
        index: Outcome(None, reason)
        for index, ids in enumerate(sequences)
        if (reason := _unfit(ids, n_rows)) is not None
    }
    fit = [index for index in range(len(sequences)) if index not in outcomes]
    if progress is not None and outcomes:
        progress(len(outcomes), 0)
    with torch.no_grad():
        for one in bins([len(sequences[index]) for index in fit], at_once):
            members = [fit[place] for place in one]
            for index, outcome in zip(members, _forward(reward_model, [sequences[i] for i in members]), strict=True):
                outcomes[index] = outcome
            if progress is not None:
                progress(len(members), sum(len(sequences[index]) for index in members))
    return [outcomes[index] for index in range(len(sequences))]


def score_items(
    reward_model: Scorer,
    renderer: Renderer,
    items: Sequence[Item],
    weights: Mapping[str, float] | None = None,
    tokens_per_pack: int | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Rows of the contract completion_rewards, without reward_id: one per completion and attribute.

    weights: of the merged reward (regression): its rows have the attribute `merged`. Never raises for an item: one
    that cannot be rendered or scored has rows with a status and no reward (definitions, Section 1).
    """
    completions = [(item, completion) for item in items for completion in item.completions]
    rendered = [_rendered(renderer, item, completion) for item, completion in completions]
    sequences = [one.token_ids for one in rendered if isinstance(one, Rendered)]
    if progress is not None and len(sequences) < len(completions):
        progress(len(completions) - len(sequences), 0)
    outcomes = iter(token_rewards(reward_model, sequences, tokens_per_pack, progress))
    rows: list[dict[str, Any]] = []
    for (item, completion), one in zip(completions, rendered, strict=True):
        outcome = next(outcomes) if isinstance(one, Rendered) else Outcome(None, one)
        for attribute, reward in _rewards(outcome, reward_model.attributes, weights):
            rows.append(
                {
                    "benchmark": item.benchmark,
                    "subset": item.subset,
                    "item_id": item.item_id,
                    "completion": completion.name,
                    "attribute": attribute,
                    "reward": reward,
                    "n_tokens": len(one.token_ids) if isinstance(one, Rendered) else None,
                    "is_truncated": isinstance(one, Rendered) and one.is_truncated,
                    "status": outcome.status,
                    "source": None,
                }
            )
    return rows


def _rendered(renderer: Renderer, item: Item, completion: Completion) -> Rendered | str:
    """The completion's token ids, or why there are none."""
    if item.prompt is None or completion.text is None:
        return "the text is not known"
    try:
        return renderer.render(item.prompt, completion.text)
    except RenderError as error:
        return str(error)


def _rewards(
    outcome: Outcome, attributes: Sequence[str], weights: Mapping[str, float] | None
) -> Iterator[tuple[str, float | None]]:
    found = outcome.rewards
    for attribute in attributes:
        yield attribute, None if found is None else found[attribute]
    if weights is not None:
        merged = None if found is None else math.fsum(weights[name] * found[name] for name in attributes)
        yield MERGED, merged


def _unfit(token_ids: Sequence[int], n_rows: int) -> str | None:
    """Reason for which a sequence cannot go through the model; an unknown token would stop a GPU for good."""
    if not token_ids:
        return "no tokens"
    worst = min(token_ids) if min(token_ids) < 0 else max(token_ids)
    return None if 0 <= worst < n_rows else f"token {worst} is outside the model's vocabulary of {n_rows}"


def _forward(reward_model: Scorer, sequences: Sequence[Sequence[int]]) -> list[Outcome]:
    """Outcomes of one pack. Where it fails, each half is tried by itself, down to the sequence that is at fault."""
    failure = None
    try:
        rewards = reward_model.rewards(pack(sequences)).double().tolist()
    except (RuntimeError, ValueError, IndexError) as error:
        failure = _reason(error, len(sequences[0]))
    if failure is None:
        return [_outcome(reward_model.attributes, values) for values in rewards]
    # Not inside `except`: there, the traceback holds the memory that the halves need.
    if len(sequences) == 1:
        return [Outcome(None, failure)]
    middle = len(sequences) // 2
    return _forward(reward_model, sequences[:middle]) + _forward(reward_model, sequences[middle:])


def _outcome(attributes: Sequence[str], values: Sequence[float]) -> Outcome:
    wrong = [name for name, value in zip(attributes, values, strict=True) if not math.isfinite(value)]
    if wrong:
        return Outcome(None, f"the model gives no finite {wrong[0]}")
    return Outcome(dict(zip(attributes, values, strict=True)))


def _reason(error: Exception, n_tokens: int) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return f"{n_tokens} tokens do not fit in the device's memory"
    return f"the model fails: {first_line(error)}"
