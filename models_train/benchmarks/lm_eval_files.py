"""Results of lm_eval, in memory or in `results_*.json`: the value of a task, how it was measured, and on which model.

Shape since 0.4 (`EvaluationTracker.save_results_aggregated`): `results` -> task or group -> `<metric>,<filter>` and
`<metric>_stderr,<filter>`; `n-shot`, `n-samples`, `configs`, `versions` and `higher_is_better` by task;
`group_subtasks` by group; `config` with `limit`, `model_args`, `model_revision` and `model_sha`; `model_name`. Before
0.4: `results` without filters, `config` with `model_args`, `num_fewshot` and `limit`. What a file says twice must
agree. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_train.benchmarks.results import HIGHEST, MeasuredModel, as_commit, group, percent, same_commit
from models_train.errors import UserError, listed
from models_train.study.benchmarks import Benchmark

DEFAULT_BRANCH = "main"
OTHER_PROGRAMS = {
    "config_general": "lighteval",
    "config_tasks": "lighteval",
    "task_config": "OLMES",
    "all_primary_scores": "OLMES",
    "pass_at_k": "EvalPlus (format: evalplus)",
}
"""Programs that write JSON files of similar names, by a key that lm_eval does not write."""
_NAMES = ("peft", "delta", "pretrained", "model", "path", "engine")
"""Arguments that name the model, in lm_eval's own order."""
_OF_ADAPTERS = {"peft": "peft_sha", "delta": "delta_sha"}
_ARGUMENT_OF_FORM = re.compile(
    r"load_in_\w+|(?!bnb_).*quant.*|.*gptq.*|.*awq.*|gguf_file|subfolder|lora\w*_path|lora|steer_path"
)
"""Arguments after which other weights run than those of the repository's main folder; `bnb_*` only refines others."""
_QUANTISED_DTYPE = re.compile(r"u?int\d|fp[48]|float8|e[45]m[23]|nf4|mxfp")
_FALSE = ("", "0", "false", "none", "null", "no", "auto")


@dataclass(frozen=True)
class TaskValue:
    """The value of a task, 0 to 100.

    shots: of a group, those of its tasks, if all state them. pipeline: task and version, shots, metric, prompt. where:
    the file and key. standard_error: in points.
    """

    value: float
    shots: str | None
    pipeline: str
    where: str
    standard_error: float | None
    n_examples: int | None


def check_program(document: Mapping[str, Any], where: str) -> None:
    """Raise UserError for a file of another program that writes similar names."""
    for key, program in OTHER_PROGRAMS.items():
        if key in document:
            raise UserError(
                f"{where}: is a result file of {program}, not of lm_eval; take it out of the import, or run its tasks "
                "with lm_eval"
            )
    group(document, "results", where)


def task_value(document: Mapping[str, Any], task: Benchmark, where: str) -> TaskValue | None:
    """The value that a study takes of a task; None where the results are of other tasks.

    Raises UserError: the metric is missing or has several filters, is no number or off the scale, or is better when
    lower; a group has no aggregate; the file contradicts itself.
    """
    metrics = _metrics(document, task.lm_eval_task, where)
    if metrics is None:
        return None
    at = f"{where}: results.{task.lm_eval_task}"
    key = _key(metrics, document, task, at)
    name = key.split(",")[0]
    better = _of_task(document, "higher_is_better", task.lm_eval_task)
    if isinstance(better, Mapping) and better.get(name) is False:
        raise UserError(f"{at}: of {name} the lower is the better; state a metric of which the higher is")
    scale = 1.0 if task.scale == "fraction" else HIGHEST
    error = metrics.get(key.replace(name, f"{name}_stderr", 1))
    shots = _shots(document, task.lm_eval_task, where)
    return TaskValue(
        value=percent(metrics[key], scale, f"{at}.{key}"),
        shots=shots,
        pipeline=_pipeline(document, task, shots, key.removesuffix(",none")),
        where=f"{at}.{key}",
        standard_error=error * HIGHEST / scale if isinstance(error, float) and error >= 0 else None,
        n_examples=_n_examples(document, task, metrics, where),
    )


def differences(document: Mapping[str, Any], task: Benchmark, value: TaskValue, where: str) -> list[str]:
    """How a value departs from the benchmark as the study lists it, or what of that the file does not state.

    Raises UserError where the task was run on fewer examples than the study asks for.
    """
    found = []
    if value.shots is None:
        found.append("the file does not state the shots")
    elif task.few_shot is None:
        found.append("the study states no few_shot to compare the file's shots with")
    elif value.shots != str(task.few_shot):
        found.append(f"shots are {value.shots}, the study asks for {task.few_shot}")
    found += _differences_of_prompt(document, task)
    found += _differences_of_sample(document, task, f"{where}: results.{task.lm_eval_task}", where)
    _check_version(document, task.lm_eval_task, where)
    return found


def measured_model(document: Mapping[str, Any], where: str) -> MeasuredModel:
    """The model that results are of. Raises UserError where none is named, and for contradictory names or revisions."""
    config = _config(document)
    arguments = _arguments(config.get("model_args"))
    key = next((key for key in _NAMES if arguments.get(key)), None)
    names = {"model_name": document.get("model_name"), "config.model_args": arguments.get(key) if key else None}
    name = _agreed({at: _name(value) for at, value in names.items()}, where)
    if name is None:
        raise UserError(
            f"{where}: names no model (neither model_name nor config.model_args does); write the model's hub id or "
            "path into the file, as the value of model_name"
        )
    commit = as_commit(config.get(_OF_ADAPTERS.get(key or "", "model_sha")))
    revision = _revision(arguments, config, commit, where)
    return MeasuredModel(name, revision, commit, _form(arguments, config))


def group_tasks(document: Mapping[str, Any], name: str) -> list[str]:
    """Tasks of a group, those of nested groups too; the name itself where it is a task."""
    subtasks = document.get("group_subtasks")
    subtasks = subtasks if isinstance(subtasks, Mapping) else {}
    found: dict[str, None] = {}
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen.add(one)
        inner = subtasks.get(one)
        if isinstance(inner, Sequence) and not isinstance(inner, str) and inner:
            waiting += [str(child) for child in inner]
        else:
            found[one] = None
    return list(found)


def _metrics(document: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any] | None:
    """The metrics of a task or group, from `results` or `groups`."""
    groups = document.get("groups")
    found = [group(document, "results", where).get(name), groups.get(name) if isinstance(groups, Mapping) else None]
    stated = [one for one in found if one is not None]
    if not stated:
        if group_tasks(document, name) not in ([name], []):
            raise UserError(_no_aggregate(document, name, where))
        return None
    for one in stated:
        if not isinstance(one, Mapping):
            raise UserError(f"{where}: results.{name} is a {type(one).__name__}, not an object; the file is damaged")
    first, last = stated[0], stated[-1]
    for key in first.keys() & last.keys():
        numbers = [value for value in (first[key], last[key]) if isinstance(value, int | float)]
        if len(numbers) == 2 and numbers[0] != numbers[1] and numbers[0] == numbers[0]:
            raise UserError(
                f"{where}: results.{name} says {key} {numbers[0]:g}, but groups.{name} {numbers[1]:g}; run it again"
            )
    return first


def _key(metrics: Mapping[str, Any], document: Mapping[str, Any], task: Benchmark, where: str) -> str:
    """The key of a task's metric: as stated, or with the only filter there is, or without one (before lm_eval 0.4)."""
    if task.metric in metrics:
        return task.metric
    found = [key for key in metrics if key.split(",")[0] == task.metric]
    if f"{task.metric},none" in found:
        return f"{task.metric},none"
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{where}: has {task.metric} by several filters; state one: metric: {' or '.join(found)}")
    known = [
        key
        for key, value in metrics.items()
        if isinstance(value, int | float) and "_stderr" not in key and key != "sample_len"
    ]
    if not known:
        name = task.lm_eval_task
        raise UserError(_no_aggregate(document, name, where.removesuffix(f": results.{name}")))
    names = ", ".join(key.removesuffix(",none") for key in known)
    raise UserError(f"{where}: has no metric {task.metric!r}; state one that it has (such are: {names})")


def _no_aggregate(document: Mapping[str, Any], name: str, where: str) -> str:
    tasks = [task for task in group_tasks(document, name) if task != name]
    if not tasks:
        return f"{where}: results.{name} has no value; run the task again, or take the file out of the import"
    names = ", ".join(listed(tasks, most=8))
    return f"{where}: has no value of the group {name}, only of its tasks; list them one by one: {names}"


def _shots(document: Mapping[str, Any], name: str, where: str) -> str | None:
    """Shots of a task, or of all tasks of a group (`0, 5` where they differ); None where not all are stated.

    lm_eval before 0.4.4 states shots of a group that are those of its first task, or 0 whatever was run.
    """
    tasks = group_tasks(document, name)
    stated = [_shots_of_task(document, task, where) for task in tasks]
    own = _count(_of_task(document, "n-shot", name))
    if tasks == [name] or None not in stated:
        every = sorted({one for one in stated if one is not None})
        if own and len(every) == 1 and own != every[0]:
            raise UserError(f"{where}: says {own} shots for {name}, but {every[0]} for its tasks; run it again")
        return ", ".join(map(str, every)) or None
    return None if own is None or any(one is not None for one in stated) else str(own)


def _shots_of_task(document: Mapping[str, Any], task: str, where: str) -> int | None:
    settings = _of_task(document, "configs", task)
    places = {
        f"n-shot.{task}": _of_task(document, "n-shot", task),
        f"configs.{task}.num_fewshot": settings.get("num_fewshot") if isinstance(settings, Mapping) else None,
        "config.num_fewshot": _config(document).get("num_fewshot"),
    }
    return _agreed({at: _count(value) for at, value in places.items()}, where)


def _pipeline(document: Mapping[str, Any], task: Benchmark, shots: str | None, metric: str) -> str:
    """How a value was measured, so that equal texts mean comparable values."""
    places = [_of_task(document, "versions", one) for one in group_tasks(document, task.lm_eval_task)]
    versions = sorted({f"{one:g}" for one in places if isinstance(one, int | float)})
    version = "/".join(versions) or "of unstated version"
    shown = "shots not stated" if shots is None else f"{shots}-shot"
    prompt = _differences_of_prompt(document, task)
    return "; ".join([f"lm_eval, {task.lm_eval_task} {version}, {shown}, {metric}", *prompt])


def _differences_of_prompt(document: Mapping[str, Any], task: Benchmark) -> list[str]:
    config = _config(document)
    found = []
    if any(place.get(key) for place in (document, config) for key in ("chat_template", "chat_template_sha")) or (
        config.get("apply_chat_template")
    ):
        found.append("a chat template was applied")
    if document.get("system_instruction") or config.get("system_instruction"):
        found.append("a system instruction was given")
    settings = [_of_task(document, "configs", one) for one in group_tasks(document, task.lm_eval_task)]
    kinds = {one.get("output_type") if isinstance(one, Mapping) else None for one in settings}
    if config.get("gen_kwargs") and kinds & {None, "generate_until"}:
        found.append("answers were generated with settings of its own (gen_kwargs)")
    return found


def _differences_of_sample(document: Mapping[str, Any], task: Benchmark, at: str, where: str) -> list[str]:
    """Differences of the number of examples. Raises UserError where it is too small."""
    counts = _sample_counts(document, task.lm_eval_task, where)
    config = _config(document)
    limit = config.get("limit")
    is_all = bool(counts) and all(n == n_all for n, n_all in counts)
    if limit is not None and limit != task.limit and not (is_all and _covers(limit, counts)):
        wanted = "all" if task.limit is None else f"{task.limit}"
        raise UserError(
            f"{at}: was measured with limit {limit}, the study asks for {wanted} examples; run it whole, or state "
            f"limit: {limit} for the benchmark"
        )
    wanted_counts = [n_all if task.limit is None else min(task.limit, n_all) for _, n_all in counts]
    n, n_wanted = sum(n for n, _ in counts), sum(wanted_counts)
    if any(n < wanted for (n, _), wanted in zip(counts, wanted_counts, strict=True)):
        raise UserError(
            f"{at}: was measured on {n:,} examples, the study asks for {n_wanted:,}; run it without --samples and "
            "--limit, or take the file out of the import"
        )
    if not counts and ("limit" not in config or config.get("samples")):
        return ["the file does not state on how many examples"]
    if n > n_wanted or (not counts and limit is None and task.limit is not None):
        return [f"more examples were used than the study's limit of {task.limit}"]
    return []


def _covers(limit: Any, counts: Sequence[tuple[int, int]]) -> bool:
    return isinstance(limit, int | float) and all(limit >= n_all for _, n_all in counts)


def _sample_counts(document: Mapping[str, Any], name: str, where: str) -> list[tuple[int, int]]:
    """Examples used and there, of each task of a group; empty where they are not stated of all.

    Raises UserError where more were used than there are.
    """
    tasks = [_counts_of_task(document, task, where) for task in group_tasks(document, name)]
    known = [one for one in tasks if one is not None]
    if len(known) < len(tasks):
        own = _counts_of_task(document, name, where)
        return [] if own is None else [own]
    return known


def _counts_of_task(document: Mapping[str, Any], task: str, where: str) -> tuple[int, int] | None:
    counts = _of_task(document, "n-samples", task)
    counts = counts if isinstance(counts, Mapping) else {}
    n, n_all = _count(counts.get("effective")), _count(counts.get("original"))
    if n is None or n_all is None:
        return None
    if n > n_all:
        raise UserError(f"{where}: n-samples.{task} says {n:,} examples of {n_all:,}; run it again")
    return n, n_all


def _n_examples(document: Mapping[str, Any], task: Benchmark, metrics: Mapping[str, Any], where: str) -> int | None:
    counts = _sample_counts(document, task.lm_eval_task, where)
    return sum(n for n, _ in counts) if counts else _count(metrics.get("sample_len"))


def _check_version(document: Mapping[str, Any], name: str, where: str) -> None:
    """Raise UserError where a file states two versions of a task."""
    for task in group_tasks(document, name):
        settings = _of_task(document, "configs", task)
        metadata = settings.get("metadata") if isinstance(settings, Mapping) else None
        inner = metadata.get("version") if isinstance(metadata, Mapping) else None
        places = {f"versions.{task}": _of_task(document, "versions", task), f"configs.{task}.metadata.version": inner}
        _agreed({at: float(v) if isinstance(v, int | float) else None for at, v in places.items()}, where)


def _arguments(stated: Any) -> dict[str, Any]:
    """`model_args` as a dictionary: `a=1,b=2`, or an object since 0.4.9."""
    if isinstance(stated, str):
        pairs = (pair.split("=", 1) for pair in stated.split(",") if "=" in pair)
        return {key.strip(): value.strip() for key, value in pairs}
    return dict(stated) if isinstance(stated, Mapping) else {}


def _revision(arguments: Mapping[str, Any], config: Mapping[str, Any], commit: str | None, where: str) -> str | None:
    """Branch, tag or commit as the file states it. Raises UserError where it states two, or another than the commit."""
    named = {}
    for at, value in (
        ("model_args: revision", arguments.get("revision")),
        ("model_revision", config.get("model_revision")),
    ):
        text = str(value or "").strip()
        # With a subfolder, which is a form of its own, lm_eval writes `main/folder`.
        folder = str(arguments.get("subfolder") or "")
        named[f"config.{at}"] = text.removesuffix(f"/{folder}") if text not in ("", "None") else None
    one, other = named.values()
    if one and other and not same_commit(one, other):
        _agreed(named, where)
    revision = one or other
    stated = as_commit(revision)
    if stated and commit and (len(stated) == 40 or not stated.isdigit()) and not same_commit(stated, commit):
        raise UserError(
            f"{where}: says revision {revision}, but config.model_sha {commit}; correct the file, or run it again"
        )
    return revision


def _form(arguments: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """The argument or property by which other weights ran than those of the repository; None where there is none."""
    for key, value in arguments.items():
        if _ARGUMENT_OF_FORM.fullmatch(key) and str(value).strip().lower() not in _FALSE:
            return f"{key}={value if isinstance(value, str | int) else '...'}"
    for key, value in (("dtype", arguments.get("dtype")), ("model_dtype", config.get("model_dtype"))):
        if _QUANTISED_DTYPE.search(str(value or "").lower()):
            return f"{key}={value}"
    return f"model: {config['model']}" if config.get("model") in ("gguf", "ggml") else None


def _agreed(stated: Mapping[str, Any], where: str) -> Any:
    """The value that all places state; None where none does. Raises UserError where two differ."""
    known = {at: value for at, value in stated.items() if value is not None}
    first = next(iter(known.items()), None)
    for at, value in known.items():
        if first and value != first[1]:
            raise UserError(
                f"{where}: says {first[1]} ({first[0]}), but also {value} ({at}); correct it, or run it again"
            )
    return first[1] if first else None


def _of_task(document: Mapping[str, Any], key: str, task: str) -> Any:
    by_task = document.get(key)
    return by_task.get(task) if isinstance(by_task, Mapping) else None


def _config(document: Mapping[str, Any]) -> Mapping[str, Any]:
    config = document.get("config")
    return config if isinstance(config, Mapping) else {}


def _count(value: Any) -> int | None:
    """A whole number of a file, which may be text; None for anything else."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value == value and abs(value) < 2**53 and value == int(value) and value >= 0 else None


def _name(value: Any) -> str | None:
    text = str(value or "").strip()
    return text.rstrip("/") or None
