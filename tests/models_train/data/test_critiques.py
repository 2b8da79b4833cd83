"""Critiques: the template, the score that one ends with, and files of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from models_train.data.critiques import asking, by_response, critique_of, load_critiques, own_score, templated
from models_train.data.records import Turn
from models_train.errors import UserError
from models_train.study.training import DataSource

PROMPT = (Turn("user", "Why?"),)


def test_the_template_says_what_the_ratings_say() -> None:
    assert templated((4, 4, 4, 1, 0)) == "It is right. It helps. It is clear. Wordy: 0. Score: 16."
    assert (
        templated((0, 2, 1, 3, 4))
        == "It is partly right. It does not help. It is not clear. Wordy: 4. Score: 3."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "score"),
    [("Score: 12.", 12), ("score 3.5", 3.5), ("Score: 1. No, score: -2", -2), ("A scorer: 4", None), ("", None)],
)
def test_the_last_score_of_a_critique_counts(text: str, score: float | None) -> None:
    assert own_score(text) == score


def test_a_critique_is_asked_for_after_the_response() -> None:
    assert asking(PROMPT, "So.", "Judge it.") == (*PROMPT, Turn("assistant", "So."), Turn("user", "Judge it."))


def test_a_file_of_critiques(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Why?", "response": "So.", "critique": " Good. "},
        {"prompt": [{"role": "user", "content": "Why?"}], "response": "So.", "critique": "Another."},
    ]
    (tmp_path / "critiques.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = load_critiques(DataSource(path="critiques.jsonl"), tmp_path)
    known = by_response(found)
    assert [one.text for one in found] == ["Good.", "Another."]
    assert critique_of(known, PROMPT, "So. ") == "Good."  # the first of several
    assert critique_of(known, PROMPT, "No.") is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{"prompt": "Why?", "response": "So."}', "critique"),
        ('{"prompt": "Why?", "response": "So.", "critique": ""}', "row 1, column critique: is empty"),
        ("", "holds no critiques"),
    ],
)
def test_bad_files_are_refused(text: str, wanted: str, tmp_path: Path) -> None:
    (tmp_path / "critiques.jsonl").write_text(text)
    with pytest.raises(UserError, match=re.escape(wanted)):
        load_critiques(DataSource(path="critiques.jsonl"), tmp_path)
