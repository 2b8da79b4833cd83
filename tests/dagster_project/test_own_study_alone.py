"""A folder with one's own study file and no published.yaml, through `make run`: results, report and recommendation.

Its reward models are parts that were made before, so nothing is trained.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from models_train.data.records import TestPair
from models_train.parts import write_part
from models_train.reward_benchmarks.items import item_tables, of_test_set
from models_train.study.fingerprints import evaluation_run_id, items_run_id, training_run_id
from models_train.study.reward_ids import trained_reward_id
from models_train.study.study import load_study
from tests.support.programs import environment, run_program
from tests.support.reward_parts import make_former
from tests.support.studies import SETTINGS
from warehouse.cli import recommend
from warehouse.contracts import TABLES
from warehouse.paths import Home

pytestmark = pytest.mark.slow
SIZES = {"one-1B": 1.24, "three-3B": 3.2, "seven-7B": 7.6, "eight-8B": 8.03}
SUBSETS = ("alpacaeval-easy", "llmbar-natural", "refusals-dangerous", "hep-python")
"""One of each category."""
N_PAIRS = 20
OF_TRAINING_DATA = ("fct_ensemble_partners", "fct_error_correlations", "fct_herding")
"""Marts that tell rewards by their training data, which parts of an earlier version do not name."""


def write_own(folder: Path) -> Path:
    """A study of four models, the larger the better, with the parts of their rewards in `home`."""
    studies, home = folder / "studies", Home(folder / "home")
    studies.mkdir()
    models = []
    for number, (name, params_b) in enumerate(SIZES.items()):
        (studies / name).mkdir()
        (studies / name / "config.json").write_text(json.dumps({"name": name}))
        models.append(
            {"model_id": name, "hub_id": f"./{name}", "publisher": f"p{number}", "family": name, "stage": "base"}
            | {"params_b": params_b}
        )
    for name in ("preferences", "ratings", "test_set"):
        (studies / f"{name}.jsonl").write_text(json.dumps({"file": name}))
    kept = {key: value for key, value in SETTINGS.items() if key != "scoring"}
    group = {"name": "all", "params_b_from": 0, "default": "one-1B"}
    study = kept | {"study_id": "mine", "title": "Mine alone", "models": models, "size_groups": [group]}
    path = studies / "mine.yaml"
    path.write_text(yaml.safe_dump(study))
    write_rewards(path, home)
    return path


def write_rewards(path: Path, home: Home) -> None:
    study = load_study(path)
    assert study.training is not None
    pairs = [TestPair((), "", "", subset, str(number)) for subset in SUBSETS for number in range(N_PAIRS)]
    tables = item_tables(of_test_set(pairs, "made here"))
    for name, rows in zip(("benchmark_items", "item_completions"), tables, strict=True):
        write_part(home.parts, TABLES[name], rows, study_id="mine", run_id=items_run_id(study.training, path.parent))
    for rank, model in enumerate(study.models, start=1):
        for objective in study.training.objectives:
            own = {"model_id": model.model_id, "objective": objective}
            trained = training_run_id(model, study.training, objective, path.parent)
            write_part(home.parts, TABLES["reward_model_searches"], [search_row(own)], study_id="mine", run_id=trained)
            rows = [row for subset in SUBSETS for n in range(N_PAIRS) for row in reward_rows(own, subset, n, rank)]
            evaluated = evaluation_run_id(model, study.training, objective, path.parent)
            write_part(home.parts, TABLES["completion_rewards"], rows, study_id="mine", run_id=evaluated)


def reward_rows(own: dict[str, str], subset: str, item: int, rank: int) -> list[dict[str, object]]:
    """The rewards of a pair, which a model of this rank wins in 12 + rank of 20."""
    attribute = "reward" if own["objective"] == "bradley_terry" else "merged"
    reward_id = trained_reward_id(own["model_id"], own["objective"])
    common: dict[str, object] = {"reward_id": reward_id, "benchmark": "rewardbench", "subset": subset}
    common |= {"item_id": str(item), "attribute": attribute, "n_tokens": 10, "is_truncated": False}
    common |= {"status": "ok", "source": None}
    won = item < 12 + rank
    return [
        common | {"completion": "chosen", "reward": 1.0 if won else -1.0},
        common | {"completion": "rejected", "reward": 0.0},
    ]


def search_row(own: dict[str, str]) -> dict[str, object]:
    return own | {
        "method": "exhaustive", "training_run": "1e-06-s0", "step": 60, "learning_rate": 1e-6,
        "validation_accuracy": 0.7, "accuracy_choosing_half": 0.7, "accuracy_other_half": 0.7,
        "accuracy_mean_rate": 0.7, "accuracy_best_rate": 0.7, "optimism_points": 0.0, "n_steps": 60,
        "n_steps_full_grid": 60, "path": None, "status": "finished", "reason": None,
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Home and output of `make run` on one's own study alone."""
    folder = tmp_path_factory.mktemp("alone")
    path, home = write_own(folder), folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.programs.STUDIES", path.parent)
        assert environment(home)["REWARDBASE_STUDIES"] == str(path.parent)
        done = run_program("run", home)
        assert done.returncode == 0, done.stdout + done.stderr
        yield home, done.stdout


def test_without_the_published_study_one_s_own_is_published_alone(
    alone: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, said = alone
    assert "Task 1" not in said, "nothing is trained"
    assert "Mine alone" in said and "eight-8B" in said
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        assert marts.execute("select study_id from dim_studies").fetchall() == [("mine",)]
        for mart in ("dim_base_models", "fct_reward_model_results", "dim_benchmarks", "fct_benchmark_correlations"):
            found = {study for (study,) in marts.execute(f"select distinct study_id from {mart}").fetchall()}
            assert found <= {"mine"}, mart
        scores = marts.execute(
            "select model_id, score from fct_reward_model_results where objective = 'regression' order by score"
        ).fetchall()
        assert scores == [(name, pytest.approx(65 + 5 * n)) for n, name in enumerate(SIZES)]
        best = marts.execute(
            "select model_id from fct_recommendations where rank = 1 and size_limit_b = 8 and objective = 'regression'"
        ).fetchall()
        assert best == [("eight-8B",)]
    assert "Mine alone" in (home / "reports" / "base_model_choice.html").read_text()
    monkeypatch.setenv("REWARDBASE_HOME", str(home))
    assert recommend.main(["--max-params", "8B", "--memory", "80", "--objective", "regression"]) == 0
    said = capsys.readouterr().out
    assert "1  eight-8B" in said and "Training: AdamW on the host, about" in said


def marts_of(home: Path, but: tuple[str, ...] = ()) -> dict[str, list[tuple[object, ...]]]:
    """Rows of every published mart but some."""
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as connection:
        names = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        return {
            name: connection.execute(
                f"select columns(name -> name != 'snapshot_id') from \"{name}\" order by all"
            ).fetchall()
            for name in names
            if name not in (*but, "snapshot")
        }


def test_a_home_of_an_earlier_version_is_carried_over_with_its_figures(alone: tuple[Path, str]) -> None:
    """Rewards keyed by model and objective: `make run` names the remedy, `make rebuild` carries them over, and nothing
    is trained or scored again."""
    home, _ = alone
    before, parts = marts_of(home), home / "parts"
    trained = sorted(path.stat().st_mtime_ns for path in parts.glob("reward_model_searches/*/*"))
    make_former(parts)
    for options in ([], ["--all"]):
        refused = run_program("run", home, *options)
        assert refused.returncode == 1 and "Traceback" not in refused.stderr
        assert "run `make rebuild`, which carries them over and trains nothing again" in refused.stderr
    assert marts_of(home) == before
    rebuilt = run_program("rebuild", home)
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert "8 parts of rewards of an earlier version were carried over." in rebuilt.stdout
    marts = re.findall(r"^marts\.(\w+) +[0-9a-f]{12} (.+)$", rebuilt.stdout, flags=re.MULTILINE)
    assert len(marts) > 35 and {word for name, word in marts if name not in OF_TRAINING_DATA} == {"same"}
    kept = {name: rows for name, rows in before.items() if name not in OF_TRAINING_DATA}
    assert marts_of(home, OF_TRAINING_DATA) == kept and before["fct_reward_model_results"]
    again = run_program("run", home)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Task 1" not in again.stdout and marts_of(home) == before
    assert sorted(path.stat().st_mtime_ns for path in parts.glob("reward_model_searches/*/*")) == trained
