"""Settings of base models, of their size groups, and of the seeds with published figures. Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr

from models_train.study.settings import (
    CountOrZero,
    Identifier,
    Name,
    NotNegative,
    Params,
    Positive,
    Revision,
    Settings,
    Stage,
    Text,
    Tokens,
)

LOCAL = ("/", "./", "../", "~", "$")
"""Beginnings of a `hub_id` that is a folder."""


class SizeGroup(Settings):
    """One size group. Groups follow each other without a gap, from the smallest models up."""

    name: Name
    """Name of the group in tables and charts, such as "<3"."""
    params_b_from: NotNegative
    """Lower border (inclusive), in billions of parameters."""
    params_b_below: Positive | None = None
    """Upper border (exclusive), in billions of parameters; leave it out for the last group."""
    default: Name
    """model_id of the model that the gains of the group are measured against (definitions, Section 2)."""

    def holds(self, params_b: float) -> bool:
        """True where a model of this size belongs to the group."""
        return params_b >= self.params_b_from and (self.params_b_below is None or params_b < self.params_b_below)


class SeedSource(Settings):
    """A file of published figures, `dbt/seeds/<name>.csv`."""

    name: Identifier
    """Name of the file in dbt/seeds, without .csv."""
    paper_table: Name | None = None
    """Table of the paper that the figures come from."""
    source: Text
    """Origin of the figures."""
    licence: Text
    """Licence of the figures."""


class StudyModel(Settings):
    """One base model."""

    model_id: Name
    """Name of the model in this study: in tables, charts and file names."""
    hub_id: Name
    """Repository on the hub, or a folder: that begins with `/`, `./`, `~` or `$`. `./` is the folder of the study file;
    `$REWARDBASE_HOME` and other variables are filled in."""
    revision: Revision | None = None
    """Commit of the hub repository, or a branch, tag or abbreviated commit, which is resolved to its commit once;
    without it, the newest commit at the first job on the model, which is kept, too."""
    publisher: Name | None = None
    """Publisher; may be left out where the seed table_3_models gives it."""
    family: Name
    """Model family, such as Llama-3.1. Models of one family may share document scores."""
    params_b: Params | None = None
    """Parameters, in billions; may be left out where the seed table_3_models gives them."""
    tokens_t: Tokens | None = None
    """Pre-training tokens, in trillions."""
    stage: Stage
    """Last training stage; "instruct" where the stages are not published."""
    parent: Name | None = None
    """model_id of the model that this one was trained from."""
    is_compared: bool = True
    """False for a model that is listed as a parent or as a row of Table 1 only: it is not ranked."""
    remote_code: bool = False
    """Run Python code of the hub repository; allowed only with a commit as revision."""
    licence: Name | None = None
    """Licence, as the hub names it; filled in for models that a hub query finds."""
    downloads: CountOrZero | None = None
    """Downloads in the last 30 days; filled in for models that a hub query finds."""
    _stated: bool = PrivateAttr(default=True)

    @property
    def is_local(self) -> bool:
        """True where `hub_id` is a folder."""
        return self.hub_id.startswith(LOCAL)

    @property
    def stated_revision(self) -> str | None:
        """The revision, or None for a commit that was the newest one and is kept since."""
        return self.revision if self._stated else None

    def at_commit(self, commit: str) -> Self:
        """The model at the commit of its revision."""
        found = self.model_copy(update={"revision": commit})
        found._stated = self.revision is not None
        return found


class BenchmarkValue(Settings):
    """A stated benchmark value of a candidate."""

    benchmark: Name
    """Name of a benchmark of the study: listed under `benchmarks`, or in the seed table_2_benchmarks."""
    metric: Name
    """A metric that the benchmark is known by."""
    value: Annotated[float, Field(ge=0, le=100)]
    """The value, on a scale of 0 to 100."""
    shots: Name | None = None
    """Number of examples in the prompt, as the source states it."""
    pipeline: Name | None = None
    """Pipeline that measured the value: harness and prompt, as the study's other values of the benchmark name theirs
    (such as Open LLM Leaderboard v1). By default the only one with this metric (and these shots, if they are stated);
    where there are several, it must be stated."""
    match: Literal["exact", "close", "loose"] | None = None
    """How close the source's set-up is to the benchmark as named; by default exact where `shots` are stated and are
    those of the benchmark, if the study lists it, else close."""
    source: Text
    """Origin of the value."""


class Candidate(StudyModel):
    """A base model without a reward model: it gets a prediction, or an abstention with the reason."""

    publisher: Name
    """Publisher."""
    params_b: Params
    """Parameters, in billions."""
    is_compared: Literal[False] = False
    """Always false: a candidate is not ranked."""
    benchmarks: Annotated[tuple[BenchmarkValue, ...], Field(strict=False)] = ()
    """Stated benchmark values."""
