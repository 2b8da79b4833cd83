"""A race of tiny models, run as a person would, killed after every durable write, and run again with other settings."""

from __future__ import annotations

import gc
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models_train.errors import UserError
from models_train.jobs import race, race_looks
from models_train.jobs.race_looks import rungs_of, won_items
from models_train.race.race import Race
from models_train.reward_benchmarks.items import Item, completions
from models_train.reward_models.checkpoints import RunFolder
from models_train.reward_models.distributed import current_processes
from models_train.study.race_ids import race_plan
from models_train.study.study import load_study
from tests.support.race_studies import N_ITEMS, RACE, results, rows, run_race, write_study

CANDIDATES = ["small", "middle"]
SHORT = RACE | {"candidates": CANDIDATES, "indifference": 0.0, "rungs": [0.2, 1.0], "confidence": 0.999}
RATES = [1e-3, 3e-3, 1e-2]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), race=SHORT | {"rates": RATES})


def test_rungs_are_steps_of_the_candidate_with_the_fewest(study: Path) -> None:
    plan = race_plan(load_study(study), "s", {"rungs": RACE["rungs"]})
    # 40 examples in batches of 8 are 5 steps; shares 0.2, 0.4, 0.8 and 1 of them.
    found = rungs_of(plan, 5, 40, 24)
    assert (found.steps, found.n_examples, found.n_items) == ((1, 2, 4, 5), (8, 16, 32, 40), (24,) * 4)
    # Two epochs of 43 examples: the sixth step of each has 3.
    assert rungs_of(plan, 12, 43, 1000).n_examples == (16, 40, 43 + 32, 86)
    assert rungs_of(plan, 12, 43, 1000).n_items == (667, 1000, 1000, 1000)
    # So few steps that rungs meet.
    assert rungs_of(plan, 2, 16, 24).steps == (1, 2)


def test_an_item_is_won_by_its_best_right_completion() -> None:
    items = [
        Item("mine", "a", "pair", completions(["x"], ["y"])),
        Item("mine", "a", "tie", completions(["x"], ["y"])),
        Item("mine", "a", "lost", completions(["x"], ["y", "z"])),
        Item("mine", "a", "unscored", completions(["x"], ["y"])),
    ]
    given = {"pair": (1.0, 0.5), "tie": (2.0, 2.0), "lost": (1.0, 0.0, 3.0), "unscored": (9.0, None)}
    found = [
        {"subset": "a", "item_id": item.item_id, "completion": one.name, "attribute": "reward", "reward": reward}
        for item in items
        for one, reward in zip(item.completions, given[item.item_id], strict=True)
    ]
    assert won_items(items, found, "reward") == [1.0, 0.5, 0.0, 0.0]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
def test_a_race_that_is_killed_ends_as_an_undisturbed_one(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Data and tokenizer are read once for all restarts, and no search for garbage looks through all modules: both would
    # take most of the time.
    monkeypatch.setattr(race_looks, "set_up", lru_cache(race_looks.set_up))
    gc.freeze()
    run_race(study, tmp_path / "undisturbed")
    wanted = results(tmp_path / "undisturbed")

    killed: set[object] = set()

    def deadly(write: Callable[..., Any], what: Callable[..., object]) -> Callable[..., Any]:
        """Ends the process after the first write of each thing."""

        def written(*arguments: Any, **named: Any) -> Any:
            result = write(*arguments, **named)
            if (one := what(*arguments, **named)) not in killed:
                killed.add(one)
                raise Killed
            return result

        return written

    home, n_kills = tmp_path / "killed", 0
    with monkeypatch.context() as patch:
        for module in (race, race_looks):
            patch.setattr(module, "write_part", deadly(module.write_part, lambda *given, **named: named["run_id"]))
        patch.setattr(race, "write_text", deadly(race.write_text, lambda path, text: path))
        of_state = deadly(RunFolder._write, lambda folder, kind, _: (folder.path, kind, folder.step))
        patch.setattr(RunFolder, "_write", of_state)
        while True:
            try:
                run_race(study, home)
                break
            except Killed:
                n_kills += 1
    assert n_kills >= 20
    assert results(home) == wanted
    assert [path.name for path in (home / "training" / "races").iterdir()] == [".locks"]
    _costs_add_up(home)
    _decisions_follow_from_the_looks(home, study)
    # A larger budget, and a third base model: looks are taken over.
    kept = rows(home, "race_looks")["look_id"].to_list()
    again = run_race(study, home, '{"candidates": ["small", "middle", "other"], "budget": "1B"}')
    assert any("other" in line and "looks at" in line for line in again.lines)
    looks = rows(home, "race_looks")
    assert looks.filter(pl.col("model_id") == "small").height >= 2
    assert set(kept) <= set(looks["look_id"])
    assert "the race is there" in run_race(study, home).lines[0]


def _costs_add_up(home: Path) -> None:
    (answer,) = rows(home, "race_answers").to_dicts()
    costs, looks = rows(home, "run_costs"), rows(home, "race_looks")
    assert set(costs["model_id"]) == set(CANDIDATES)
    assert costs["n_tokens"].sum() == answer["n_trained_tokens"] + answer["n_scored_tokens"]
    assert costs["device_seconds"].sum() == pytest.approx(answer["device_seconds"])
    assert looks["device_seconds"].sum() == pytest.approx(answer["device_seconds"])
    last = looks.group_by("model_id", "learning_rate").agg(pl.col("n_tokens").max())
    assert last["n_tokens"].sum() == answer["n_trained_tokens"]


def _decisions_follow_from_the_looks(home: Path, study: Path) -> None:
    """A race that is told the looks of the table decides and answers the same."""
    looks = {row["look_id"]: row for row in rows(home, "race_looks").to_dicts()}
    told = [looks[one] for one in rows(home, "race_entries")["look_id"]]
    assert all(set(row["outcomes"]) <= set("012") and len(row["outcomes"]) == N_ITEMS for row in told)
    assert all(row["accuracy"] == sum(map(int, row["outcomes"])) / 2 / N_ITEMS for row in told)
    job = race.RaceJob(race_plan(load_study(study), "s"), study, home, None, current_processes())  # type: ignore[arg-type]
    job.report = type("Quiet", (), {"say": lambda self, text: None})()
    again = Race(job.candidates, job.rules)
    for row in told:
        again.tell(race_looks.look_of(row))
    assert not again.next()
    assert job.record.decisions(again.decisions) == [
        {name: row[name] for name in job.record.decisions(again.decisions)[0]}
        for row in rows(home, "race_decisions").to_dicts()
    ]


def test_what_cannot_race_is_refused_before_anything_is_trained(study: Path, tmp_path: Path) -> None:
    for asked, problem in (
        ("no JSON", "is no JSON object"),
        ('{"budget": "soon"}', "'soon' is no budget"),
        ('{"candidates": ["small", "nobody"]}', "'nobody' is no base model of the study"),
    ):
        with pytest.raises(UserError, match=problem):
            run_race(study, tmp_path, asked)
    assert not (tmp_path / "parts").exists()
