"""Settings of benchmarks: tasks that lm-evaluation-harness runs, and result files of runs elsewhere. Torch-free.

Values are stored on a scale of 0 to 100 under a metric with the ending `_pct`, like the published values.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import Count, CountOrZero, Name, Settings, Text
from models_train.study.training import Precision

EVALPLUS = {
    "HumanEval": ("humaneval", "base"),
    "HumanEval+": ("humaneval", "plus"),
    "MBPP": ("mbpp", "base"),
    "MBPP+": ("mbpp", "plus"),
}
"""Benchmarks of EvalPlus (paper, Table 2) -> its data set and its kind of tests."""
EVALPLUS_METRIC = "pass@1_pct"
EVALPLUS_TOPIC = "Coding"


class Benchmark(Settings):
    """A benchmark that lm_eval runs."""

    name: Name
    """Name of the benchmark in this study."""
    task: Name | None = None
    """Name of the task in lm_eval; by default the benchmark's name."""
    folder: Text | None = None
    """Folder with task YAML files, whose paths are relative to it; without it, the task comes with lm_eval."""
    metric: Name = "acc"
    """Metric of lm_eval, with a filter where it has one, such as `exact_match,strict-match`."""
    scale: Literal["fraction", "percent"] = "fraction"
    """Scale on which lm_eval prints the metric: a fraction of 1, or percent."""
    few_shot: CountOrZero | None = None
    """Examples in the prompt; by default those of the task. Only where they are stated can imported values be exact."""
    limit: Count | None = None
    """Most examples used, for a trial."""
    topic: Name
    """Topic of the benchmark in tables and charts."""
    run: bool = True
    """False: it is not run here, and its values come from `imports` only."""

    @property
    def lm_eval_task(self) -> str:
        """Name of the task in lm_eval and in its result files."""
        return self.task or self.name

    @property
    def stored_metric(self) -> str:
        """Name of the metric in results: without its filter, in percent."""
        return self.metric.split(",")[0] + "_pct"


class ResultImport(Settings):
    """Result files of runs elsewhere."""

    path: Text
    """A file, or a folder, which is searched with all folders in it."""
    format: Literal["lm_eval", "evalplus"]
    """`lm_eval`: files of `lm_eval --output_path` (`results_*.json`), for the study's `tasks`. `evalplus`:
    `*eval_results.json`, or one JSON file with pass@1 of many models, for HumanEval, MBPP and their + versions."""
    models: dict[str, Name] = Field(default_factory=dict)
    """Name of a model in the files -> its model_id; a hub_id or model_id of the study needs no entry. `name@revision`
    maps one branch, tag or commit of a repository."""
    unknown_models: Literal["error", "skip"] = "error"
    """Models, commits and quantised forms in the files that the study does not list: report an error, or skip them."""


class Benchmarks(Settings):
    """Benchmarks of a study: run on every compared model and candidate, or imported."""

    tasks: Annotated[tuple[Benchmark, ...], Field(strict=False)] = ()
    """Benchmarks of lm_eval."""
    imports: Annotated[tuple[ResultImport, ...], Field(strict=False)] = ()
    """Result files of runs elsewhere."""
    precision: Precision = "bfloat16"
    """Number format of the forward pass."""
    batch_size: Count = 16
    """Requests per batch."""

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
        """The tasks to run here."""
        return tuple(task for task in self.tasks if task.run)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of raw.benchmarks: the tasks, and EvalPlus's benchmarks where its results are imported."""
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
