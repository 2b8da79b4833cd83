"""From study files to parts: the rows of the raw tables that a study file fills, and the parts of each study."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models_train.errors import close_match
from models_train.parts import content_hash, write_part
from models_train.store import Parts
from models_train.study.fingerprints import donors
from models_train.study.golds import gold_ids
from models_train.study.models import BenchmarkValue, Candidate
from models_train.study.policy_runs import ensembles_by_id, policy_runs
from models_train.study.response_parts import OF_RESPONSES, is_of_run, scores_responses
from models_train.study.reward_ids import (
    source_run_id,
    stated_sources,
    trained_reward_ids,
    variant,
    variants,
)
from models_train.study.seeds import SeedFacts, check_seeds
from models_train.study.study import Study, load_studies
from models_train.study.teachers import LAB_PROMPTS, Teachers
from models_train.study.yaml_lines import StudyError, parse_yaml
from warehouse.contracts import (
    DOCUMENT_TABLES,
    LAB_TABLES,
    LEADERBOARD_TABLES,
    RACE_TABLES,
    RESPONSE_TABLES,
    SCORE_TABLES,
    STUDY_TABLES,
    Table,
)
from warehouse.contracts.responses import GOLD_REWARDS, POLICY_RUNS
from warehouse.contracts.scores import REWARD_SOURCES, REWARDBENCH
from warehouse.contracts.studies import BENCHMARK_RESULTS, IMPORTS, STUDIES, STUDY_FILE, run_of
from warehouse.part_files import Value, restore_wanted, retire_unwanted
from warehouse.paths import REPOSITORY

LEAVE_OUT = "rewardbase/leave_out"
"""Tag of a run: studies that stay out of the warehouse until their work is done, separated by commas."""


@dataclass(frozen=True)
class StudyFacts:
    """Numbers of rows written for one study."""

    study_id: str
    n_compared: int
    n_seeds: int
    n_seed_rows: int
    n_rows: int


def write_study_parts(studies: Path, seeds: Path, parts: Parts, leave_out: Collection[str] = ()) -> list[StudyFacts]:
    """Check all study files (`*.yaml` in `studies`) and their seeds, then write the parts of every study.

    leave_out: studies that are checked and not written. Nothing is written unless everything is right. Raises
    UserError with all problems of a file, and StudyError as `load_studies`.
    """
    loaded = load_studies(studies)
    if not loaded:
        raise StudyError(studies, [(None, "holds no study file (*.yaml); add one, such as published.yaml")])
    checked: list[tuple[Study, dict[str, SeedFacts]]] = []
    for path, study in loaded.items():
        facts = check_seeds(seeds, study, path.name)
        _check_candidates(path, study, facts)
        checked.append((study, facts))
    return [_write(study, facts, parts) for study, facts in checked if study.study_id not in leave_out]


def follow_models(parts: Parts, studies: list[Study]) -> list[str]:
    """Set aside parts that no study asks for any more, and restore those that are asked for again; returns messages.

    Taken out may be a model, a candidate, an objective, a corpus, a benchmark; training, scoring or a lab as a whole.
    """
    messages = []
    for study in studies:
        is_wanted = partial(wants, study, benchmark_writers(study))
        restored = restore_wanted(parts, study.study_id, is_wanted)
        retired = retire_unwanted(parts, study.study_id, is_wanted)
        messages += [f"{name}: restored, the study asks for it again" for name in restored]
        messages += [f"{name}: set aside, the study does not ask for it any more" for name in retired]
    return messages


def wants(study: Study, writers: Collection[str], table: Table, partition: Mapping[str, Value]) -> bool:
    """Whether a study asks for a part, by its table and partition, with whatever settings. writers: of benchmarks."""
    model, job = partition.get("model_id"), partition.get("job")
    if table.name in LAB_TABLES:
        return study.lab is not None
    if table.name in LEADERBOARD_TABLES:
        return bool(study.leaderboards)
    if table.name == BENCHMARK_RESULTS.name:
        return partition.get("written_by") in writers
    if table.name in DOCUMENT_TABLES:
        corpus = study.scoring.corpus.name if study.scoring else None
        # A model that shares another's scores has none of its own, such as those from before the larger one was listed.
        is_scored = model is None or (model in study.model_ids and donors(study).get(str(model), model) == model)
        return corpus is not None and partition.get("corpus") == corpus and is_scored
    if table.name == GOLD_REWARDS.name:
        return study.teachers is not None and bool(study.teachers.gold)
    if table.name in RESPONSE_TABLES:
        return _wants_responses(study, table, partition)
    if table.name in SCORE_TABLES:
        return _wants_rewards(study, partition)
    if table.name in RACE_TABLES:
        # Whether the file has a group race or not: `make pick` races the models of any study that trains.
        return study.training is not None and partition.get("objective", study.training.objectives[0]) in (
            study.training.objectives
        )
    if job == "race":
        return study.training is not None and model in study.model_ids
    if job == "sample_responses":
        return model in _sampled_ids(study)
    if job == "score_documents":
        return study.scoring is not None and model in study.model_ids
    if job == "score_reward_model":
        return model in _scored_ids(study) and _is_scored_on(study, str(partition.get("variant")))
    if job == "teach_policy":
        return any((model, partition.get("variant")) == (one.policy_id, one.variant) for one in policy_runs(study))
    if job == "run_benchmarks":
        return model in study.benchmarked_model_ids
    if study.training is None or model not in study.compared_model_ids:
        return False
    pairs = variants(study.training, str(model))
    trained = {variant(*one) for one in pairs}
    if job == "score_completions":
        which, _, on = str(partition.get("variant")).partition("@")
        return which in trained and _is_scored_on(study, on or REWARDBENCH)
    return partition.get("objective", partition.get("variant")) in trained


def _is_scored_on(study: Study, name: str) -> bool:
    """Whether reward models are scored on a benchmark, or on responses, by the name that costs have."""
    return name in study.reward_benchmarks or (study.teachers is not None and name.startswith(OF_RESPONSES))


def _wants_rewards(study: Study, partition: Mapping[str, Value]) -> bool:
    """Whether a study asks for a source, for its rewards on a benchmark, or for the items of a benchmark, which belong
    to no source."""
    is_named = partition.get("benchmark") in (None, *study.reward_benchmarks)
    if "reward_id" in partition:
        imported = {one.reward_id for one in study.score_imports}
        imported |= gold_ids(study) | set(ensembles_by_id(study))
        imported |= {one.reward_id for one in study.teachers.responses if one.reward_id} if study.teachers else set()
        scored = trained_reward_ids(study) | _scored_ids(study)
        return partition["reward_id"] in imported or (partition["reward_id"] in scored and is_named)
    return is_named or bool(study.score_imports)  # score files may state the items of any benchmark


def _wants_responses(study: Study, table: Table, partition: Mapping[str, Value]) -> bool:
    """Whether a study asks for a part of policies, responses, their rewards and checks, by all that its partition
    names."""
    teachers = study.teachers
    if teachers is None:
        return False
    policy, prompt_set = str(partition.get("policy_id", "")), partition.get("prompt_set")
    is_imported = any(one.has_policy(policy) for one in teachers.responses)
    own = (LAB_PROMPTS if teachers.prompts is None else teachers.prompts.name,) if teachers.policies else ()
    scored = {one for one in trained_reward_ids(study) | _scored_ids(study) if scores_responses(study, one)}
    taught = teachers.teach.rewards if teachers.teach else None  # which may be ensembles
    rewards = scored | gold_ids(study) | set(taught or ())
    asked = {
        "policy_id": policy in _sampled_ids(study)
        or is_imported
        or (bool(teachers.teach) and is_of_run(study, policy)),
        "prompt_set": prompt_set in (*own, *(one.prompt_set for one in teachers.responses)),
        "reward_id": partition.get("reward_id") in rewards | {one.reward_id for one in teachers.responses},
        "check_name": partition.get("check_name") in teachers.checks,
        "policy_run_id": teachers.teach is not None,
    }
    if table.name == POLICY_RUNS.name:
        names = ("policy_id", "reward_id", "method", "seed")
        wanted = {tuple(str(getattr(one, name)) for name in names) for one in policy_runs(study)}
        return tuple(str(partition.get(name)) for name in names) in wanted
    return all(is_asked for name, is_asked in asked.items() if name in partition)


def _sampled_ids(study: Study) -> set[str]:
    """Names of the policies that the study samples."""
    return {one.policy_id for one in study.teachers.policies} if study.teachers else set()


def _scored_ids(study: Study) -> set[str]:
    """Names of the reward models of a hub or folder that the study scores."""
    return {one.reward_id for one in study.reward_models}


def benchmark_writers(study: Study) -> set[str]:
    """Writers of a study's benchmark results, as in the column `written_by`."""
    writers = {run_of(model_id) for model_id in study.benchmarked_model_ids}
    if study.benchmarks and study.benchmarks.imports:
        writers.add(IMPORTS)
    if any(candidate.benchmarks for candidate in study.candidates):
        writers.add(STUDY_FILE)
    return writers


def _check_candidates(path: Path, study: Study, seeds: dict[str, SeedFacts]) -> None:
    """Check that a candidate's benchmark values are of a benchmark, metric and pipeline that the study can use.

    The study can use benchmarks that it lists under `benchmarks`, with the metric stated there, and those of the seed
    table_2_benchmarks, with a metric that the seed benchmark_metrics has for them, and of a pipeline that the seed
    benchmark_results has for them; a value of any other would be dropped silently. Raises StudyError with the line of
    every value.
    """
    stated = [
        (("candidates", place, "benchmarks", number), candidate, value)
        for place, candidate in enumerate(study.candidates)
        for number, value in enumerate(candidate.benchmarks)
    ]
    if not stated:
        return
    document = parse_yaml(path)
    metrics = {row["benchmark"]: [row["metric"]] for row in _listed_benchmarks(study)}
    missing = [name for name in ("table_2_benchmarks", "benchmark_metrics") if name not in seeds]
    if missing and not metrics:
        location, candidate, _ = stated[0]
        text = (
            f"candidate {candidate.model_id}: the study lists no {' and no '.join(missing)} seed, so no benchmark "
            f"value can be used; list {' and '.join(missing)} under seeds, or remove the candidates' benchmarks"
        )
        raise StudyError(path, [(document.line(location), text)])
    if not missing:
        of_seeds: dict[str, list[str]] = {row["benchmark"]: [] for row in _read(seeds["table_2_benchmarks"])}
        for row in _read(seeds["benchmark_metrics"]):
            if row["benchmark"] in of_seeds:
                of_seeds[row["benchmark"]].append(row["metric"])
        metrics = of_seeds | {name: [*of_seeds.get(name, []), *own] for name, own in metrics.items()}
    usable = ("exact", "close", "loose") if study.use_loose_benchmarks else ("exact", "close")
    rows = _read(seeds["benchmark_results"]) if "benchmark_results" in seeds else ()
    published = [row for row in rows if row["match"] in usable]
    own = {row["benchmark"] for row in _listed_benchmarks(study)}
    problems = []
    for location, candidate, value in stated:
        found = _value_problem(value, metrics, "under benchmarks" if missing else "in table_2_benchmarks.csv")
        if not found and published and value.benchmark not in own:
            found = _pipeline_problem(value, [row for row in published if row["benchmark"] == value.benchmark])
        if found:
            key, text = found
            problems.append((document.line((*location, key)), f"candidate {candidate.model_id}: {text}"))
    if problems:
        raise StudyError(path, problems)


def _pipeline_problem(value: BenchmarkValue, published: Sequence[Mapping[str, str]]) -> tuple[str, str] | None:
    """The key and message where the pipeline of a value is not known, or None. published: usable values of its kind."""
    if value.pipeline is not None:
        known = sorted({row["pipeline"] for row in published})
        if value.pipeline in known:
            return None
        hint = close_match(value.pipeline, known, "known are", 5) if known else "no value of it is published"
        return "pipeline", f"the pipeline {value.pipeline!r} of {value.benchmark} is not known; {hint}"
    possible = sorted(
        {row["pipeline"] for row in published if row["metric"] == value.metric and value.shots in (None, row["shots"])}
    )
    if len(possible) == 1:
        return None
    which = f"could be of {', '.join(possible)}" if possible else "has the metric or shots of no published value"
    return "metric", f"the value of {value.benchmark} {which}; state its pipeline"


def _read(seed: SeedFacts) -> Iterator[dict[str, str]]:
    with open(seed.path, newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _value_problem(value: BenchmarkValue, metrics: Mapping[str, list[str]], where: str) -> tuple[str, str] | None:
    """The wrong key of a benchmark value and its message, or None.

    metrics: of each benchmark that can be used. where: place of the list, for the message.
    """
    if value.benchmark not in metrics:
        hint = close_match(value.benchmark, sorted(name for name, known in metrics.items() if known), "known are", 5)
        return "benchmark", f"the benchmark {value.benchmark!r} is not {where}; {hint}"
    known = metrics[value.benchmark]
    if not known:
        listed = f"{value.benchmark!r} is listed in Table 2"
        return "benchmark", f"{listed}, but no metric is listed for it in benchmark_metrics.csv: add one"
    if value.metric not in known:
        hint = close_match(value.metric, sorted(known))
        return "metric", f"the metric {value.metric!r} of {value.benchmark} is not known; {hint}"
    return None


def _write(study: Study, seeds: dict[str, SeedFacts], parts: Parts) -> StudyFacts:
    tables = _rows(study, seeds)
    run_id = content_hash({"study": study, "seeds": {name: facts.sha256 for name, facts in seeds.items()}})
    for name, rows in tables.items():
        if not rows and "written_by" in STUDY_TABLES[name].partition_by:
            continue  # without rows there is no writer: an older part is set aside
        write_part(parts, STUDY_TABLES[name], rows, study_id=study.study_id, run_id=run_id)
    for source in stated_sources(study):
        write_part(parts, REWARD_SOURCES, [source], study_id=study.study_id, run_id=source_run_id(source))
    return StudyFacts(
        study_id=study.study_id,
        n_compared=len(study.compared_model_ids),
        n_seeds=len(seeds),
        n_seed_rows=sum(facts.n_rows for facts in seeds.values()),
        n_rows=sum(map(len, tables.values())),
    )


def _rows(study: Study, seeds: dict[str, SeedFacts]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the raw tables that a study file fills, by table."""
    return {
        "studies": [study.model_dump(include=set(STUDIES.filled_columns.names) | {"study_id"})],
        "run_noise": [
            {
                "objective": objective,
                "category": target,
                "standard_deviation": deviation,
                "basis": study.run_noise.basis,
            }
            for objective, target, deviation in study.run_noise.rows()
        ],
        "size_groups": [
            {
                "size_group": group.name,
                "position": position,
                "params_b_from": group.params_b_from,
                "params_b_below": group.params_b_below,
                "default_model_id": group.default,
            }
            for position, group in enumerate(study.size_groups, start=1)
        ],
        "base_models": [
            model.model_dump(exclude={"parent", "benchmarks", "remote_code"})
            | {"parent_model_id": model.parent, "is_candidate": isinstance(model, Candidate)}
            for model in (*study.models, *study.candidates)
        ],
        "benchmarks": _listed_benchmarks(study),
        "benchmark_results": [
            {
                "model_id": candidate.model_id,
                "written_by": STUDY_FILE,
                "standard_error": None,
                "n_examples": None,
                **value.model_dump(),
                "match": value.match or _match(study, value),
            }
            for candidate in study.candidates
            for value in candidate.benchmarks
        ],
        "score_bins": [
            {"score_kind": kind, "low": bins.low, "high": bins.high, "n_bins": bins.n}
            for kind, bins in (study.scoring.fixed_bins if study.scoring else {}).items()
        ],
        "teacher_settings": [
            {"setting": name, "value": json.dumps(value)}
            for name, value in (_teacher_settings(study.teachers) if study.teachers else {}).items()
        ],
        "study_seeds": [
            {
                "seed": seed.name,
                "file": seeds[seed.name].path.resolve().relative_to(REPOSITORY).as_posix(),
                "paper_table": seed.paper_table,
                "source": seed.source,
                "licence": seed.licence,
                "n_rows": seeds[seed.name].n_rows,
                "sha256": seeds[seed.name].sha256,
            }
            for seed in study.seeds
        ],
    }


def _teacher_settings(teachers: Teachers) -> dict[str, Any]:
    """Settings of what is measured on the responses of policies, by name."""
    return teachers.model_dump(mode="json", include={"best_of", "ensembles"})


def _match(study: Study, value: BenchmarkValue) -> str:
    """The match of a stated value whose author names none: exact only where shots are stated, and are not others."""
    listed = {row["benchmark"]: row["shots"] for row in _listed_benchmarks(study)}
    wanted = listed.get(value.benchmark)
    return "exact" if value.shots is not None and wanted in (None, value.shots) else "close"


def _listed_benchmarks(study: Study) -> list[dict[str, Any]]:
    return study.benchmarks.rows() if study.benchmarks else []
