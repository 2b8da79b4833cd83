"""Test pairs: rows kept, prompts as text or turns, ids, and rows refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from models_train.data.records import TestPair, Turn
from models_train.data.rewardbench import load_test_pairs
from models_train.errors import UserError
from models_train.study.training import DataSource
from tests.support import made_data, real_data
from tests.support.data_files import benchmark_item, write


def test_pairs_of_the_test_set_keep_subset_and_id_and_may_be_empty(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    rows = [
        benchmark_item("plain", "hep-go", 7),
        benchmark_item(turns, "hep-cpp", 7, rejected=""),
        benchmark_item("plain", "hep-go", "seven"),
    ]
    path = write(tmp_path / "pairs.jsonl", rows)
    assert load_test_pairs(DataSource(path=str(path)), tmp_path) == (
        TestPair((Turn("user", "plain"),), "good", "bad", "hep-go", "7"),
        TestPair((Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")), "good", "", "hep-cpp", "7"),
        TestPair((Turn("user", "plain"),), "good", "bad", "hep-go", "seven"),
    )


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (benchmark_item("q", "s", 1), "row 2, column id: the subset s has '1' already in row 1 of "),
        (benchmark_item("q", "s", 2.5), "row 2, column id: 2.5 is neither a whole number nor a name"),
        (benchmark_item("q", "", 2), "row 2, column subset: is empty"),
        (benchmark_item([], "s", 2), "row 2, column prompt: [] is neither text nor a list of turns"),
        (benchmark_item([{"role": "bot", "content": "x"}], "s", 2), "turn 1 has no role of user, assistant or system"),
        (benchmark_item("q", "s", 2, chosen=None), "row 2, column chosen: is null"),
    ],
)
def test_a_test_pair_that_cannot_be_used_is_refused(last: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", [benchmark_item("p", "s", "1"), last])
    with pytest.raises(UserError) as error:
        load_test_pairs(DataSource(path=str(path)), tmp_path)
    assert words in str(error.value)


def test_an_empty_test_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no row"):
        load_test_pairs(DataSource(path=str(write(tmp_path / "pairs.jsonl", []))), tmp_path)


def test_made_test_pairs_are_of_every_subset(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl.gz", made_data.test_pairs(3))
    pairs = load_test_pairs(DataSource(path=str(path)), tmp_path)
    assert Counter(pair.subset for pair in pairs) == dict.fromkeys(made_data.subsets(), 3)
    assert len(made_data.subsets()) == 23


@pytest.mark.real_data
def test_real_test_pairs(tmp_path: Path) -> None:
    pairs = load_test_pairs(DataSource(path=str(real_data.TEST_PAIRS)), tmp_path)
    assert len(pairs) == 1850
    subsets = Counter(pair.subset for pair in pairs)
    assert (subsets["math-prm"], subsets["hep-rust"], subsets["llmbar-adver-GPTInst"]) == (447, 164, 92)
