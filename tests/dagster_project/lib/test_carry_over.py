"""Rewards of earlier versions: refused with the remedy, and carried over without a change of their figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.lib.carry_over import carry_over, stale_tables
from dagster_project.lib.run_requests import evaluate
from models_train.errors import UserError
from models_train.parts import write_part
from tests.support.reward_parts import FORMER, make_former, write_rewards
from warehouse.connection import write
from warehouse.contracts import RETIRED, TABLES
from warehouse.landing import land_newest, rebuild
from warehouse.part_files import LandingError, newest_parts, read_part
from warehouse.paths import Home

MODEL = {
    "hub_id": "a/b", "revision": None, "publisher": "P", "family": "F", "params_b": 8.0, "tokens_t": None,
    "stage": "base", "parent_model_id": None, "licence": None, "downloads": None, "is_compared": True,
    "is_candidate": False,
}  # fmt: skip
CELLS = (("gemma-2", "regression"), ("org/gemma-2", "regression"), ("gemma-2", "bradley_terry"))
REMEDY = "run `make rebuild`, which carries them over and trains nothing again"


def reward_rows(reward_id: str, reward: float) -> list[dict[str, Any]]:
    own = {"reward_id": reward_id, "benchmark": "rewardbench", "subset": "hep-go", "attribute": "reward"}
    return [
        own | {"item_id": item, "completion": name, "reward": sign * reward, "n_tokens": 7, "is_truncated": False}
        | {"status": "ok", "source": None}
        for item in ("1", "2")
        for name, sign in (("chosen", 1), ("rejected", -1))
    ]  # fmt: skip


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A study with three reward models as of now: the first twice, and one that was set aside."""
    folder = tmp_path / "parts"
    models = [MODEL | {"model_id": "gemma-2"}]
    write_part(folder, TABLES["base_models"], models, study_id="mine", run_id="models")
    for run_id, (model_id, objective) in zip("abc", CELLS, strict=True):
        rows = reward_rows(f"{model_id}/{objective}", 0.1)
        write_rewards(folder, model_id, objective, rows, study_id="mine", run_id=run_id)
    again = reward_rows("gemma-2/regression", 0.3)
    write_part(folder, TABLES["completion_rewards"], again, study_id="mine", run_id="A-again")
    aside = folder / RETIRED / "completion_rewards" / "mine"
    aside.mkdir(parents=True)
    (folder / "completion_rewards" / "mine" / "c.parquet").rename(aside / "c.parquet")
    return folder


def rewards(parts: Path) -> dict[str, tuple[Any, Any, Any]]:
    """Rows, name and time of every part of rewards, by its file."""
    found = {}
    for path in sorted(parts.rglob("completion_rewards/*/*.parquet")):
        part, rows = read_part(path), pq.read_table(path, partitioning=None).to_pylist()
        found[path.relative_to(parts).as_posix()] = (rows, part.partition, part.written_at)
    return found


def test_the_former_contract_is_that_of_the_homes_that_people_have() -> None:
    assert FORMER.fingerprint == "6a450bb66edfb012", "of commit 389da67, and of all until reward_id"


def test_rewards_come_back_as_they_were(parts: Path, tmp_path: Path) -> None:
    before = rewards(parts)
    make_former(parts)
    assert len(before) == 4 and all("model_id" in rows[0] for rows, _, _ in rewards(parts).values())
    assert carry_over(parts) == 4
    assert rewards(parts) == before
    assert carry_over(parts) == 0
    newest = {part.run_id for part in newest_parts(parts, TABLES["completion_rewards"])}
    assert newest == {"A-again", "b"}, "the order of writing stays"
    with write(tmp_path / "w.duckdb") as connection:
        rebuild(connection, parts)
        found = connection.execute("select sum(reward * case completion when 'chosen' then 1 else 2 end), count(*) "
                                   "from raw.completion_rewards").fetchone()  # fmt: skip
    assert found == (pytest.approx(2 * (0.3 + 0.1 - 0.6 - 0.2)), 8)


def test_sources_and_items_are_made_of_the_rewards(parts: Path) -> None:
    make_former(parts)
    carry_over(parts)
    rows = {
        row["reward_id"]: row
        for path in (parts / "reward_sources").glob("*/*.parquet")
        for row in pq.read_table(path, partitioning=None).to_pylist()
    }
    assert set(rows) == {"gemma-2/regression", "org/gemma-2/regression"}
    known = rows["gemma-2/regression"]
    assert (known["kind"], known["model_id"], known["objective"], known["scale"], known["family"], known["params_b"]) \
        == ("trained", "gemma-2", "regression", "mean_score", "F", 8.0)  # fmt: skip
    assert rows["org/gemma-2/regression"]["family"] is None, "the study does not list it"
    (items,) = (parts / "benchmark_items").glob("*/*.parquet")
    found = pq.read_table(items, partitioning=None).to_pylist()
    assert [(row["item_id"], row["n_completions"], row["n_correct"], row["prompt_hash"]) for row in found] == [
        ("1", 2, 1, None),
        ("2", 2, 1, None),
    ]
    (completions,) = (parts / "item_completions").glob("*/*.parquet")
    found = pq.read_table(completions, partitioning=None).to_pylist()
    assert [(row["item_id"], row["completion"], row["is_correct"]) for row in found] == [
        (item, name, name == "chosen") for item in ("1", "2") for name in ("chosen", "rejected")
    ]


def test_until_then_nothing_begins_and_the_remedy_is_named(parts: Path, tmp_path: Path) -> None:
    make_former(parts)
    with write(tmp_path / "w.duckdb") as connection, pytest.raises(LandingError) as caught:
        rebuild(connection, parts)
    assert str(caught.value).endswith(REMEDY) and str(parts) in str(caught.value)
    home = Home(tmp_path)
    found = evaluate(None, home, tmp_path)  # type: ignore[arg-type]  # refused before the instance is asked
    assert [note.endswith(REMEDY) for note in found.notes] == [True] and found.runs == []


def test_an_interrupted_carrying_over_goes_on(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = rewards(parts)
    make_former(parts)
    calls = []

    def interrupted(*arguments: Any, **options: Any) -> Path:
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return write_part(*arguments, **options)

    monkeypatch.setattr("dagster_project.lib.carry_over.write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        carry_over(parts)
    assert rewards(parts) != before
    carry_over(parts)
    assert rewards(parts) == before
    assert len(list((parts / "benchmark_items").rglob("*.parquet"))) == 1
    assert len(list((parts / "reward_sources").rglob("*.parquet"))) == 2


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a column less": (lambda path: rewrite(path, lambda rows: rows.drop_columns(["reward"])), "does not fit"),
    "a column more": (lambda path: rewrite(path, lambda rows: rows.append_column("x", rows["reward"])), "does not fit"),
    "damaged": (lambda path: flip(path), "cannot be read"),
    "text for numbers": (
        lambda path: rewrite(path, lambda rows: rows.drop_columns(["reward"]).append_column("reward", rows["item_id"])),
        "does not fit",
    ),
}


def rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def flip(path: Path) -> None:
    """Change a byte in the middle of the first page of data."""
    content = bytearray(path.read_bytes())
    content[40] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("name", SPOILED)
def test_a_part_that_does_not_fit_is_named(parts: Path, name: str) -> None:
    make_former(parts)
    spoil, said = SPOILED[name]
    spoiled = parts / "completion_rewards" / "mine" / "b.parquet"
    spoil(spoiled)
    with pytest.raises(UserError, match=said) as caught:
        carry_over(parts)
    assert str(spoiled) in str(caught.value) and "remove it and run `make rebuild` again" in str(caught.value)
    spoiled.unlink()
    carry_over(parts)
    assert {part.run_id for part in newest_parts(parts, TABLES["completion_rewards"])} == {"A-again"}


def test_other_parts_of_an_earlier_version_are_named(parts: Path) -> None:
    """Such a home lacks tables, too; `make run` makes them again, so the warehouse is not rebuilt before."""
    make_former(parts)
    carry_over(parts)
    assert "studies" in stale_tables(parts) and "base_models" not in stale_tables(parts)
    shutil.rmtree(parts / "base_models")
    assert stale_tables(parts) == []


def test_a_new_part_of_the_same_reward_model_stays_the_newest(parts: Path, tmp_path: Path) -> None:
    make_former(parts)
    rows = reward_rows("gemma-2/regression", 0.7)
    write_part(parts, TABLES["completion_rewards"], rows, study_id="mine", run_id="new")
    carry_over(parts)
    with write(tmp_path / "w.duckdb") as connection:
        rebuild(connection, parts)
        land_newest(connection, TABLES["completion_rewards"], parts)
        found = connection.execute(
            "select max(reward), any_value(run_id) from raw.completion_rewards where reward_id = 'gemma-2/regression'"
        ).fetchone()
    assert found == (0.7, "new")
