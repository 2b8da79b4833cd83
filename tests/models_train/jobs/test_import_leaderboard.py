"""The job that imports leaderboards: one part, what it says, and a study file's leaderboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from models_train.jobs import import_leaderboard
from models_train.study.fingerprints import leaderboards_run_id
from models_train.study.study import load_study
from models_train.study.yaml_lines import StudyError
from tests.support.leaderboard_files import BEAVER, write_result
from tests.support.studies import SETTINGS

BOARD = "{name: Board, path: ./eval-set, format: rewardbench, snapshot_date: 2024-12-01}"


def write_study(folder: Path, *boards: str) -> Path:
    settings = {key: value for key, value in SETTINGS.items() if key not in ("training", "scoring")}
    models = [model | {"publisher": "org"} for model in SETTINGS["models"]]
    text = yaml.safe_dump(settings | {"models": models})
    listed = "".join(f"  - {board}\n" for board in boards)
    path = folder / "tiny.yaml"
    path.write_text(text + (f"leaderboards:\n{listed}" if boards else ""))
    return path


def run(path: Path, home: Path) -> None:
    import_leaderboard.main(["--study", str(path), "--home", str(home)])


def test_a_leaderboard_becomes_one_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_study(tmp_path, BOARD)
    write_result(tmp_path / "eval-set", BEAVER)
    write_result(tmp_path / "eval-set", BEAVER | {"model": "org/rm-Llama-3-8B"})
    write_result(tmp_path / "eval-set", BEAVER | {"model": "openai/gpt-4", "model_type": "Generative"})
    write_result(tmp_path / "eval-set", BEAVER | {"model": "org/free", "model_type": "DPO Ref. Free"})
    run(path, tmp_path / "home")
    said = capsys.readouterr().out
    assert "Board: left out 1: DPO models without reference" in said and "rows: 3" in said
    assert "Board (2024-12-01): 3 entries; bases by judge 1, name 1, unknown 1" in said
    # The tests have no hub.
    assert "the hub could not be asked of 2 repositories" in said and "run import_leaderboard again" in said
    run_id = leaderboards_run_id(load_study(path), tmp_path)
    rows = pl.read_parquet(tmp_path / "home" / "parts" / "leaderboard_entries" / "tiny" / f"{run_id}.parquet")
    found = {row["entry"]: row for row in rows.to_dicts()}
    assert found["org/rm-Llama-3-8B"]["base_family"] == "Llama-3.x" and found["openai/gpt-4"]["is_judge"]
    assert json.loads(found["org/rm-Llama-3-8B"]["categories"])["refusals-offensive"] == 100
    # Another file is another import; a comment in the study file is none.
    write_result(tmp_path / "eval-set", BEAVER | {"model": "org/new"})
    assert leaderboards_run_id(load_study(path), tmp_path) != run_id


def test_a_bad_file_leaves_what_was_there(tmp_path: Path) -> None:
    path = write_study(tmp_path, BOARD)
    file = write_result(tmp_path / "eval-set", BEAVER)
    run(path, tmp_path / "home")
    (before,) = (tmp_path / "home" / "parts").rglob("*.parquet")
    content = before.read_bytes()
    file.write_text("{")
    with pytest.raises(SystemExit, match="is not JSON"):
        run(path, tmp_path / "home")
    file.unlink()
    with pytest.raises(SystemExit, match=r"eval-set: the folder has no result file \(\*.json\)"):
        run(path, tmp_path / "home")
    file.parent.rmdir()
    (tmp_path / "eval-set").rmdir()
    with pytest.raises(SystemExit, match=r"eval-set: there is no .*correct the path in the study file"):
        run(path, tmp_path / "home")
    (after,) = (tmp_path / "home" / "parts").rglob("*.parquet")
    assert after.read_bytes() == content


def test_a_study_without_leaderboards_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="lists no leaderboard; list files under leaderboards"):
        run(write_study(tmp_path), tmp_path / "home")


@pytest.mark.parametrize(
    ("boards", "said"),
    [
        ([BOARD.replace("2024-12-01", "December 2024")], "snapshot_date: 'December 2024' is not a date; write it like"),
        ([BOARD.replace("2024-12-01", '"2024-02-30"')], "snapshot_date: '2024-02-30' is not a date"),
        ([BOARD.replace("2024-12-01", "20241201")], "snapshot_date: 20241201 is not a date"),
        ([BOARD.replace("rewardbench", "rewardbench3")], "format: 'rewardbench3' should be 'rewardbench'"),
        ([BOARD.replace("path: ./eval-set, ", "")], "leaderboards[0].path: missing; add this key"),
        ([BOARD, BOARD.replace("Board", "board")], "lists board of 2024-12-01 twice; keep one, or give them two names"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(tmp_path: Path, boards: list[str], said: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_study(write_study(tmp_path, *boards))
    assert said in str(caught.value) and len(caught.value.problems) == 1 and caught.value.problems[0][0]


def test_a_date_in_quotes_is_the_same_day(tmp_path: Path) -> None:
    loaded: list[Any] = [
        load_study(write_study(tmp_path, board)).leaderboards
        for board in (BOARD, BOARD.replace("2024-12-01", "'2024-12-01'"))
    ]
    assert loaded[0] == loaded[1] and loaded[0][0].snapshot_date == "2024-12-01"
