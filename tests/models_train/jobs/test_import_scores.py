"""The job that imports scores: parts of four tables, all or nothing, without torch."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models_train.data.records import prompt_id
from models_train.data.rewardbench import load_test_pairs
from models_train.jobs import import_scores
from models_train.study.fingerprints import benchmark_set_run_id, items_run_id, reward_import_run_id, source_name
from models_train.study.study import load_study
from tests.models_train.data.conftest import serve
from tests.support.hub_server import COMMIT, Hub
from tests.support.score_files import (
    GENERATORS,
    best_of_4,
    best_of_4_items,
    entry,
    pair_items,
    pair_scores,
    problem,
    study_with,
    write_json,
    write_lines,
)

__all__ = ["serve"]
SETS = [{"name": "rewardbench2", "path": "rb2.jsonl"}]


def run(path: Path) -> None:
    import_scores.main(["--study", str(path), "--home", str(path.parent / "home")])


def failure(path: Path) -> str:
    with pytest.raises(SystemExit) as caught:
        run(path)
    return str(caught.value)


def rows(folder: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(sorted((folder / "home" / "parts" / table).glob("*/*.parquet")))


def parts(folder: Path) -> dict[str, bytes]:
    found = sorted((folder / "home").rglob("*.parquet"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A set with scores, RewardBench without a set, and RewardMATH's results."""
    write_lines(tmp_path / "rb2.jsonl", best_of_4_items())
    write_json(tmp_path / "a.json", best_of_4())
    write_json(tmp_path / "b.json", pair_scores(3))
    write_json(tmp_path / "c.json", [problem(number, [3, 2, 1, 0]) for number in range(5)])
    imports = [
        entry("a.json", "rewardbench2", hub_id="org/RM", base_model="tiny"),
        entry("b.json", "rewardbench", hub_id="org/RM", commit="05a9005"),
        entry("c.json", "rewardmath", "judge:x", scale="bounded"),
    ]
    return study_with(tmp_path, imports, SETS)


def test_four_tables(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(study)
    said = capsys.readouterr().out
    assert "rows: 40" in said and "files: 3" in said and "rewards: 2" in said and "benchmarks: 3" in said
    assert rows(tmp_path, "benchmark_items").group_by("benchmark").len().sort("benchmark").rows() == [
        ("rewardbench", 3),
        ("rewardbench2", 4),
        ("rewardmath", 5),
    ]
    completions = rows(tmp_path, "item_completions")
    own = pl.col("benchmark") == "rewardmath"
    assert completions.filter(own)["generator"].unique().sort().to_list() == sorted(GENERATORS)
    assert completions.filter(own & (pl.col("place") == 4))["generator_family"].unique().to_list() == ["Llama-3"]
    assert completions.filter(pl.col("n_bytes") == 1).height == 14  # the set's texts
    rewards = rows(tmp_path, "completion_rewards")
    assert rewards.join(completions, on=["benchmark", "subset", "item_id", "completion"]).height == 40
    assert set(rewards.filter(pl.col("benchmark") == "rewardbench")["source"]) == {"b.json@05a9005"}
    assert rows(tmp_path, "reward_sources").select("reward_id", "kind", "model_id", "scale").sort("kind").rows() == [
        ("hub:RM", "hub", "tiny", "logit"),
        ("judge:x", "imported", None, "bounded"),
    ]


def test_equal_files_leave_their_parts_and_a_new_file_adds_its_own(study: Path, tmp_path: Path) -> None:
    run(study)
    before = parts(tmp_path)
    run(study)
    assert parts(tmp_path) == before
    write_json(tmp_path / "c.json", [problem(number, [0, 1, 2, 3]) for number in range(5)])
    run(study)
    changed = {name for name, content in parts(tmp_path).items() if before.get(name) != content}
    assert {name.split("/")[2] for name in changed} == {"completion_rewards", "reward_sources"} | (
        {"benchmark_items", "item_completions"}  # their source is the file
    )
    assert not any("judge" in name for name in changed) and len(changed) == 4


def test_a_benchmark_that_the_files_have_no_more_is_removed(study: Path, tmp_path: Path) -> None:
    plain = [{"item_id": "0", "completion": name, "reward": 1} for name in ("chosen", "rejected")]
    write_lines(tmp_path / "c.json", [one | {"benchmark": "rewardbench", "subset": "hep-python"} for one in plain])
    path = study_with(tmp_path, [entry("c.json", "plain", "x")])
    run(path)
    rest = [
        {"item_id": "1", "completion": name, "reward": 1, "benchmark": "judgebench"}
        for name in ("correct_1", "wrong_1")
    ]
    write_lines(tmp_path / "c.json", rest)
    run(path)
    assert rows(tmp_path, "completion_rewards")["benchmark"].unique().to_list() == ["judgebench"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scores_chosen": [0.5, 1.5, None]}, "b.json, row 3, column scores_chosen: has no reward"),
        ({"id": [0, 1, 1]}, "b.json, row 3: the item '1' of hep-python has a reward of hub:RM already in row 2"),
        ({"subset": None}, "b.json, row 1, column subset: is null; give it a text"),
    ],
)
def test_a_bad_file_lands_nothing(study: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_json(tmp_path / "b.json", pair_scores(3) | change)
    assert said in failure(study)
    assert not parts(tmp_path)
    write_json(tmp_path / "b.json", pair_scores(3))
    run(study)
    before = parts(tmp_path)
    write_json(tmp_path / "b.json", pair_scores(3) | change)
    failure(study)
    assert parts(tmp_path) == before


def test_what_cannot_be_imported_is_said(tmp_path: Path) -> None:
    said = failure(study_with(tmp_path))
    assert "the study scores has no benchmarks of reward models and no score files; list them under" in said
    assert "none.json: there is no" in failure(study_with(tmp_path, [entry("none.json", "plain")]))
    (tmp_path / "empty").mkdir()
    assert "empty: no file with records" in failure(study_with(tmp_path, [entry("empty", "plain")]))


def test_sets_alone_land_their_items(tmp_path: Path) -> None:
    write_lines(tmp_path / "rb2.jsonl", best_of_4_items())
    run(study_with(tmp_path, sets=SETS))
    assert rows(tmp_path, "benchmark_items").height == 4
    assert not (tmp_path / "home" / "parts" / "completion_rewards").exists()


def test_items_of_a_test_set_are_those_that_scoring_writes(tmp_path: Path) -> None:
    write_lines(tmp_path / "test.jsonl", pair_items(3))
    write_json(tmp_path / "b.json", pair_scores(3))
    training = {"preferences": {"path": "none"}, "test_set": {"path": "test.jsonl"}, "objectives": ["bradley_terry"]}
    path = study_with(tmp_path, [entry("b.json", "rewardbench")], training=training)
    run(path)
    settings = load_study(path).training
    assert settings is not None
    source = source_name(settings.test_set, tmp_path)
    wanted: tuple[list[dict[str, object]], list[dict[str, object]]] = ([], [])
    for pair in load_test_pairs(settings.test_set, tmp_path):
        own = {"benchmark": "rewardbench", "subset": pair.subset, "item_id": pair.item_id}
        of_item = {"category": None, "n_completions": 2, "n_correct": 1}
        wanted[0].append(own | of_item | {"prompt_hash": prompt_id(pair.prompt), "source": source})
        for place, (name, text) in enumerate((("chosen", pair.chosen), ("rejected", pair.rejected)), 1):
            facts = {"completion": name, "place": place, "is_correct": name == "chosen"}
            unknown = dict.fromkeys(("style", "generator", "generator_family"))
            wanted[1].append(own | facts | unknown | {"n_bytes": len(text.encode())})
    for name, content in zip(("benchmark_items", "item_completions"), wanted, strict=True):
        found = rows(tmp_path, name)
        assert found["run_id"].unique().to_list() == [items_run_id(settings, tmp_path)]
        assert found.drop("study_id", "run_id").to_dicts() == content


def test_a_set_of_a_hub_is_kept_at_its_commit(tmp_path: Path, serve: Callable[..., Hub]) -> None:
    serve({"org/rb2": {"data/test.json": json.dumps(best_of_4_items()).encode()}})
    path = study_with(tmp_path, sets=[{"name": "rewardbench2", "hub_id": "org/rb2"}])
    run(path)
    (kept,) = load_study(path, tmp_path / "home").benchmark_sets
    assert kept.revision == COMMIT
    items = rows(tmp_path, "benchmark_items")
    assert set(items["run_id"]) == {benchmark_set_run_id(kept, tmp_path)}
    assert set(items["source"]) == {f"org/rb2@{COMMIT}"}


def test_run_ids_change_with_files_settings_and_sets(study: Path, tmp_path: Path) -> None:
    def names() -> tuple[str, str, str]:
        found = load_study(study)
        ids = [reward_import_run_id(found, one, tmp_path) for one in ("hub:RM", "judge:x")]
        return ids[0], ids[1], benchmark_set_run_id(found.benchmark_sets[0], tmp_path)

    before = names()
    write_json(tmp_path / "b.json", pair_scores(4))
    after = names()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True]
    study.write_text(study.read_text().replace("bounded", "mean_score"))
    assert [one == other for one, other in zip(after, names(), strict=True)] == [True, False, True]
    after = names()
    write_lines(tmp_path / "rb2.jsonl", best_of_4_items()[:3])
    assert [one == other for one, other in zip(after, names(), strict=True)] == [False, False, False]


def test_no_torch(study: Path) -> None:
    program = (
        "import sys; from models_train.jobs import import_scores as job; "
        f"job.main(['--study', {str(study)!r}, '--home', {str(study.parent / 'home')!r}]); "
        "print([name for name in ('torch', 'duckdb', 'dagster') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_44_files_of_the_size_of_rewardmaths_in_20_seconds(tmp_path: Path) -> None:
    """As many problems and solutions as RewardMATH's results have, a quarter of the files with scores of steps."""
    draw = random.Random(0)
    authors = ["human_to_GPT-4", *(f"org/model-{number}" for number in range(9))]
    imports = []
    for number in range(44):
        scores: Any = [[draw.gauss(0, 1) for _ in authors] for _ in range(483)]
        if number % 4 == 0:
            scores = [[[draw.random() for _ in range(6)] for _ in authors] for _ in range(483)]
        file = [problem(place, one, solution_reference=authors) for place, one in enumerate(scores)]
        write_json(tmp_path / "results" / f"{number}.json", file)
        imports.append(entry(f"results/{number}.json", "rewardmath", f"rm-{number}/prod"))
    path = study_with(tmp_path, imports)
    began = time.perf_counter()
    run(path)
    assert time.perf_counter() - began < 20
    assert rows(tmp_path, "completion_rewards").height == 44 * 4830
