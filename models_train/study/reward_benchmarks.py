"""Settings of benchmarks of reward models: sets of items, reward models of a hub or folder that are scored on them, and
score files of reward models that ran elsewhere. Torch-free.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.models import LOCAL
from models_train.study.settings import Name, Number, Objective, Params, Revision, Settings, Text
from models_train.study.training import DataSource, MaxTokens, OnePlace, Precision

BenchmarkKind = Literal["rewardbench", "rewardbench2", "rewardmath", "rm_bench", "judgebench", "pairs", "best_of_k"]
ScoreFormat = Literal["rewardbench", "rewardbench2", "rewardmath", "rm_bench", "judgebench", "plain"]
_TRAINED = re.compile(rf"(?:^|/)({'|'.join(get_args(Objective))})(/s\d+)?$")
"""End of the names of reward models that a study trains: their objective, and a further seed."""
PUBLISHED = ("rewardbench", "rewardbench2", "rewardmath", "rm_bench", "judgebench")
"""Benchmarks whose name states the kind of their rows."""


class BenchmarkSet(DataSource):
    """Items that reward models are compared on: either `hub_id` or `path`."""

    name: Name
    """Name of the benchmark: rewardbench, rewardbench2, rewardmath, rm_bench or judgebench, or a name of your own."""
    path: Text | None = None
    """Local file or folder: JSON or JSONL (also .gz, .zst) or Parquet, with the columns of the kind. A relative path
    begins at the folder of the study file; `~` and variables are filled in."""
    kind: BenchmarkKind | None = None
    """Columns of the rows. Of a benchmark with a name of your own, by default `pairs` where `chosen` and `rejected` are
    texts or messages, `best_of_k` where they are lists of them."""
    split: Name | None = None
    """Split to take: files or folders of this name, or else rows with this value in the column `split`. By default all
    rows, of RewardBench the split `filtered`."""

    @model_validator(mode="after")
    def _kind_of_name(self) -> Self:
        if self.name in PUBLISHED and self.kind not in (None, self.name):
            text = "has the kind {kind}, but the name {name} stands for that benchmark itself; give it another name"
            raise PydanticCustomError("benchmark_set", text, {"kind": self.kind or "", "name": self.name})
        return self

    @property
    def rows_kind(self) -> BenchmarkKind | None:
        """Kind of the rows; None where the rows themselves tell."""
        named = next((kind for kind in get_args(BenchmarkKind) if kind == self.name), None)
        return self.kind or named


class RewardFacts(Settings):
    """Facts on a reward model that was not trained here."""

    reward_id: Name
    """Name of the reward model in all tables. Of imported scores of steps it ends with their aggregation, such as
    `prm:math-shepherd/prod`: prod, last, min, max, mean or geometric_mean."""
    hub_id: Name | None = None
    """Name of the reward model on the hub."""
    revision: Revision | None = None
    """Commit of the reward model on the hub."""
    base_model: Name | None = None
    """Base model of the reward model: a model_id or hub_id of the study, or another name."""
    objective: Name | None = None
    """Objective that it was trained by."""
    data_id: Name | None = None
    """Data that it was trained on."""
    family: Name | None = None
    """Family of the base model; by default that of the study's model, or the one that the base model's name states."""
    publisher: Name | None = None
    """Publisher of the reward model."""
    params_b: Params | None = None
    """Parameters in billions."""
    scale: Literal["logit", "mean_score", "bounded"] = "logit"
    """Scale of the rewards: logit (only differences within a prompt matter), mean_score, or bounded, as of judges."""

    @model_validator(mode="after")
    def _names_go_together(self) -> Self:
        if self.revision is not None and self.hub_id is None:
            raise PydanticCustomError("reward_facts", "has a revision, which goes with hub_id only; add hub_id")
        if found := _TRAINED.search(self.reward_id):
            text = (
                "has the reward_id '{name}', and names that end with an objective are those of the reward models that "
                "are trained here; give it another, such as '{other}'"
            )
            other = f"import:{self.reward_id[: found.start()] or self.reward_id}"
            raise PydanticCustomError("reward_facts", text, {"name": self.reward_id, "other": other})
        return self


class ScoreImport(RewardFacts):
    """Score files of one reward model that ran elsewhere."""

    path: Text
    """A file, or a folder, which is searched with all folders in it: JSON, JSONL (also .gz, .zst) or Parquet."""
    format: ScoreFormat
    """`rewardbench`, `rewardbench2`: files of reward-bench (`eval-set-scores`, `*_outputs.jsonl`, `*_all.jsonl`).
    `rewardmath`: files of RewardMATH's `results`. `rm_bench`, `judgebench`: output files of these for reward models.
    `plain`: rows of `item_id`, `completion` and `reward`, and where needed `benchmark` and `subset`."""
    benchmark: Name | None = None
    """Benchmark of the scores, where the format and the file do not state it: a name under `benchmark_sets`."""
    commit: Revision | None = None
    """Commit of the repository that the files come from."""

    @property
    def may_be_of_test_set(self) -> bool:
        """True where the files may have scores on RewardBench, which is the test set of training."""
        return self.format in ("rewardbench", "rewardmath", "plain")


FACTS = tuple(name for name in RewardFacts.model_fields if name != "reward_id")
"""Settings that describe a reward model; score imports of one reward_id agree in them."""


def _with_text_keys(value: Any) -> Any:
    """Outputs by number have names, too."""
    is_group = isinstance(value, dict) and not any(isinstance(key, bool) for key in value)
    return {str(key) if isinstance(key, int) else key: one for key, one in value.items()} if is_group else value


def _of_several(weights: dict[str, float]) -> dict[str, float]:
    if len(weights) < 2:
        text = "needs a weight of each output, of which there are several where weights are needed; add the others"
        raise PydanticCustomError("merge_weights", text)
    if not any(weights.values()):
        raise PydanticCustomError("merge_weights", "has weights that are all 0; give one output another weight")
    return weights


MergeWeights = Annotated[dict[Name, Number], AfterValidator(_of_several), BeforeValidator(_with_text_keys)]


class ScoredRewardModel(RewardFacts, OnePlace):
    """A reward model of a hub or of a folder, which is scored on the study's benchmarks: either `hub_id` or `path`.

    It is a sequence classification model in Transformers format, with the chat template of its training.
    """

    path: Text | None = None
    """Local folder. A relative path begins at the folder of the study file; `~` and variables are filled in."""
    remote_code: bool = False
    """Run Python code of the repository or folder; of a hub only with a commit as revision."""
    merge_weights: MergeWeights | None = None
    """Weight of each output in the reward, for a model of several: by the names in its config.json (`id2label`) or by
    number, from 0. By default those of `merge_weights` in its config.json, as reward models that are trained here have
    them."""
    precision: Precision = "bfloat16"
    """Number format of the forward pass."""
    max_tokens: MaxTokens = 4096
    """Most tokens of prompt and completion; of longer ones the oldest tokens of the prompt are cut."""

    @model_validator(mode="after")
    def _folder_as_path(self) -> Self:
        if self.hub_id is not None and self.hub_id.startswith(LOCAL):
            raise PydanticCustomError("scored", "has a folder as hub_id; give the folder as path instead")
        return self
