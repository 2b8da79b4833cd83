"""Result files of runs elsewhere -> results of the study's models. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from models_train.benchmarks.evalplus import pass_rates
from models_train.benchmarks.results import Result, model_name, read_json, task_result, without_repeats
from models_train.errors import UserError
from models_train.study.benchmarks import EVALPLUS_METRIC, Benchmarks, ResultImport
from models_train.study.fingerprints import resolve
from models_train.study.study import Study

PATTERNS = {"lm_eval": "results_*.json", "evalplus": "*eval_results.json"}
"""Result files in a folder, by format."""


@dataclass
class Imported:
    """Results of the imports. skipped: numbers of skipped values, by a description."""

    results: list[Result]
    n_files: int
    skipped: Counter[str] = field(default_factory=Counter)


def import_results(study: Study, study_folder: Path) -> Imported:
    """All results of the study's imports. Raises UserError; LocationError where a path is not there."""
    benchmarks = study.benchmarks or Benchmarks()
    found = Imported([], 0)
    for one in benchmarks.imports:
        place = resolve(one.path, study_folder)
        for path in _files(one, place):
            found.n_files += 1
            where = f"{one.path}/{path.relative_to(place)}" if place.is_dir() else one.path
            reader = _of_lm_eval if one.format == "lm_eval" else _of_evalplus
            found.results += reader(study, benchmarks, one, path, where, found.skipped)
    found.results = without_repeats(found.results)
    return found


def _files(one: ResultImport, place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    pattern = PATTERNS[one.format]
    files = sorted(path for path in place.rglob(pattern) if path.is_file())
    if not files:
        raise UserError(f"{one.path}: the folder has no {pattern}; correct the path, or name the file itself")
    return files


def _of_lm_eval(
    study: Study, benchmarks: Benchmarks, one: ResultImport, path: Path, where: str, skipped: Counter[str]
) -> Iterator[Result]:
    document = read_json(path)
    tasks = {task.lm_eval_task for task in benchmarks.tasks}
    in_file = document["results"] if isinstance(document.get("results"), dict) else {}
    model_id = _model_id(study, one, model_name(document, where), where)
    if model_id is None:
        skipped["files of models that the study does not list"] += 1
        return
    skipped["tasks that the study does not list"] += len(in_file.keys() - tasks)
    for task in benchmarks.tasks:
        result = task_result(document, task, model_id, where, where)
        if result is not None:
            yield result


def _of_evalplus(
    study: Study, _: Benchmarks, one: ResultImport, path: Path, where: str, skipped: Counter[str]
) -> Iterator[Result]:
    for rate in pass_rates(read_json(path), path, where):
        model_id = _model_id(study, one, rate.model, where)
        if model_id is None:
            skipped["values of models that the study does not list"] += 1
            continue
        yield Result(
            model_id,
            rate.benchmark,
            EVALPLUS_METRIC,
            rate.value,
            "0",
            "exact",
            where,
            rate.where,
            n_examples=rate.n_examples,
        )


def _model_id(study: Study, one: ResultImport, name: str, where: str) -> str | None:
    """The study's model by its name in the files; None where it is to be passed over."""
    models = (*study.models, *study.candidates)
    known = {model.hub_id: model.model_id for model in models} | {model.model_id: model.model_id for model in models}
    found = one.models.get(name) or known.get(name)
    if found is not None or one.unknown_models == "skip":
        return found
    near = get_close_matches(name, list(known), n=1)
    hint = f"is it {known[near[0]]}? Then add" if near else "add"
    raise UserError(
        f"{where}: the model {name!r} is not one of the study's; {hint} `{name}: <model_id>` to the import's models, "
        "list the model in the study, or set unknown_models: skip"
    )
