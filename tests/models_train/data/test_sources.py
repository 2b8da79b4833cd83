"""Data sets of a hub, fetched over HTTP from a small one on this machine, with the real repositories' file names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.rewardbench import load_test_pairs
from models_train.errors import UserError
from models_train.study.training import DataSource
from tests.support.data_files import benchmark_item, content, preference, rating
from tests.support.hub_server import COMMIT

HELPSTEER2 = {
    "README.md": b"about the data",
    "train.jsonl.gz": content("train.jsonl.gz", [rating("p", 0), rating("p", 1), rating("q", 2)]),
    "validation.jsonl.gz": content("validation.jsonl.gz", [rating("v", 3)]),
    "preference/preference.jsonl.gz": content("p.gz", [preference("p", -2), preference("v", 1, "val")]),
    "disagreements/disagreements.jsonl.gz": content("d.gz", [{"prompt": "p", "helpfulness": [1, 2]}]),
}
REWARDBENCH = {
    "data/filtered-00000-of-00001.parquet": content("f.parquet", [benchmark_item("p", "hep-go", n) for n in range(5)]),
    "data/raw-00000-of-00001.parquet": content("r.parquet", [benchmark_item("raw", "hep-go", n) for n in range(9)]),
}
HERE = Path(".")


def test_files_of_each_data_set_are_found_by_their_names_on_the_hub(serve: Callable[..., object]) -> None:
    hub = serve({"nvidia/HelpSteer2": HELPSTEER2, "allenai/reward-bench": REWARDBENCH})
    preferences = load_preferences(DataSource(hub_id="nvidia/HelpSteer2"), HERE)
    assert [(one.strength, one.split) for one in preferences.records] == [(2, "train"), (1, "validation")]
    assert hub.fetched() == ["preference/preference.jsonl.gz"]

    ratings = load_ratings(DataSource(hub_id="nvidia/HelpSteer2", revision=COMMIT), HERE)
    assert ratings.split_rule == "file names"
    assert [one.split for one in ratings.records] == ["train"] * 3 + ["validation"]
    assert hub.fetched()[1:] == ["train.jsonl.gz", "validation.jsonl.gz"]

    pairs = load_test_pairs(DataSource(hub_id="allenai/reward-bench"), HERE)
    assert [pair.item_id for pair in pairs] == ["0", "1", "2", "3", "4"]
    assert hub.fetched()[3:] == ["data/filtered-00000-of-00001.parquet"]


def test_cached_files_are_read_without_the_hub(serve: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    source = DataSource(hub_id="nvidia/HelpSteer2", revision=COMMIT)
    serve({"nvidia/HelpSteer2": HELPSTEER2})
    first = load_preferences(source, HERE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load_preferences(source, HERE) == first


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (DataSource(hub_id="nvidia/HelpSteer9"), "nvidia/HelpSteer9: the data set cannot be fetched from http://127"),
        (DataSource(hub_id="nvidia/HelpSteer2", revision="f" * 40), f"the data set at {'f' * 40} cannot be fetched"),
        (DataSource(hub_id="made/empty"), "made/empty: no data file, which ends with .jsonl"),
        (DataSource(hub_id="not a repository"), "not a repository: the data set cannot be fetched"),
    ],
)
def test_a_data_set_that_is_not_there_is_named_with_the_remedy(
    serve: Callable[..., object], source: DataSource, words: str
) -> None:
    serve({"nvidia/HelpSteer2": HELPSTEER2, "made/empty": {"README.md": b""}})
    with pytest.raises(UserError) as error:
        load_preferences(source, HERE)
    assert words in str(error.value)


def test_an_unreachable_hub_is_reported_with_its_address(
    serve: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"cannot be fetched from http://127.0.0.1:.*HF_ENDPOINT"):
        load_preferences(DataSource(hub_id="nvidia/HelpSteer2"), HERE)
