"""`make verify`: everything that is not as it was written, named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dagster_project.cli.verify import found_problems, main
from models_train.parts import write_part
from tests.support.publishing import MARTS, change
from warehouse.checksums import write_checksums
from warehouse.contracts.studies import STUDIES
from warehouse.paths import Home
from warehouse.publish import publish


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home").ensure()
    rows = [{"title": "T" * 5000, "synthetic": False, "source": "x", "use_loose_benchmarks": False, "answer_on": None}]
    write_part(home.parts, STUDIES, rows, study_id="s", run_id="r")
    change(home, MARTS)
    publish(home)
    (home.reports / "base_model_choice.html").write_text("<p>Report</p>")
    write_checksums(home.reports, [home.reports / "base_model_choice.html"])
    return home


def flip(path: Path) -> None:
    """Change a byte in the middle of a file."""
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def flip_rows(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.find(b"TTTT")
    content[place if place > 0 else 80] ^= 1
    path.write_bytes(content)


HARM: dict[str, tuple[Callable[[Home], None], str]] = {
    "part": (lambda home: flip_rows(home.parts / "studies" / "s" / "r.parquet"), "r.parquet is damaged; remove it"),
    "snapshot": (lambda home: flip(home.current.resolve()), "is damaged: its content is not what was written; run"),
    "report": (lambda home: flip(home.reports / "base_model_choice.html"), "base_model_choice.html is damaged"),
    "warehouse": (lambda home: flip(home.warehouse), "warehouse.duckdb is damaged: a block of it"),
    "no warehouse": (lambda home: home.warehouse.unlink(), "there is no such database yet"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_is_damaged_is_named_with_what_to_do(home: Home, harm: str) -> None:
    assert list(found_problems(home)) == []
    spoil, said = HARM[harm]
    spoil(home)
    (problem,) = found_problems(home)
    assert said in problem and "`make r" in problem


def test_a_home_that_cannot_be_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REWARDBASE_HOME", "~nosuchuser/x")
    assert main() == 1
    assert capsys.readouterr().err == "REWARDBASE_HOME=~nosuchuser/x: there is no such user; write the whole path\n"
