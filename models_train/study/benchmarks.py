"""Benchmarks of base models: tasks that lm-evaluation-harness runs, and result files of runs elsewhere. Torch-free.

Every value is stored on a scale of 0 to 100 under a metric with the ending `_pct`, as the published values are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import Count, Name, Settings, Text
from models_train.study.training import Precision

EVALPLUS = {
    "HumanEval": ("humaneval", "base"),
    "HumanEval+": ("humaneval", "plus"),
    "MBPP": ("mbpp", "base"),
    "MBPP+": ("mbpp", "plus"),
}
"""The benchmarks of EvalPlus (paper, Table 2), each with its data set and tests there."""
EVALPLUS_METRIC = "pass@1_pct"
EVALPLUS_TOPIC = "Coding"


class Benchmark(Settings):
    """A benchmark of lm_eval: `name` as the study lists it, `task` (by default the name) as lm_eval knows it.

    `folder` holds task YAML files of one's own, with paths in them relative to it; without it the task is one that
    comes with lm_eval. `metric` may name a filter, such as `exact_match,strict-match`. `scale`: how lm_eval prints the
    metric, as a fraction of 1 or in percent. `few_shot` is the task's own where it is not stated. `limit`: examples
    used at most, for a trial. With `run: false` nothing is run here, and the values come from `imports` alone.
    """

    name: Name
    task: Name | None = None
    folder: Text | None = None
    metric: Name = "acc"
    scale: Literal["fraction", "percent"] = "fraction"
    few_shot: Annotated[int, Field(ge=0)] | None = None
    limit: Count | None = None
    topic: Name
    run: bool = True

    @property
    def lm_eval_task(self) -> str:
        """The task's name in lm_eval and in its result files."""
        return self.task or self.name

    @property
    def stored_metric(self) -> str:
        """The metric as results have it: without filter, in percent."""
        return self.metric.split(",")[0] + "_pct"


class ResultImport(Settings):
    """Result files of a user's own: a file, or a folder that is searched with all folders in it.

    `lm_eval`: what `lm_eval --output_path` writes (`results_*.json`); the study's `tasks` are taken from it.
    `evalplus`: `*eval_results.json`, or one JSON file with pass@1 of many models; HumanEval, MBPP and their + are
    taken. `models`: name of a model in the files -> model_id of the study; names that are a model's hub id or model_id
    need no entry. `unknown_models: skip` passes over models that the study does not list.
    """

    path: Text
    format: Literal["lm_eval", "evalplus"]
    models: dict[str, Name] = Field(default_factory=dict)
    unknown_models: Literal["error", "skip"] = "error"


class Benchmarks(Settings):
    """Benchmarks of a study: run on every compared model and candidate, in `batch_size` requests at once; imported."""

    tasks: Annotated[tuple[Benchmark, ...], Field(strict=False)] = ()
    imports: Annotated[tuple[ResultImport, ...], Field(strict=False)] = ()
    precision: Precision = "bfloat16"
    batch_size: Count = 16

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        names = [task.name for task in self.tasks] + (list(EVALPLUS) if self.has_evalplus else [])
        for index, name in enumerate(names):
            if name in names[:index]:
                raise PydanticCustomError("benchmarks", "lists the benchmark {name} twice; keep one", {"name": name})
        if not self.tasks and any(one.format == "lm_eval" for one in self.imports):
            text = "imports result files of lm_eval, but lists no tasks to take from them; list them, with run: false"
            raise PydanticCustomError("benchmarks", text)
        return self

    @property
    def has_evalplus(self) -> bool:
        """True where result files of EvalPlus are imported."""
        return any(one.format == "evalplus" for one in self.imports)

    @property
    def to_run(self) -> tuple[Benchmark, ...]:
        """The tasks that are run here."""
        return tuple(task for task in self.tasks if task.run)

    def rows(self) -> list[dict[str, Any]]:
        """The benchmarks as rows of raw.benchmarks: the tasks, and EvalPlus's where results of that are imported."""
        of_lm_eval = [
            {
                "benchmark": task.name,
                "framework": "lm_eval",
                "topic": task.topic,
                "task": task.lm_eval_task,
                "metric": task.stored_metric,
                "shots": None if task.few_shot is None else str(task.few_shot),
                "is_run": task.run,
            }
            for task in self.tasks
        ]
        of_evalplus = [
            {
                "benchmark": name,
                "framework": "evalplus",
                "topic": EVALPLUS_TOPIC,
                "task": dataset,
                "metric": EVALPLUS_METRIC,
                "shots": "0",
                "is_run": False,
            }
            for name, (dataset, _) in EVALPLUS.items()
        ]
        return [*of_lm_eval, *(of_evalplus if self.has_evalplus else ())]
