"""Due imports: leaderboards and score files of reward models."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.lib.due import (
    due_work,
    leaderboards_due,
    scores_due,
)
from dagster_project.lib.keys import (
    SCORE_IMPORTS,
)
from models_train.jobs import import_scores
from models_train.parts import write_part
from models_train.study.fingerprints import (
    LocationError,
    leaderboards_run_id,
)
from models_train.study.leaderboards import LeaderboardImport
from models_train.study.settings import Objective
from models_train.study.study import load_study
from tests.support.score_files import best_of_4, best_of_4_items, entry, study_with, write_json, write_lines
from tests.support.studies import SETTINGS, study_of
from warehouse.contracts.leaderboards import LEADERBOARD_ENTRIES
from warehouse.paths import Home

OBJECTIVES: tuple[Objective, ...] = ("bradley_terry", "regression")


def test_leaderboards_are_due_when_a_file_changes(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    board = LeaderboardImport(name="b", path="./b.csv", format="csv", snapshot_date="2024-12-01")
    study = study_of(SETTINGS).model_copy(update={"leaderboards": (board,)})
    studies = {tmp_path / "tiny.yaml": study}
    with pytest.raises(LocationError, match=r"b\.csv.*correct the path"):
        leaderboards_due(studies, home)
    (tmp_path / "b.csv").write_text("Model,Score\na,90\n")
    assert leaderboards_due(studies, home)
    write_part(home.parts, LEADERBOARD_ENTRIES, [], study_id="tiny", run_id=leaderboards_run_id(study, tmp_path))
    assert not leaderboards_due(studies, home)
    (tmp_path / "b.csv").write_text("Model,Score\na,91\n")
    assert leaderboards_due(studies, home)


def test_scores_are_due_until_all_that_a_study_imports_is_there(tmp_path: Path) -> None:
    write_lines(tmp_path / "set.jsonl", best_of_4_items())
    for name in ("a", "b"):
        write_json(tmp_path / f"{name}.json", best_of_4())
    imports = [entry(f"{name}.json", "rewardbench2", f"hub:{name}") for name in ("a", "b")]
    path = study_with(tmp_path, imports, [{"name": "rewardbench2", "path": "set.jsonl"}])
    home = Home(tmp_path / "home")
    studies = {path: load_study(path)}
    import_scores.main(["--study", str(path), "--home", str(home.root)])
    assert not scores_due(studies, home)
    assert not due_work(home, tmp_path).before_gpu
    set_part, *_ = (home.parts / "benchmark_items" / "scores").glob("*.parquet")
    set_part.rename(tmp_path / "aside")
    assert scores_due(studies, home)
    (tmp_path / "aside").rename(set_part)
    write_json(tmp_path / "b.json", best_of_4(model="other"))
    assert scores_due(studies, home)
    (work,) = due_work(home, tmp_path).before_gpu
    assert (work.assets, work.title) == ((SCORE_IMPORTS,), "importing scores of reward models")
    (tmp_path / "b.json").unlink()
    assert "b.json: there is no" in due_work(home, tmp_path).problems[0]
