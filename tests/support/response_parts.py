"""Parts of policies, prompts, responses and their rewards, from arrays of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models_train.parts import content_hash, write_part
from models_train.store import Parts
from warehouse.contracts import TABLES


@dataclass(frozen=True)
class Sample:
    """Responses of a policy to the prompts of a set.

    rewards: by reward_id, (prompts, responses), NaN for none; n_bytes: (prompts, responses), by default all alike.
    """

    policy_id: str
    rewards: Mapping[str, NDArray[np.float64] | Sequence[Sequence[float]]]
    prompt_set: str = "prompts"
    n_bytes: NDArray[np.int64] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Values of columns of `responses`, the same in every row."""


def write_samples(
    parts: Parts,
    study_id: str,
    samples: Sequence[Sample],
    gold: Mapping[str, Mapping[str, Any]],
    sources: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Write the parts of a study.

    gold: columns of `gold_rewards` by gold_id; sources: columns of `reward_sources` by reward_id.
    """
    names = sorted({name for sample in samples for name in sample.rewards} | set(gold) | set(sources or {}))
    for name in names:
        own = {"reward_id": name, "kind": "imported", "scale": "logit"} | dict((sources or {}).get(name, {}))
        _write(parts, study_id, "reward_sources", [own], content_hash(name))
    golds = [{"gold_id": name, "kind": "reward"} | dict(columns) for name, columns in gold.items()]
    _write(parts, study_id, "gold_rewards", golds, "gold")
    for prompt_set in sorted({sample.prompt_set for sample in samples}):
        sizes = [_shape(sample)[0] for sample in samples if sample.prompt_set == prompt_set]
        prompts = [_prompt(prompt_set, place) for place in range(max(sizes))]
        _write(parts, study_id, "prompts", prompts, content_hash(prompt_set))
    for policy_id in sorted({sample.policy_id for sample in samples}):
        policy = {"policy_id": policy_id, "kind": "trained" if policy_id.startswith("run:") else "imported"}
        _write(parts, study_id, "policies", [policy], content_hash(policy_id))
    for sample in samples:
        cells = _cells(sample)
        run_id = content_hash([sample.policy_id, sample.prompt_set])
        write_part(parts, TABLES["responses"], _responses(sample, cells), study_id=study_id, run_id=run_id)
        for reward_id, rewards in sample.rewards.items():
            rows = _rewards(cells, reward_id, np.asarray(rewards, float))
            run_id = content_hash([reward_id, sample.policy_id, sample.prompt_set])
            write_part(parts, TABLES["response_rewards"], rows, study_id=study_id, run_id=run_id)


def _write(parts: Parts, study_id: str, name: str, rows: Sequence[Mapping[str, Any]], run_id: str) -> None:
    empty = dict.fromkeys(column.name for column in TABLES[name].filled_columns)
    write_part(parts, TABLES[name], [empty | dict(row) for row in rows], study_id=study_id, run_id=run_id)


def _prompt(prompt_set: str, place: int) -> dict[str, Any]:
    return {
        "prompt_set": prompt_set, "prompt_id": f"p{place:04d}", "split": "measure", "n_turns": 1, "n_bytes": 10,
        "content_hash": f"{place:016x}", "source": "made", "order_no": place + 1,
    }  # fmt: skip


def _shape(sample: Sample) -> tuple[int, int]:
    rows, columns = np.asarray(next(iter(sample.rewards.values()))).shape
    return rows, columns


def _cells(sample: Sample) -> pl.DataFrame:
    rows, columns = _shape(sample)
    prompt, number = (place.ravel() for place in np.indices((rows, columns)))
    return pl.DataFrame({"prompt_id": [f"p{place:04d}" for place in prompt], "response_no": number}).with_columns(
        pl.lit(sample.policy_id).alias("policy_id"), pl.lit(sample.prompt_set).alias("prompt_set")
    )


def _responses(sample: Sample, cells: pl.DataFrame) -> pl.DataFrame:
    n_bytes = np.full(_shape(sample), 20) if sample.n_bytes is None else sample.n_bytes
    text = pl.format("response {}", "response_no")
    return cells.with_columns(
        text.alias("text"),
        text.hash().cast(pl.String).alias("content_hash"),
        pl.lit(5).alias("n_tokens"),
        pl.Series("n_bytes", n_bytes.ravel()),
        pl.lit(-3.0).alias("logprob"),
        pl.lit(None, pl.Float64).alias("reference_logprob"),
        pl.lit("import").alias("finish_reason"),
        pl.lit("ok").alias("status"),
    ).with_columns(pl.lit(value).alias(name) for name, value in sample.columns.items())


def _rewards(cells: pl.DataFrame, reward_id: str, rewards: NDArray[np.float64]) -> pl.DataFrame:
    reward = pl.Series("reward", rewards.ravel()).fill_nan(None)
    return cells.with_columns(
        pl.lit(reward_id).alias("reward_id"),
        pl.lit("reward").alias("attribute"),
        reward,
        pl.lit(15).alias("n_tokens"),
        pl.lit(False).alias("is_truncated"),
        pl.Series("status", np.where(reward.is_null(), "the response is empty", "ok")),
    )
