"""From study files to parts: what a study says of itself becomes rows of the raw tables."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_train.config import Candidate, Study, load_study
from models_train.parts import content_hash, write_part
from models_train.study_yaml import StudyError
from warehouse.contracts import STUDY_TABLES
from warehouse.home import REPOSITORY
from warehouse.seeds import SeedFacts, check_seeds


@dataclass(frozen=True)
class StudyFacts:
    """What was written of one study."""

    study_id: str
    n_compared: int
    n_seeds: int
    n_seed_rows: int
    n_rows: int


def write_study_parts(studies: Path, seeds: Path, parts: Path) -> list[StudyFacts]:
    """Check all study files (`*.yaml` in `studies`) and their seeds, then write the parts of every study.

    Nothing is written unless everything is right. Raises StudyError or SeedError with all problems of a file, and
    StudyError where two files claim the same study.
    """
    paths = sorted(studies.glob("*.yaml"))
    if not paths:
        raise StudyError(studies, [(1, "holds no study file (*.yaml); add one, such as published.yaml")])
    checked: dict[str, tuple[Path, Study, dict[str, SeedFacts]]] = {}
    for path in paths:
        study = load_study(path)
        if study.study_id in checked:
            other = checked[study.study_id][0].name
            raise StudyError(
                path, [(1, f"study_id: {study.study_id!r} is also that of {other}; give one of them another")]
            )
        facts = check_seeds(
            seeds, path.name, [seed.name for seed in study.seeds], study.compared_model_ids, study.model_ids
        )
        _check_candidates(path, study, facts)
        checked[study.study_id] = path, study, facts
    return [_write(study, facts, parts) for _, study, facts in checked.values()]


def _check_candidates(path: Path, study: Study, seeds: dict[str, SeedFacts]) -> None:
    """A candidate's benchmark values must be of a benchmark and metric that the study knows."""
    if not any(candidate.benchmarks for candidate in study.candidates):
        return
    known: set[tuple[str, str]] = set()
    if "benchmark_metrics" in seeds:
        with open(seeds["benchmark_metrics"].path, newline="", encoding="utf-8") as file:
            known = {(row["benchmark"], row["metric"]) for row in csv.DictReader(file)}
    lines = path.read_text(encoding="utf-8").splitlines()
    problems = []
    for candidate in study.candidates:
        line = next((number for number, text in enumerate(lines, 1) if candidate.model_id in text), 1)
        for value in candidate.benchmarks:
            if (value.benchmark, value.metric) not in known:
                metrics = sorted(metric for benchmark, metric in known if benchmark == value.benchmark)
                names = metrics or sorted({benchmark for benchmark, _ in known})
                near = difflib.get_close_matches(value.metric if metrics else value.benchmark, names, 3) or names[:5]
                what = f"metric {value.metric!r} of {value.benchmark}" if metrics else f"benchmark {value.benchmark!r}"
                problems.append(
                    (line, f"candidate {candidate.model_id}: the {what} is not known; such are {', '.join(near)}")
                )
    if problems:
        raise StudyError(path, problems)


def _write(study: Study, seeds: dict[str, SeedFacts], parts: Path) -> StudyFacts:
    tables = _rows(study, seeds)
    run_id = content_hash({"study": study, "seeds": {name: facts.sha256 for name, facts in seeds.items()}})
    for name, rows in tables.items():
        write_part(parts, STUDY_TABLES[name], rows, study_id=study.study_id, run_id=run_id)
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
        "studies": [study.model_dump(include={"study_id", "title", "synthetic", "source", "use_loose_benchmarks"})],
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
            model.model_dump(exclude={"parent", "benchmarks"})
            | {"parent_model_id": model.parent, "is_candidate": isinstance(model, Candidate)}
            for model in (*study.models, *study.candidates)
        ],
        "benchmark_results": [
            {"model_id": candidate.model_id, **value.model_dump()}
            for candidate in study.candidates
            for value in candidate.benchmarks
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
