"""Runs of lm-evaluation-harness on a base model, loaded as everywhere here: safetensors, no code of a repository."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, chdir, contextmanager
from functools import reduce
from importlib.metadata import version
from operator import add
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from lm_eval import evaluate
from lm_eval.api.instance import Instance
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from models_train.benchmarks.lm_eval_files import task_value
from models_train.benchmarks.results import Result, read_json
from models_train.errors import UserError, causes, first_line
from models_train.files import write_text
from models_train.metering import Costs, default_device, measure
from models_train.modeling.base_models import ModelSource, load_config, load_model, load_tokenizer
from models_train.study.benchmarks import Benchmark
from models_train.study.fingerprints import resolve

PACKAGES = {
    "antlr4": "antlr4-python3-runtime",
    "bs4": "beautifulsoup4",
    "Levenshtein": "levenshtein",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Packages whose name differs from that of their module."""
RESAMPLES = 1000
"""Bootstrap resamples for standard errors without a formula; those of means are exact."""


class CountedModel(HFLM):
    """A model as lm_eval uses it, which counts tokens and requests; lm_eval's own progress bars stay off.

    n_tokens: of prompts, continuations and answers so far, padding not counted. progress: given the number of sequences
    that will go through the model, a context whose value has a method `advance` for each of them.
    """

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

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        # Requests that differ only in the last token share a pass.
        wholes = (self.tok_encode("".join(request.args)) for request in requests)
        passes = {tuple(tokens[:-1][-self.max_length :]) for tokens in wholes}
        self.n_tokens += sum(map(len, passes))
        with self._counted(len(passes)):
            return super().loglikelihood(requests, disable_tqdm=True)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        lengths = [len(self.tok_encode(*request.args)) for request in requests]
        self.n_tokens += sum(lengths)
        with self._counted(sum(math.ceil(length / self.max_length) for length in lengths)):
            return super().loglikelihood_rolling(requests, disable_tqdm=True)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        with self._counted(len(requests)):
            answers = super().generate_until(requests, disable_tqdm=True)
        prompts = [self.tok_encode(request.args[0])[-self.max_length :] for request in requests]
        self.n_tokens += sum(map(len, prompts)) + sum(len(self.tok_encode(answer)) for answer in answers)
        return answers

    @contextmanager
    def _counted(self, n_sequences: int) -> Iterator[None]:
        """Advance the progress with every batch that goes into the model; not with every token of an answer."""
        with self._progress(n_sequences) as counter:

            def count(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
                known = named.get("past_key_values")
                if known is None or not known.get_seq_length():
                    tokens = arguments[0] if arguments else named["input_ids"]
                    counter.advance(len(tokens))

            hook = self.model.register_forward_pre_hook(count, with_kwargs=True)
            try:
                yield
            finally:
                hook.remove()


def load(source: ModelSource, dtype: torch.dtype, device: torch.device) -> tuple[PreTrainedModel, Any]:
    """The base model on its device, and its tokenizer. Raises UserError."""
    # Transformers' default attention leaves soft-capping out silently.
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
    """The value of every task, in the order of the study, and the costs of all together.

    Tasks of a folder run together, those of lm_eval one by one. Their results go to the file that `kept` names; where
    that file exists, they are not run again. loaded: called when a model is needed. cache: folder of data sets, unless
    HF_DATASETS_CACHE is set. Raises UserError, which names the tasks or the folder that is missing.
    """
    stated = f"lm_eval {version('lm_eval')} on {source.stated_revision[:12]}"
    found: dict[str, Result] = {}
    costs: list[Costs] = []
    managers: dict[Path | None, TaskManager] = {}
    for together in groups(tasks):
        path = kept(together)
        place = resolve(together[0].folder, study_folder) if together[0].folder else None
        if not path.exists():
            # Paths in task files are relative to their folder.
            with _quiet(), chdir(place or Path.cwd()), _data_sets(cache):
                if place not in managers:
                    with _in_words(source, together):
                        managers[place] = TaskManager(include_path=place, include_defaults=place is None)
                _keep(path, *_measured(loaded, source, together, managers[place], place))
        stored = read_json(path)
        costs.append(Costs(**stored["costs"]))
        found |= {task.name: _result(stored["document"], task, source, stated) for task in together}
    return [found[task.name] for task in tasks], reduce(add, costs)


def groups(tasks: Sequence[Benchmark]) -> list[list[Benchmark]]:
    """Tasks that run together: those of one folder with equal shots and limit; those of lm_eval one by one."""
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
        with _in_words(source, tasks):
            document = _evaluated(model, names, manager, tasks[0].few_shot, tasks[0].limit)
        meter.add_tokens(model.n_tokens - before)
    return document, meter.costs


def _keep(path: Path, document: dict[str, Any], costs: Costs) -> None:
    kept = {"document": document, "costs": vars(costs)}
    write_text(path, json.dumps(kept, default=handle_non_serializable, indent=1))


def _result(document: dict[str, Any], task: Benchmark, source: ModelSource, stated: str) -> Result:
    value = task_value(document, task, f"{source.name}, {task.name}")
    if value is None:
        raise UserError(f"{source.name}, {task.name}: lm_eval gave no results of {task.lm_eval_task}; correct `task`")
    if task.few_shot is not None and value.shots not in (None, str(task.few_shot)):
        raise UserError(
            f"{task.name}: the task sets num_fewshot to {value.shots} itself, which few_shot: {task.few_shot} "
            "does not change; remove few_shot, or change the task's file"
        )
    return Result(
        model_id=source.name,
        benchmark=task.name,
        metric=task.stored_metric,
        value=value.value,
        shots=value.shots,
        pipeline=value.pipeline,
        match="exact",
        source=stated,
        where=value.where,
        standard_error=value.standard_error,
        n_examples=value.n_examples,
    )


def _evaluated(
    model: CountedModel,
    names: list[str],
    manager: TaskManager,
    few_shot: int | None,
    limit: int | None,
) -> dict[str, Any]:
    """What lm_eval's `simple_evaluate` does with its seeds, but for its description of this machine.

    That asks pip and the system for all versions, which takes one to three seconds of a core for each model.
    """
    random.seed(DEFAULT_RANDOM_SEED)
    np.random.seed(DEFAULT_OTHER_SEED)
    torch.manual_seed(DEFAULT_OTHER_SEED)
    loaded = manager.load(names)
    for task in loaded["tasks"].values():
        stated = task.get_config("num_fewshot")
        if stated is None or (few_shot is not None and stated != 0):
            task.set_config(key="num_fewshot", value=few_shot or 0)
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    return evaluate(model, loaded, limit=limit, bootstrap_iters=RESAMPLES, log_samples=False)


@contextmanager
def _in_words(source: ModelSource, tasks: Sequence[Benchmark]) -> Iterator[None]:
    """Raise UserError for any error of a task: tasks are files of users and code of lm_eval."""
    names = ", ".join(dict.fromkeys(task.lm_eval_task for task in tasks))
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{source.name}: lm_eval stopped in {names}: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """What was wrong and what to do; a library that a task imports is named wherever in the chain it was missed."""
    for inner in causes(error):
        if isinstance(inner, ModuleNotFoundError) and inner.name:
            module = inner.name.split(".")[0]
            package = PACKAGES.get(module, module)
            return (
                f"the task needs the library {module}, which is not installed: run `.venv/bin/pip install {package}`, "
                "or put the module beside the task's file if it is one of yours"
            )
    lines = [line for line in str(error).splitlines() if any(map(str.isalnum, line))]  # nltk frames its texts
    return (
        f"{type(error).__name__}: {first_line(lines[0].strip() if lines else error)}; correct the task's file, or see "
        "that its data set can be reached"
    )


def _refuse_unknown(names: Sequence[str], manager: TaskManager, folder: Path | None) -> None:
    """Fail early if a task is unknown, or is a tag or group without an aggregate metric."""
    unknown = [name for name in names if name not in manager.all_tasks]
    if unknown:
        where = f"the folder {folder} has {', '.join(manager.all_subtasks) or 'none'}" if folder else "lm_eval ls tasks"
        raise UserError(f"there is no task {', '.join(unknown)}; correct `task` or `folder` (known: {where})")
    for name in names:
        entry = manager.task_index[name]
        config = entry.cfg or {}
        if name in manager.all_tags:
            several = sorted(entry.tags)
        elif name in manager.all_groups and not config.get("aggregate_metric_list"):
            several = [str(one) for one in config.get("task") or ()]
        else:
            continue
        raise UserError(
            f"{name} stands for several tasks of lm_eval without an aggregate metric; list them one by one: "
            f"{', '.join(several)}"
        )


@contextmanager
def _data_sets(cache: Path) -> Iterator[None]:
    """Folder of the data sets that `datasets` reads, unless HF_DATASETS_CACHE is set."""
    before = datasets.config.HF_DATASETS_CACHE
    if "HF_DATASETS_CACHE" not in os.environ:
        datasets.config.HF_DATASETS_CACHE = cache
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the warnings of lm_eval, and of git, which it calls, off standard error."""
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
