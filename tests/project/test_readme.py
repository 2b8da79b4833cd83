"""The README's questions, run against the published snapshot: the results that it prints are the results."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
QUESTIONS = re.findall(r"\*\*(\d)\. (.+?)\*\*\n\n```sql\n(.+?)```\n\n((?:\|[^\n]*\n)+)", README, flags=re.DOTALL)


def as_markdown(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    result = connection.execute(query)
    lines = [[column[0] for column in result.description], ["---"] * len(result.description), *result.fetchall()]
    cells = [["" if value is None else str(value).replace("<", "&lt;") for value in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def test_there_are_five_questions() -> None:
    assert [number for number, *_ in QUESTIONS] == ["1", "2", "3", "4", "5"]
    assert README.count("```sql") == 5


@pytest.mark.parametrize(("number", "question", "query", "printed"), QUESTIONS, ids=[q[1] for q in QUESTIONS])
def test_question_has_the_printed_answer(
    published: duckdb.DuckDBPyConnection, number: str, question: str, query: str, printed: str
) -> None:
    assert as_markdown(published, query) == printed


def test_the_errors_of_the_performance_model_are_those_of_the_mart(published: duckdb.DuckDBPyConnection) -> None:
    found = re.search(r"<!-- run by the tests:\n(.+?)-->\n((?:\|[^\n]*\n)+)", README, flags=re.DOTALL)
    assert found is not None
    assert as_markdown(published, found[1]) == found[2]


def test_targets_and_files_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):.*## ", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets
    for path in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (REPOSITORY / path).exists(), path
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", README, flags=re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= {re.sub(r"[^\w-]", "", heading) for heading in headings}
    for path in ("dagster_project/studies/published.yaml", "dbt/seeds/table_3_models.csv"):
        assert path in README
        assert (REPOSITORY / path).exists()


def test_make_help_lists_every_target_of_the_readme() -> None:
    """The Makefile prints its own targets; each has a line of help."""
    makefile = (REPOSITORY / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, flags=re.MULTILINE)
    assert phony is not None
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, flags=re.MULTILINE))
    assert set(phony[1].split()) == helped
