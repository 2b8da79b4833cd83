"""The documents: SQL questions have the printed results; every path, link, target and setting exists."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import duckdb
import pytest
import yaml

from dagster_project.environment import settings_table
from tests.support.advised_study import build
from warehouse.paths import Home

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
ASKED = (REPOSITORY / ".github" / "QUESTIONS.md").read_text()
QUESTIONS = re.findall(r"\*\*(\d)\. (.+?)\*\*\n\n```sql\n(.+?)```\n\n((?:\|[^\n]*\n)+)", ASKED, flags=re.DOTALL)
PLACES = ("models_train", "warehouse", "dagster_project", "dbt", "tests", ".ci", ".github")


def as_markdown(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    result = connection.execute(query)
    lines = [[column[0] for column in result.description], ["---"] * len(result.description), *result.fetchall()]
    cells = [["" if value is None else str(value).replace("<", "&lt;") for value in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def test_there_are_six_questions() -> None:
    assert [number for number, *_ in QUESTIONS] == ["1", "2", "3", "4", "5", "6"]
    assert ASKED.count("```sql") == 6


@pytest.mark.parametrize(("number", "question", "query", "printed"), QUESTIONS[:5], ids=[q[1] for q in QUESTIONS[:5]])
def test_question_has_the_printed_answer(
    published: duckdb.DuckDBPyConnection, number: str, question: str, query: str, printed: str
) -> None:
    assert as_markdown(published, query) == printed


@pytest.mark.slow
def test_the_question_for_a_policy_has_the_printed_answer(made_once: Callable[..., Path]) -> None:
    """On the study that is made for it; a figure on the border of two digits may be rounded either way."""
    with duckdb.connect(str(Home(made_once("teacher_advice", build)).warehouse), read_only=True) as connection:
        connection.execute("set search_path = 'marts'")
        made = as_markdown(connection, QUESTIONS[5][2])
    number = r"\d+\.\d\d"
    assert re.sub(number, "#", made) == re.sub(number, "#", QUESTIONS[5][3])
    figures = [[float(one) for one in re.findall(number, text)] for text in (made, QUESTIONS[5][3])]
    assert figures[0] == pytest.approx(figures[1], abs=0.01 + 1e-9)


def test_the_errors_of_the_performance_model_are_those_of_the_mart(published: duckdb.DuckDBPyConnection) -> None:
    found = re.search(r"<!-- run by the tests:\n(.+?)-->\n((?:\|[^\n]*\n)+)", ASKED, flags=re.DOTALL)
    assert found is not None
    number = r"[+-]?\d+\.\d"
    made = as_markdown(published, found[1])
    assert re.sub(number, "#", made) == re.sub(number, "#", found[2])
    # A figure that lies on the border of two digits may be rounded either way on another machine.
    figures = [[float(one) for one in re.findall(number, text)] for text in (made, found[2])]
    assert figures[0] == pytest.approx(figures[1], abs=0.1 + 1e-9)
    held = published.execute(
        """
        select distinct count(*) over (partition by objective) from fct_performance_predictions
        where study_id = 'published' and target = 'score' and predictor = 'average'
            and protocol = 'leave_publisher_out'
            and observed between coalesce(interval_low, 0) and coalesce(interval_high, 100)
        """
    ).fetchall()
    assert f"hold {held[0][0]} of the 40 scores under either objective" in ASKED and len(held) == 1


@cache
def tracked() -> tuple[str, ...]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    return tuple(name for name in done.stdout.splitlines() if (REPOSITORY / name).exists())


DOCUMENTS = [name for name in tracked() if name.endswith(".md")]


def anchors(text: str) -> set[str]:
    """Fragments of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    path = REPOSITORY / name
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", path.read_text()):
        place, _, fragment = link.partition("#")
        target = path.parent / place if place else path
        assert target.exists(), link
        assert not fragment or fragment in anchors(target.read_text()), link


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_and_targets_that_are_named_exist(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    named = re.findall(r"`([\w.]+/[\w./-]+)`", text)
    ours = [path for path in named if path.split("/")[0] in PLACES]
    assert [path for path in ours if not (REPOSITORY / path).exists()] == []
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets()


def test_the_tree_of_the_readme_is_the_tree() -> None:
    (tree,) = re.findall(r"```text\n(.+?)```", README, flags=re.DOTALL)
    missing, top = [], ""
    for line in tree.splitlines():
        name = line.split()[0]
        top, path = (name, name) if not line.startswith(" ") else (top, top + name)
        missing += [path] if not (REPOSITORY / path).is_dir() else []
    assert missing == []


def test_the_readme_is_short_and_has_the_settings() -> None:
    assert len(README.splitlines()) <= 150
    assert settings_table() in README


def targets() -> set[str]:
    makefile = (REPOSITORY / "Makefile").read_text()
    return set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, flags=re.MULTILINE))


def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == targets()


@pytest.mark.parametrize("name", [".pre-commit-config.yaml", ".github/workflows/ci.yml"])
def test_habits_call_what_exists(name: str) -> None:
    """Targets of `make` and paths in the configuration of pre-commit and of the workflow."""
    text = (REPOSITORY / name).read_text()
    assert yaml.safe_load(text)
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets()
    for path in re.findall(r"(?:dagster_project|\.ci)/[\w./-]+\w", text):
        assert (REPOSITORY / path).exists(), path
