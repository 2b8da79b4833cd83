"""Result files of runs elsewhere -> results of the study's models, as exact as the files state. Imports no torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

from models_train.benchmarks.evalplus import pass_rates
from models_train.benchmarks.lm_eval_files import (
    DEFAULT_BRANCH,
    check_program,
    differences,
    measured_model,
    task_value,
)
from models_train.benchmarks.results import MeasuredModel, Result, as_commit, read_json, same_commit, without_repeats
from models_train.errors import UserError, close_match
from models_train.files import files_below
from models_train.study.benchmarks import EVALPLUS_METRIC, Benchmarks, ResultImport
from models_train.study.fingerprints import resolve
from models_train.study.models import StudyModel
from models_train.study.study import Study

PATTERNS = {"lm_eval": "results_*.json", "evalplus": "*eval_results.json"}
"""Result files in a folder, by format."""
UNSTATED_COMMIT = "the file does not state the commit of the model"
UNCOMPARED_COMMIT = "the study states no revision to compare the file's commit with"
OTHER_COMMIT = "the file is of another commit than the first job on the model, whose revision the study does not state"
_QUANTISED_NAME = re.compile(
    r"(?<![a-z0-9])(gptq|awq|gguf|ggml|exl[23]|(nv|mx)?fp[48]|bnb|nf4|[2-8]-?bits?|u?int[48]|w[48]a(4|8|16)|quanti[sz]ed)(?![a-z])"
)


@dataclass
class Imported:
    """Results of the imports.

    skipped: numbers of skipped values, by a description. close: numbers of values that are no exact match, by benchmark
    and reason. other_tasks: tasks in the files that the study does not list.
    """

    results: list[Result]
    n_files: int
    skipped: Counter[str] = field(default_factory=Counter)
    close: Counter[tuple[str, str]] = field(default_factory=Counter)
    other_tasks: dict[str, None] = field(default_factory=dict)


def import_results(study: Study, study_folder: Path) -> Imported:
    """All results of the study's imports. Raises UserError; LocationError where a path is not there."""
    benchmarks = study.benchmarks or Benchmarks()
    found = Imported([], 0)
    for one in benchmarks.imports:
        place = resolve(one.path, study_folder)
        for path in _files(one, place, found.skipped):
            found.n_files += 1
            where = f"{one.path}/{path.relative_to(place)}" if place.is_dir() else one.path
            reader = _of_lm_eval if one.format == "lm_eval" else _of_evalplus
            found.results += reader(study, benchmarks, one, path, where, found)
    found.results = without_repeats(found.results)
    return found


def _files(one: ResultImport, place: Path, skipped: Counter[str]) -> list[Path]:
    """The files to read, in order; links to folders are followed."""
    if place.is_file():
        return [place]
    pattern = PATTERNS[one.format]
    there = files_below(place, hidden=True)
    packed = [path for path in there if fnmatch(path.name, f"{pattern}.*")]
    files = [path for path in there if fnmatch(path.name, pattern) and path.is_file()]
    if not files:
        remedy = f"unpack {packed[0].relative_to(place)}" if packed else "correct the path, or name the file itself"
        raise UserError(f"{one.path}: the folder has no {pattern}; {remedy}")
    skipped[f"packed files in {one.path}, such as {packed[0].name}; unpack them" if packed else ""] += len(packed)
    return files


def _of_lm_eval(
    study: Study, benchmarks: Benchmarks, one: ResultImport, path: Path, where: str, found: Imported
) -> Iterator[Result]:
    document = read_json(path)
    check_program(document, where)
    model = _model(study, one, (measured_model(document, where),), where, found.skipped, "files")
    if model is None:
        return
    others = document["results"].keys() - {task.lm_eval_task for task in benchmarks.tasks}
    found.skipped["tasks that the study does not list"] += len(others)
    found.other_tasks |= dict.fromkeys(sorted(others))
    for task in benchmarks.tasks:
        value = task_value(document, task, where)
        if value is None:
            continue
        yield _result(
            found,
            [*model.unknown, *differences(document, task, value, where)],
            model_id=model.model_id,
            benchmark=task.name,
            metric=task.stored_metric,
            value=value.value,
            shots=value.shots,
            pipeline=value.pipeline,
            source=where,
            where=value.where,
            standard_error=value.standard_error,
            n_examples=value.n_examples,
        )


def _of_evalplus(
    study: Study, _: Benchmarks, one: ResultImport, path: Path, where: str, found: Imported
) -> Iterator[Result]:
    for rate in pass_rates(read_json(path), path, where):
        model = _model(study, one, rate.models, where, found.skipped, "values")
        if model is None:
            continue
        yield _result(
            found,
            [*model.unknown, *rate.differences],
            model_id=model.model_id,
            benchmark=rate.benchmark,
            metric=EVALPLUS_METRIC,
            value=rate.value,
            shots="0",
            pipeline=rate.pipeline,
            source=where,
            where=rate.where,
            n_examples=rate.n_examples,
        )


def _result(found: Imported, reasons: Sequence[str], **fields: object) -> Result:
    result = Result(match="close" if reasons else "exact", **fields)  # type: ignore[arg-type]
    found.close.update((result.benchmark, reason) for reason in reasons)
    return result


@dataclass(frozen=True)
class _Found:
    """A model of the study. unknown: what the file does not state of it."""

    model_id: str
    unknown: tuple[str, ...] = ()


def _model(
    study: Study,
    one: ResultImport,
    measured: Sequence[MeasuredModel],
    where: str,
    skipped: Counter[str],
    unit: str,
) -> _Found | None:
    """The study's model of a file; None where it is to be passed over.

    measured: names that the file may know it by. Raises UserError where the study does not list the model, lists it at
    another commit, or lists several models of its repository that the file does not tell apart.
    """
    models = (*study.models, *study.candidates)
    for said in measured:
        known, is_stated = _named(one, models, said)
        if not known:
            continue
        agreeing = [(model, _agrees(model, said, is_stated)) for model in known]
        problem = _problem_of_form(said, known) or (
            _other_commit(said, known) if all(agrees is False for _, agrees in agreeing) else None
        )
        if problem is None:
            return _told_apart([(model, agrees) for model, agrees in agreeing if agrees is not False], said, where)
        if one.unknown_models == "error":
            raise UserError(f"{where}: {problem}, take the file out, or set unknown_models: skip")
        skipped[f"{unit} of other commits or forms of the study's models"] += 1
        return None
    if one.unknown_models == "error":
        raise UserError(_not_listed(measured[0].name, models, where))
    skipped[f"{unit} of models that the study does not list"] += 1
    return None


def _named(one: ResultImport, models: Sequence[StudyModel], said: MeasuredModel) -> tuple[list[StudyModel], bool]:
    """Models that the name may mean, and whether the import states it together with the revision (`name@revision`)."""
    for key, model_id in one.models.items():
        name, _, revision = key.rpartition("@")
        stated = [text for text in (said.revision, said.commit) if text]
        if name.rstrip("/") == said.name and any(same_commit(revision, text) for text in stated):
            return [model for model in models if model.model_id == model_id], True
    by_name = {key.rstrip("/"): model_id for key, model_id in one.models.items()}
    if said.name in by_name:
        return [model for model in models if model.model_id == by_name[said.name]], False
    return [model for model in models if said.name in (model.model_id, model.hub_id.rstrip("/"))], False


def _agrees(model: StudyModel, said: MeasuredModel, is_stated: bool) -> bool | None:
    """Whether the file is of the model's commit; None where that is not known. is_stated: the import says so."""
    if model.is_local:
        return True
    pinned, revision = model.stated_revision, said.revision
    commit = said.commit or as_commit(revision)
    if pinned is None and model.revision is not None and commit:
        return same_commit(commit, model.revision) or None
    if revision == pinned or (pinned is None and (is_stated or revision == DEFAULT_BRANCH)):
        return True
    if pinned is None:
        return None if as_commit(revision) else False
    if commit and as_commit(pinned):
        if same_commit(commit, pinned):
            return True
        # A tag of digits alone, such as a date, looks like a commit.
        return None if is_stated and said.commit is None and commit.isdigit() else False
    return None if is_stated or revision in (None, DEFAULT_BRANCH) else False


def _told_apart(agreeing: Sequence[tuple[StudyModel, bool | None]], said: MeasuredModel, where: str) -> _Found:
    sure = [model for model, agrees in agreeing if agrees and model.revision is not None]
    if len(agreeing) > 1 and len(sure) != 1:
        names = ", ".join(model.model_id for model, _ in agreeing)
        raise UserError(
            f"{where}: is of {said.name}, of which the study lists several models ({names}), and does not tell their "
            "commits apart; write config.model_sha into the file, or import it by itself with "
            f"models: {{{said.name}: <model_id>}}"
        )
    model = sure[0] if sure else agreeing[0][0]
    if sure or agreeing[0][1]:
        return _Found(model.model_id)
    if model.stated_revision is not None:
        return _Found(model.model_id, (UNSTATED_COMMIT,))
    return _Found(model.model_id, (UNCOMPARED_COMMIT if model.revision is None else OTHER_COMMIT,))


def _problem_of_form(said: MeasuredModel, known: Sequence[StudyModel]) -> str | None:
    """What sets the measured weights apart from those of the study: quantisation, a subfolder, an adapter."""
    if said.form is not None:
        return f"was measured on another form of {said.name} ({said.form}) than the study's; measure the model itself"
    quantised = _QUANTISED_NAME.search(said.name.rpartition("/")[2].lower())
    if quantised and not any(quantised[0] in f"{model.hub_id} {model.model_id}".lower() for model in known):
        return (
            f"was measured on {said.name}, by its name quantised, not on {known[0].model_id}; measure the model itself"
        )
    return None


def _other_commit(said: MeasuredModel, known: Sequence[StudyModel]) -> str:
    measured = said.commit or said.revision
    listed = ", ".join(
        f"{model.model_id} at {model.revision}" if model.revision else f"{model.model_id} without a revision"
        for model in known
    )
    return (
        f"was measured on {said.name} at {measured}, but the study lists {listed}; list a model with this commit as "
        f"its revision, map `{said.name}@{said.revision or measured}: <model_id>` in the import's models"
    )


def _not_listed(name: str, models: Sequence[StudyModel], where: str) -> str:
    known = {model.hub_id: model.model_id for model in models} | {model.model_id: model.model_id for model in models}
    near = get_close_matches(name, list(known), n=1)
    hint = f"is it {known[near[0]]}? Then add" if near else "add"
    model_id = known[near[0]] if near else "<model_id>"
    return (
        f"{where}: the model {name!r} is not one of the study's; {hint} `{name}: {model_id}` to the import's models, "
        "list the model in the study, or set unknown_models: skip"
    )


def nothing_found(study: Study, found: Imported) -> str:
    """What the files have instead of the study's tasks, for a message."""
    tasks = [task.lm_eval_task for task in (study.benchmarks or Benchmarks()).tasks]
    others = list(found.other_tasks)
    if not others:
        return "correct the models of the import"
    shown = ", ".join(others[:6]) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
    if any(name.startswith("hendrycksTest-") for name in others):
        remedy = "lm_eval before 0.4 gives no mean of MMLU: list its tasks one by one, or run mmlu again"
    else:
        remedy = f"correct benchmarks.tasks ({close_match(others[0], tasks, 'listed are')})"
    return f"they have {shown}; {remedy}"
