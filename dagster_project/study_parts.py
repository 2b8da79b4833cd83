"""From study files to parts: what a study says of itself becomes rows of the raw tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_train.config import Study, load_study
from models_train.parts import content_hash, write_part
from models_train.study_yaml import StudyError
from warehouse.contracts import TABLES
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
        checked[study.study_id] = path, study, facts
    return [_write(study, facts, parts) for _, study, facts in checked.values()]


def _write(study: Study, seeds: dict[str, SeedFacts], parts: Path) -> StudyFacts:
    tables = _rows(study, seeds)
    run_id = content_hash({"study": study, "seeds": {name: facts.sha256 for name, facts in seeds.items()}})
    for name, rows in tables.items():
        write_part(parts, TABLES[name], rows, study_id=study.study_id, run_id=run_id)
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
            model.model_dump(exclude={"parent"}) | {"parent_model_id": model.parent} for model in study.models
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
