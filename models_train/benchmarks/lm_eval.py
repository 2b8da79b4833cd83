"""lm-evaluation-harness on a base model that is loaded as everywhere here: safetensors, and no code of a repository."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, chdir, contextmanager
from functools import reduce
from importlib.metadata import version
from operator import add
from pathlib import Path
from typing import Any

import datasets
import torch
from lm_eval import simple_evaluate
from lm_eval.api.model import CacheHook
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.tasks._index import Kind
from lm_eval.utils import handle_non_serializable
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from models_train.benchmarks.lm_eval_results import task_result
from models_train.benchmarks.results import BenchmarkError, Result, read_json
from models_train.metering import Costs, default_device, measure
from models_train.modeling.base_models import ModelSource, load_config, load_model, load_tokenizer
from models_train.study.benchmarks import Benchmark
from models_train.study.fingerprints import resolve

RESAMPLES = 1000
"""Bootstrap resamples for standard errors that have no formula; of means they are exact."""


class CountedModel(HFLM):
    """A model as lm_eval uses it, which counts requests and tokens; lm_eval's own progress bars stay off.

    n_tokens: that went through the model so far, padding not counted. progress: given the number of requests, a context
    whose value has a method `advance` for each one answered.
    """

    cache_hook: CacheHook

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int,
        progress: Callable[[int], AbstractContextManager[Any]],
    ) -> None:
        with _quiet():
            super().__init__(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size)
        self._progress = progress
        self.n_tokens = 0

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        # Requests that differ in the last token alone share a pass.
        passes = {tuple([*context, *continuation[:-1]]) for _, context, continuation in requests}
        self.n_tokens += sum(min(len(tokens), self.max_length) for tokens in passes)
        with self._counted(len(requests)):
            return super()._loglikelihood_tokens(requests, disable_tqdm=True, override_bs=override_bs)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        with self._counted(len(requests)):
            return super().generate_until(requests, disable_tqdm=True)

    def _model_generate(self, context: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        generated = super()._model_generate(context, *args, **kwargs)
        n_padding = int((kwargs["attention_mask"] == 0).sum()) if "attention_mask" in kwargs else 0
        self.n_tokens += generated.numel() - n_padding
        return generated

    @contextmanager
    def _counted(self, n_requests: int) -> Iterator[None]:
        """lm_eval hands every answer to its cache as it comes: there they are counted."""
        with self._progress(n_requests) as counter:
            before = self.cache_hook
            self.cache_hook = _Answered(counter)
            try:
                yield
            finally:
                self.cache_hook = before


class _Answered(CacheHook):
    def __init__(self, counter: Any) -> None:
        super().__init__(None)
        self._counter = counter

    def add_partial(self, attr: str, req: Any, res: Any) -> None:
        self._counter.advance()


def load(source: ModelSource, dtype: torch.dtype, device: torch.device) -> tuple[PreTrainedModel, Any]:
    """The base model on its device, and its tokenizer. Raises BackboneError."""
    # Transformers' default attention leaves soft-capping out without a word.
    capped = getattr(load_config(source).get_text_config(), "attn_logit_softcapping", None) is not None
    attention = {"attn_implementation": "eager"} if capped else {}
    model = load_model(source, AutoModelForCausalLM, dtype, **attention)
    module: torch.nn.Module = model
    module.to(device)
    return model, load_tokenizer(source)


def run_benchmarks(
    loaded: Callable[[], CountedModel],
    source: ModelSource,
    tasks: Sequence[Benchmark],
    study_folder: Path,
    cache: Path,
    kept: Callable[[Sequence[Benchmark]], Path],
) -> tuple[list[Result], Costs]:
    """The value of every task, in the order of the study, and what all of them cost.

    Tasks of a folder run together, those of lm_eval one by one. What lm_eval said of them goes to the file that `kept`
    names, complete or not at all; where it is there, they are not run again. loaded: called when a model is needed.
    cache: where data sets go, unless HF_DATASETS_CACHE says it. Raises BenchmarkError, which names the tasks, and
    LocationError where a folder is not there.
    """
    stated = f"lm_eval {version('lm_eval')} on {source.stated_revision[:12]}"
    found: dict[str, Result] = {}
    costs: list[Costs] = []
    managers: dict[Path | None, TaskManager] = {}
    for together in groups(tasks):
        path = kept(together)
        place = resolve(together[0].folder, study_folder) if together[0].folder else None
        if not path.exists():
            with _quiet(), _place(place), _data_sets(cache):
                if place not in managers:
                    managers[place] = TaskManager(include_path=place, include_defaults=place is None)
                _keep(path, *_measured(loaded, source, together, managers[place], place))
        stored = read_json(path)
        costs.append(Costs(**stored["costs"]))
        found |= {task.name: _result(stored["document"], task, source, stated) for task in together}
    return [found[task.name] for task in tasks], reduce(add, costs)


def groups(tasks: Sequence[Benchmark]) -> list[list[Benchmark]]:
    """Tasks that run together: those of one folder with equal shots and limit; of lm_eval's own each alone."""
    found: dict[tuple[str | int | None, ...], list[Benchmark]] = {}
    for place, task in enumerate(tasks):
        found.setdefault((task.folder, task.few_shot, task.limit, None if task.folder else place), []).append(task)
    return list(found.values())


def _measured(
    loaded: Callable[[], CountedModel],
    source: ModelSource,
    tasks: Sequence[Benchmark],
    manager: TaskManager,
    folder: Path | None,
) -> tuple[dict[str, Any], Costs]:
    names = list(dict.fromkeys(task.lm_eval_task for task in tasks))
    _refuse_unknown(names, manager, folder)
    with measure(default_device()) as meter:
        model = loaded()
        before = model.n_tokens
        document = _evaluated(model, source, names, manager, tasks[0].few_shot, tasks[0].limit)
        meter.add_tokens(model.n_tokens - before)
    return document, meter.costs


def _keep(path: Path, document: dict[str, Any], costs: Costs) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    text = json.dumps({"document": document, "costs": vars(costs)}, default=handle_non_serializable, indent=1)
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _result(document: dict[str, Any], task: Benchmark, source: ModelSource, stated: str) -> Result:
    result = task_result(document, task, source.name, f"{source.name}, {task.name}", stated)
    if result is None:
        raise BenchmarkError(f"{source.name}, {task.name}: lm_eval gave no results of {task.lm_eval_task}")
    if result.match != "exact":
        raise BenchmarkError(
            f"{task.name}: the task sets num_fewshot to {result.shots} itself, which few_shot: {task.few_shot} "
            "does not change; remove few_shot, or change the task's file"
        )
    return result


def _evaluated(
    model: CountedModel,
    source: ModelSource,
    names: list[str],
    manager: TaskManager,
    few_shot: int | None,
    limit: int | None,
) -> dict[str, Any]:
    try:
        return simple_evaluate(
            model=model,
            tasks=names,
            num_fewshot=few_shot,
            batch_size=model.batch_size,
            limit=limit,
            bootstrap_iters=RESAMPLES,
            log_samples=False,
            task_manager=manager,
        )
    except Exception as error:  # Tasks are files of users and code of lm_eval: anything can be wrong in them.
        first = (str(error).strip().splitlines() or [""])[0]
        raise BenchmarkError(
            f"{source.name}: lm_eval stopped in {', '.join(names)}: {type(error).__name__}: {first}; mend the task's "
            "file, or see that its data set can be reached"
        ) from error


def _refuse_unknown(names: Sequence[str], manager: TaskManager, folder: Path | None) -> None:
    """Say before hours of work that there is no such task, or that it is several without a value of all together."""
    unknown = [name for name in names if name not in manager.all_tasks]
    if unknown:
        where = f"the folder {folder} has {', '.join(manager.all_subtasks) or 'none'}" if folder else "lm_eval ls tasks"
        raise BenchmarkError(f"there is no task {', '.join(unknown)}; mend `task` or `folder` (known: {where})")
    for name in names:
        entry = manager.task_index[name]
        config = entry.cfg or {}
        if entry.kind is Kind.TAG:
            several = sorted(entry.tags)
        elif entry.kind is Kind.GROUP and not config.get("aggregate_metric_list"):
            several = [str(one) for one in config.get("task") or ()]
        else:
            continue
        raise BenchmarkError(
            f"{name} stands for several tasks of lm_eval without a value of all together; list them one by one: "
            f"{', '.join(several)}"
        )


@contextmanager
def _place(folder: Path | None) -> Iterator[None]:
    """Paths in task files are relative to their folder."""
    with chdir(folder or Path.cwd()):
        yield


@contextmanager
def _data_sets(cache: Path) -> Iterator[None]:
    """Where `datasets` puts what it reads."""
    before = datasets.config.HF_DATASETS_CACHE
    if "HF_DATASETS_CACHE" not in os.environ:
        datasets.config.HF_DATASETS_CACHE = cache
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep lm_eval's progress bars, its warnings and git, which it asks for a commit, off standard error."""
    log = logging.getLogger("lm_eval")
    before, saved = log.level, os.dup(2)
    log.setLevel(logging.ERROR)
    sys.stderr.flush()
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        log.setLevel(before)
