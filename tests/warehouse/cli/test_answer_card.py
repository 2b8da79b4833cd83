"""The answer as a picture: what `make recommend` says, in every kind of file; errors for people."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import polars as pl
import pytest

from tests.support import marts_database
from tests.support.marts_database import HOSTILE
from tests.support.teacher_frames import gains, recommendations_mart, tables
from warehouse.cli.answer_card import main


def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str = "") -> Path:
    monkeypatch.setenv("REWARDBASE_HOME", str(tmp_path))
    (tmp_path / "published").mkdir(exist_ok=True)
    study = marts_database.small_study(suffix=suffix, synthetic=bool(suffix))
    marts_database.write_marts(tmp_path / "published" / "current.duckdb", [study])
    return tmp_path


def texts(path: Path) -> list[str]:
    return [element.text or "" for element in ElementTree.parse(path).iter() if element.tag.endswith("text")]


def test_a_card_says_what_the_recommendation_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = home(tmp_path, monkeypatch)
    svg, png, pdf = (tmp_path / f"card{ending}" for ending in (".svg", ".png", ".pdf"))
    arguments = ["--max-params", "8", "--objective", "regression"]
    assert main([*arguments, *(part for path in (svg, png, pdf) for part in ("--to", str(path)))]) == 0
    said = capsys.readouterr().out
    question, pick, *_ = said.splitlines()
    assert (
        question
        == "Which base model of at most 8 B parameters should I train my reward model on? Objective: Regression."
    )
    drawn = texts(svg)
    assert " ".join(drawn).count(question[:40]) == 1 and pick.split(":")[0] in drawn
    assert any("90 % interval" in text for text in drawn) and "Synthetic" not in " ".join(drawn)
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    assert width == 2000 and 600 < height < 2400
    assert pdf.read_bytes().startswith(b"%PDF")
    assert main(arguments) == 0
    assert {path.name for path in (place / "reports").iterdir()} == {"answer_card.png", "answer_card.pdf"}


def test_hostile_names_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home(tmp_path, monkeypatch, HOSTILE)
    assert main(["--to", str(tmp_path / "card.svg")]) == 0
    drawn = " ".join(texts(tmp_path / "card.svg"))
    assert "<script>" in drawn and "Synthetic data" in drawn
    assert "<script" not in (tmp_path / "card.svg").read_text()


def test_what_cannot_be_drawn_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home(tmp_path, monkeypatch)
    for arguments, words in (
        (["--to", "card.gif"], "card.gif: a card is written as .png, .pdf or .svg"),
        (["--benchmark", "mmlu"], "There are no rewards on a benchmark 'mmlu'; there is none yet."),
        (["--max-params", "0.1"], "No model has at most 0.1 billion parameters"),
        (["--policy", "p"], "no recommendations for policies yet"),
        (["--study", "none"], "There is no study 'none'"),
    ):
        assert main(arguments) == 1
        assert words in capsys.readouterr().err


def test_a_card_for_a_policy_is_that_of_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = home(tmp_path, monkeypatch)
    every = recommendations_mart(tables(gains("p-llama"))).with_columns(pl.lit("published").alias("study_id"))
    named = every.filter(policy_id="p-llama")
    longer = named.with_columns(pl.lit("p-llama:rl-2").alias("policy_id"), pl.lit("another").alias("base_model"))
    with duckdb.connect(str(place / "published" / "current.duckdb")) as connection:
        connection.register("found", pl.concat([longer, named]).to_arrow())
        connection.execute("create table marts.fct_teacher_recommendations as from found")
    asked = ["--policy", "p-llama", "--use", "rl", "--objective", str(named["objective"][0])]
    assert main([*asked, "--to", str(tmp_path / "card.svg")]) == 0
    wanted = named.filter(pl.col("use") == "rl", pl.col("size_limit_b").is_null(), objective=str(named["objective"][0]))
    assert wanted["base_model"][0] in texts(tmp_path / "card.svg") and wanted["reason"][0] in capsys.readouterr().out
    assert main([*asked, "--memory", "24"]) == 1
    assert "MEMORY is for a recommendation without a policy" in capsys.readouterr().err
    assert main(["--benchmark", "mmlu", "--study", "none"]) == 1
    assert "There is no study 'none'; the snapshot holds: published." in capsys.readouterr().err
