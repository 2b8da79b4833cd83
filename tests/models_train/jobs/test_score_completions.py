"""The job that asks a trained reward model about the test set, as a person would start it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from models_train.data.chat import Renderer
from models_train.data.records import ATTRIBUTES, prompt_id
from models_train.data.rewardbench import load_test_pairs
from models_train.jobs.score_completions import main
from models_train.metering import library_versions
from models_train.modeling.base_models import ModelSource, load_tokenizer
from models_train.reward_benchmarks.items import of_test_set
from models_train.reward_models.export import Card, save_reward_model
from models_train.reward_models.model import RewardModel
from models_train.reward_models.scoring import score_items
from models_train.study.fingerprints import evaluation_run_id, evaluation_run_ids, items_run_id, training_run_id
from models_train.study.settings import Objective
from models_train.study.study import load_study
from tests.support.data_files import write
from tests.support.made_data import test_pairs as made_pairs
from tests.support.score_files import best_of_4_items, styled
from tests.support.storyteller import write_storyteller
from tests.support.tiny_models import FAMILIES, byte_tokenizer, write_base

WEIGHTS = dict(zip(ATTRIBUTES, (0.65, 0.8, 0.45, 0.55, -0.4), strict=True))

STUDY: dict[str, Any] = {
    "study_id": "tiny",
    "title": "Two tiny models",
    "synthetic": True,
    "source": "made in a test",
    "size_groups": [{"name": "all", "params_b_from": 0, "default": "stories"}],
    "training": {
        "preferences": {"path": "./preferences.jsonl"},
        "ratings": {"path": "./ratings.jsonl"},
        "test_set": {"path": "./test_set.jsonl"},
        "precision": "float32",
        "bradley_terry": {"learning_rates": [1e-3], "max_tokens": 400},
    },
    "models": [
        {"model_id": "stories", "hub_id": "./stories", "family": "Llama", "params_b": 0.1, "stage": "base"},
        {"model_id": "gemma", "hub_id": "./gemma", "family": "Gemma", "params_b": 0.1, "stage": "base"},
    ],
}


class Place:
    """A study with its files, and a run-time folder with trained reward models."""

    def __init__(self, folder: Path) -> None:
        self.path, self.home = folder / "study.yaml", folder / "home"
        self.path.write_text(yaml.safe_dump(STUDY))
        rows = made_pairs(3)[::5]
        rows[3]["chosen"] = ""
        write(folder / "test_set.jsonl", rows)
        for name in ("preferences", "ratings"):  # of these only the content counts here: it names the reward model
            (folder / f"{name}.jsonl").write_text("{}\n")
        write_storyteller(folder / "stories", trained=False)
        write_base(folder / "gemma", FAMILIES["gemma2"](), byte_tokenizer())
        self.n_pairs = len(rows)

    def names(self, model_id: str, objective: Objective) -> tuple[Path, str]:
        """Folder of the reward model, and run_id of its rewards."""
        study = load_study(self.path)
        assert study.training is not None
        model = next(model for model in study.models if model.model_id == model_id)
        here = self.path.parent
        folder = self.home / "reward_models" / training_run_id(model, study.training, objective, here)
        return folder, evaluation_run_id(model, study.training, objective, here)

    def train(self, model_id: str, objective: Objective) -> Path:
        """A reward model with a random head stands for a trained one."""
        folder, _ = self.names(model_id, objective)
        source = ModelSource(model_id, str(self.path.parent / model_id))
        model = RewardModel.from_base(source, 5 if objective == "regression" else 1, 0, torch.float32)
        if objective == "regression":
            model.merge_weights = WEIGHTS
        save_reward_model(model, folder, load_tokenizer(source), Card(source.place, "r", objective))
        return folder

    def run(self, model_id: str, objective: Objective) -> None:
        arguments = {"study": self.path, "model": model_id, "objective": objective, "home": self.home}
        main([str(part) for name, value in arguments.items() for part in (f"--{name}", value)])

    def rows(self, table: str, run_id: str) -> list[dict[str, Any]]:
        path = self.home / "parts" / table / "tiny" / f"{run_id}.parquet"
        rows: list[dict[str, Any]] = pq.read_table(path, partitioning=None).to_pylist()
        return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Both models, one objective each; tests that spoil it take a copy."""
    place = Place(tmp_path_factory.mktemp("study"))
    place.train("stories", "bradley_terry")
    place.train("gemma", "regression")
    return place


@pytest.mark.parametrize(("model_id", "objective"), [("stories", "bradley_terry"), ("gemma", "regression")])
def test_the_parts_hold_every_reward_and_the_costs(
    trained: Place, model_id: str, objective: Objective, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.run(model_id, objective)
    attributes = ["reward"] if objective == "bradley_terry" else [*ATTRIBUTES, "merged"]
    folder, run_id = trained.names(model_id, objective)
    rows = trained.rows("completion_rewards", run_id)
    assert len(rows) == trained.n_pairs * 2 * len(attributes)
    assert {row["run_id"] for row in rows} == {run_id}
    assert {row["reward_id"] for row in rows} == {f"{model_id}/{objective}"}

    # As with the base model's own tokenizer, every completion alone.
    study = load_study(trained.path)
    assert study.training is not None
    recipe = study.training.recipe(objective)
    tokenizer = load_tokenizer(ModelSource(model_id, str(trained.path.parent / model_id)))
    renderer = Renderer(tokenizer, recipe.max_tokens, recipe.over_long, 512)
    pairs = load_test_pairs(study.training.test_set, trained.path.parent)
    model = RewardModel.load(folder, torch.float32)
    weights = WEIGHTS if objective == "regression" else None
    items = list(of_test_set(pairs, "").items.values())
    wanted = score_items(model, renderer, items, weights, tokens_per_pack=1)
    for row, other in zip(rows, wanted, strict=True):
        expected = other["reward"] if other["reward"] is None else pytest.approx(other["reward"], abs=1e-5)
        assert {name: row[name] for name in other} == other | {"reward": expected}

    by_status = {row["status"] for row in rows}
    assert "empty response" in by_status and "ok" in by_status
    (costs,) = trained.rows("run_costs", run_id)
    scored = [row for row in rows if row["attribute"] == attributes[0] and row["n_tokens"] is not None]
    assert costs["n_tokens"] == sum(row["n_tokens"] for row in scored)
    assert (costs["job"], costs["variant"], costs["model_id"]) == ("score_completions", objective, model_id)
    assert costs["device_seconds"] > 0 and costs["peak_memory_bytes"] > 2**26
    assert costs["versions"] == library_versions()
    said = capsys.readouterr().out
    assert f"rows: {len(rows)}" in said and "completions, empty response: 1" in said


def test_what_is_there_is_not_done_again(trained: Place, capsys: pytest.CaptureFixture[str]) -> None:
    trained.run("stories", "bradley_terry")
    folder, run_id = trained.names("stories", "bradley_terry")
    parts = sorted((trained.home / "parts").rglob(f"{run_id}.parquet"))
    before = [path.stat().st_mtime_ns for path in parts]
    first = capsys.readouterr().out
    trained.run("stories", "bradley_terry")
    assert [path.stat().st_mtime_ns for path in parts] == before and len(parts) == 2
    again = capsys.readouterr().out
    assert "the rewards are there; nothing to do" in again
    assert [line for line in first.splitlines() if ":" in line][-3:] == again.splitlines()[-3:]
    parts[0].unlink()
    trained.run("stories", "bradley_terry")
    assert parts[0].exists() and folder.is_dir()


def test_the_items_of_the_test_set_are_written_once_per_study(trained: Place) -> None:
    """Prompts by their hash, completions by their bytes; the second reward model writes nothing new."""
    trained.run("stories", "bradley_terry")
    paths = sorted((trained.home / "parts").glob("*_items/tiny/*")) + sorted(
        (trained.home / "parts").glob("item_completions/tiny/*")
    )
    items, completions = (pq.read_table(path, partitioning=None).to_pylist() for path in paths)
    before = [path.stat().st_mtime_ns for path in paths]
    study = load_study(trained.path)
    assert study.training is not None
    pairs = load_test_pairs(study.training.test_set, trained.path.parent)
    assert {row["run_id"] for row in items} == {items_run_id(study.training, trained.path.parent)}
    assert [(row["subset"], row["item_id"], row["prompt_hash"]) for row in items] == [
        (pair.subset, pair.item_id, prompt_id(pair.prompt)) for pair in pairs
    ]
    assert {(row["benchmark"], row["n_completions"], row["n_correct"]) for row in items} == {("rewardbench", 2, 1)}
    assert re.fullmatch(r"test_set\.jsonl@[0-9a-f]{12}", items[0]["source"])
    assert [(row["completion"], row["place"], row["is_correct"], row["n_bytes"]) for row in completions] == [
        (name, place, name == "chosen", len(text.encode()))
        for pair in pairs
        for place, name, text in ((1, "chosen", pair.chosen), (2, "rejected", pair.rejected))
    ]
    rewards = trained.rows("completion_rewards", trained.names("stories", "bradley_terry")[1])
    assert {(row["subset"], row["item_id"]) for row in rewards} == {(row["subset"], row["item_id"]) for row in items}
    trained.run("gemma", "regression")
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert len(list((trained.home / "parts" / "benchmark_items" / "tiny").iterdir())) == 1
    paths[0].unlink()
    trained.run("stories", "bradley_terry")
    assert paths[0].exists(), "lost items come back without scoring"


def test_without_a_trained_reward_model_the_command_is_named(trained: Place) -> None:
    options = f"--study {trained.path} --model stories --objective regression --home"
    said = f"train it first: python -m models_train.jobs.train_reward_model {options} {trained.home}"
    with pytest.raises(SystemExit, match=re.escape(said)):
        trained.run("stories", "regression")


SPOILED: dict[str, tuple[Callable[[Place], object], str, str]] = {
    "another model": (lambda place: None, "storeis", "the study has no model 'storeis'; did you mean 'stories'?"),
    "no training": (lambda place: change(place, training=None), "stories", "add a group `training`"),
    "no objective": (
        lambda place: change(place, training=STUDY["training"] | {"objectives": ["regression"]}),
        "stories",
        "the study trains regression, not bradley_terry",
    ),
    "no base model": (lambda place: shutil.rmtree(place.path.parent / "stories"), "stories", "correct the path"),
    "no test set": (lambda place: (place.path.parent / "test_set.jsonl").unlink(), "stories", "correct the path"),
    "bad test set": (lambda place: test_set(place, {"prompt": "?", "chosen": 3}), "stories", "test_set.jsonl, row 1"),
    "nothing scored": (
        lambda place: test_set(place, {"prompt": "?", "chosen": "", "rejected": "", "subset": "s", "id": 1}),
        "stories",
        "none of 2 completions of rewardbench could be scored, so nothing was written; the first has the status: empty "
        "response",
    ),
    "damaged": (lambda place: damage(place), "stories", "is cut short or damaged"),
}


def change(place: Place, **settings: Any) -> None:
    kept = {name: value for name, value in (STUDY | settings).items() if value is not None}
    place.path.write_text(yaml.safe_dump(kept))


def test_set(place: Place, row: dict[str, Any]) -> None:
    (place.path.parent / "test_set.jsonl").write_text(json.dumps(row) + "\n")


test_set.__test__ = False  # type: ignore[attr-defined]


def damage(place: Place) -> None:
    folder, _ = place.names("stories", "bradley_terry")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


@pytest.mark.parametrize("name", SPOILED)
def test_an_error_names_its_cause(trained: Place, tmp_path: Path, name: str) -> None:
    shutil.copytree(trained.path.parent, tmp_path / "study", ignore=shutil.ignore_patterns("parts"))
    place = Place.__new__(Place)
    place.path, place.home = tmp_path / "study" / "study.yaml", tmp_path / "study" / "home"
    spoil, model_id, said = SPOILED[name]
    spoil(place)
    with pytest.raises(SystemExit, match=re.escape(said)):
        place.run(model_id, "bradley_terry")
    assert not (place.home / "parts").exists()


def test_regression_without_merge_weights_is_an_error(trained: Place, tmp_path: Path) -> None:
    shutil.copytree(trained.path.parent, tmp_path / "study", ignore=shutil.ignore_patterns("parts"))
    place = Place.__new__(Place)
    place.path, place.home = tmp_path / "study" / "study.yaml", tmp_path / "study" / "home"
    folder, _ = place.names("gemma", "regression")
    config = json.loads((folder / "config.json").read_text())
    del config["merge_weights"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit, match="has no merge_weights; remove the folder and train the model again"):
        place.run("gemma", "regression")
    assert not (place.home / "parts").exists()


SETS = [
    {"name": "my pairs", "path": "./pairs.jsonl"},
    {"name": "mine_k", "path": "./best_of_k.jsonl"},
    {"name": "rewardbench2", "path": "./rb2.jsonl"},
    {"name": "rm_bench", "path": "./chat.jsonl"},
]


def with_sets(trained: Place, folder: Path, sets: list[dict[str, str]]) -> Place:
    """A copy of the study whose benchmarks are the test set and these sets."""
    shutil.copytree(trained.path.parent, folder / "study", ignore=shutil.ignore_patterns("parts"))
    place = Place.__new__(Place)
    place.path, place.home = folder / "study" / "study.yaml", folder / "study" / "home"
    turns = [{"role": "user", "content": "Two?"}, {"role": "assistant", "content": "3."}]
    turns.append({"role": "user", "content": "Sure?"})
    pairs = [{"prompt": turns, "chosen": "No, two.", "rejected": "Yes."}]
    pairs += [{"prompt": f"Is {n} odd?", "chosen": "Yes.", "rejected": ""} for n in range(3)]
    write(place.path.parent / "pairs.jsonl", pairs)
    several = [{"prompt": "A prime?", "chosen": ["2", "3"], "rejected": ["4"]}]
    write(
        place.path.parent / "best_of_k.jsonl", [*several, {"prompt": "?", "chosen": "5", "rejected": ["6", "8", "9"]}]
    )
    write(place.path.parent / "rb2.jsonl", best_of_4_items())
    write(place.path.parent / "chat.jsonl", [styled(1), styled(2)])
    change(place, benchmark_sets=sets)
    return place


def rewards_by_benchmark(place: Place) -> dict[str, list[dict[str, Any]]]:
    """Rows of completion_rewards by the benchmark of their part, which has one."""
    found = {}
    for path in (place.home / "parts" / "completion_rewards" / "tiny").iterdir():
        rows = pq.read_table(path, partitioning=None).to_pylist()
        (name,) = {row["benchmark"] for row in rows}
        found[name] = rows
    return found


def test_every_benchmark_of_the_study_is_scored(
    trained: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part and costs of each; a set that is added is scored alone, and the reward model is never trained again."""
    place = with_sets(trained, tmp_path, SETS[:3])
    models = sorted(place.home.joinpath("reward_models").iterdir())
    place.run("gemma", "regression")
    said = capsys.readouterr().out
    assert "gemma, regression: my pairs: 4 items, 8 completions" in said
    by_benchmark = rewards_by_benchmark(place)
    completions = {
        name: {(row["subset"], row["item_id"], row["completion"]) for row in rows}
        for name, rows in by_benchmark.items()
    }
    assert {name: len(found) for name, found in completions.items()} == {
        "rewardbench": 2 * trained.n_pairs,
        "my pairs": 8,
        "mine_k": 7,
        "rewardbench2": 14,
    }
    assert {"correct_1", "correct_2", "wrong_1", "wrong_3"} <= {name for *_, name in completions["mine_k"]}
    statuses = {(row["completion"], row["status"]) for row in by_benchmark["my pairs"] if row["attribute"] == "merged"}
    assert ("wrong_1", "empty response") in statuses and ("correct_1", "ok") in statuses
    study = load_study(place.path)
    folder, _ = place.names("gemma", "regression")
    run_ids = evaluation_run_ids(folder.name, study, place.path.parent)
    assert {name: rows[0]["run_id"] for name, rows in by_benchmark.items()} == run_ids
    variants = {name: place.rows("run_costs", run_id)[0]["variant"] for name, run_id in run_ids.items()}
    assert variants == {"rewardbench": "regression"} | {
        name: f"regression@{name}" for name in ("my pairs", "mine_k", "rewardbench2")
    }

    before = {path: path.stat().st_mtime_ns for path in place.home.rglob("*.parquet")}
    change(place, benchmark_sets=SETS)
    place.run("gemma", "regression")
    said = capsys.readouterr().out
    new = {path for path in place.home.rglob("*.parquet") if before.get(path) != path.stat().st_mtime_ns}
    assert {path.parent.parent.name for path in new} == {"completion_rewards", "run_costs"} and len(new) == 2
    assert "rm_bench: 2 items, 12 completions" in said and "mine_k" not in said
    assert sorted(place.home.joinpath("reward_models").iterdir()) == models
    place.run("gemma", "regression")
    assert "gemma, regression: the rewards are there; nothing to do" in capsys.readouterr().out


def test_a_benchmark_that_cannot_be_read_stops_no_other(trained: Place, tmp_path: Path) -> None:
    place = with_sets(trained, tmp_path, SETS)
    lines = [{"prompt": "?", "chosen": ["2"], "rejected": ["3"]}, {"prompt": "?", "chosen": ["2"], "rejected": []}]
    write(place.path.parent / "best_of_k.jsonl", lines)
    write(place.path.parent / "rb2.jsonl", [best_of_4_items()[0] | {"num_correct": 2}])
    with pytest.raises(SystemExit) as caught:
        place.run("stories", "bradley_terry")
    first, second = str(caught.value).splitlines()
    assert "best_of_k.jsonl, row 2, column rejected: [] is neither text nor a list of turns or of texts" in first
    assert "rb2.jsonl, row 1: num_correct is 2, but chosen has 1; correct the row, or remove it" in second
    assert set(rewards_by_benchmark(place)) == {"rewardbench", "my pairs", "rm_bench"}


def test_a_set_whose_place_is_gone_is_named_before_any_work(trained: Place, tmp_path: Path) -> None:
    place = with_sets(trained, tmp_path, SETS)
    (place.path.parent / "chat.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"\./chat\.jsonl: there is no .*; correct the path in the study file"):
        place.run("stories", "bradley_terry")
    assert not (place.home / "parts").exists()
