"""The job that trains a reward model, run as a person would: what it writes, what it says, and after kills."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, GPT2Config

from models_train.data.helpsteer import load_preferences
from models_train.data.records import ATTRIBUTES
from models_train.errors import UserError
from models_train.jobs import train_reward_model
from models_train.jobs.train_reward_model import main
from models_train.jobs.training_job import training_job
from models_train.parts import write_part
from models_train.study.study import load_study
from tests.support import reward_studies
from tests.support.families import tiny_config
from tests.support.killed_jobs import SearchLauncher
from tests.support.reward_studies import arguments, parts, results, write_study
from tests.support.tiny_models import byte_tokenizer, write_base
from warehouse.contracts import REWARD_MODEL_TABLES
from warehouse.part_files import newest_parts

pytestmark = pytest.mark.slow

TABLES = {
    "reward_model_runs",
    "reward_model_steps",
    "reward_model_checkpoints",
    "reward_model_searches",
    "training_rows_dropped",
    "run_costs",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module", params=["bradley_terry", "regression"])
def trained(request: pytest.FixtureRequest, study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An objective, and the home after its search."""
    home = tmp_path_factory.mktemp("home")
    main(arguments(study, home, request.param))
    return request.param, home


def the(frame: pl.DataFrame) -> dict[str, Any]:
    """The only row."""
    (row,) = frame.to_dicts()
    return row


def test_the_search_is_landed_row_by_row(trained: tuple[str, Path]) -> None:
    objective, home = trained
    found = parts(home)
    assert found.keys() == TABLES
    runs, checkpoints = found["reward_model_runs"], found["reward_model_checkpoints"]
    search = the(found["reward_model_searches"])
    n_examples = reward_studies.N_TRAIN * (1 if objective == "bradley_terry" else 2)
    n_steps = n_examples // 8
    assert runs["n_examples"].to_list() == [n_examples] * 3 and runs["n_steps_planned"].to_list() == [n_steps] * 3
    assert sorted(runs["status"]) == ["finished", "stopped", "stopped"]
    assert search["n_steps"] == runs["n_steps"].sum() < search["n_steps_full_grid"] == 3 * n_steps
    selected, chosen = runs.filter("is_selected"), the(checkpoints.filter("is_selected"))
    assert the(selected)["status"] == "finished"
    assert (chosen["training_run"], chosen["step"]) == (search["training_run"], search["step"])
    of_the_run = checkpoints.filter(pl.col("training_run") == search["training_run"])["validation_accuracy"]
    assert search["validation_accuracy"] == chosen["validation_accuracy"] == of_the_run.max()
    assert search["optimism_points"] == pytest.approx(
        100 * (search["accuracy_choosing_half"] - search["accuracy_other_half"])
    )
    assert 0 <= search["accuracy_mean_rate"] <= search["accuracy_best_rate"] <= 1
    steps = found["reward_model_steps"]
    assert steps.height == search["n_steps"] and steps["loss"].is_finite().all()
    cost = the(found["run_costs"])
    assert cost["n_tokens"] == steps["n_tokens"].sum() == runs["n_tokens"].sum()
    assert cost["device_seconds"] == pytest.approx(runs["device_seconds"].sum())
    assert (cost["job"], cost["variant"]) == ("train_reward_model", objective)
    assert not any(path.is_dir() for path in (home / "training").glob("*") if path.name != ".locks")


def test_results_of_settings_that_were_tried_in_between_do_not_stay_the_newest(
    trained: tuple[str, Path], study: Path, tmp_path: Path
) -> None:
    """The search of the other settings is another run of the same partition, written later."""
    objective, origin = trained
    home = shutil.copytree(origin, tmp_path / "home")
    tables = {name: REWARD_MODEL_TABLES[name] for name in TABLES}
    before = {name: [part.run_id for part in newest_parts(home / "parts", table)] for name, table in tables.items()}
    for name, table in tables.items():
        rows = [{**row, "run_id": "between"} for row in parts(home)[name].to_dicts()]
        write_part(home / "parts", table, rows, study_id=rows[0]["study_id"], run_id="between")
        assert [part.run_id for part in newest_parts(home / "parts", table)] == ["between"]
    main(arguments(study, home, objective))
    for name, table in tables.items():
        assert [part.run_id for part in newest_parts(home / "parts", table)] == before[name]


def test_the_saved_model_wins_the_pairs_that_the_row_says(trained: tuple[str, Path], study: Path) -> None:
    """Loaded by Transformers alone, one conversation at a time."""
    objective, home = trained
    found = parts(home)
    search, chosen = the(found["reward_model_searches"]), the(found["reward_model_checkpoints"].filter("is_selected"))
    folder = home / search["path"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    weights = np.array([chosen[f"weight_{name}"] for name in ATTRIBUTES] if objective == "regression" else [1.0])

    def reward(prompt: str, response: str) -> float:
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        inputs = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt")
        with torch.no_grad():
            return float(model(**inputs).logits[0].double().numpy() @ weights)

    pairs = load_preferences(load_study(study).training.preferences, study.parent).validation  # type: ignore[union-attr]
    margins = [reward(one.prompt[-1].text, one.chosen) - reward(one.prompt[-1].text, one.rejected) for one in pairs]
    certain = [margin for margin in margins if abs(margin) > 1e-6]
    assert len(pairs) == chosen["n_pairs"] == reward_studies.N_VALIDATION
    assert abs(sum(margin > 0 for margin in certain) - chosen["n_won"]) <= len(margins) - len(certain)
    if objective == "regression":
        assert model.config.merge_weights == dict(zip(ATTRIBUTES, weights, strict=True))
        normalised = np.mean(margins) / np.linalg.norm(weights)
        assert chosen["mean_margin"] == pytest.approx(normalised, rel=1e-3, abs=1e-6)
    else:
        assert chosen["validation_loss"] == pytest.approx(
            np.mean([math.log1p(math.exp(-margin)) for margin in margins]), rel=1e-5
        )
    card = (folder / "README.md").read_text()
    for words in (search["training_run"], "preferences.jsonl", f"{chosen['n_won']} of {chosen['n_pairs']}"):
        assert words in card


def test_a_search_that_is_there_is_not_made_again(
    trained: tuple[str, Path], study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective, home = trained
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*.parquet")}
    main(arguments(study, home, objective))
    assert "the search is there; nothing to do" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*.parquet")} == before


def fails(study: Path, home: Path, **changes: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(arguments(study, home, **changes))
    return str(stopped.value)


def test_every_run_failing_is_a_failed_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Weights a thousand million times as large after each step: no loss stays finite.
    recipe = reward_studies.RECIPE | {"learning_rates": [0.5, 1.0], "weight_decay": 1e9}
    study = write_study(tmp_path, bradley_terry=recipe)
    for _ in range(2):
        said = fails(study, tmp_path / "home")
        assert "no training run of 2 ended well" in said and "Change recipe or data" in said
    assert "the search is there; nothing to do" in capsys.readouterr().out
    found = parts(tmp_path / "home")
    assert found["reward_model_runs"]["status"].to_list() == ["failed", "failed"]
    assert "step" in found["reward_model_runs"]["reason"][0]
    search = the(found["reward_model_searches"])
    assert search["status"] == "failed" and search["path"] is None and search["training_run"] is None
    assert not list((tmp_path / "home").rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("changes", "training", "words"),
    [
        ({"model": "tini"}, {}, "did you mean 'tiny'?"),
        ({"objective": "regression"}, {"objectives": ["bradley_terry"]}, "add it to training.objectives"),
        ({}, {"preferences": {"path": "none.jsonl"}}, "none.jsonl"),
        (
            {},
            {"bradley_terry": reward_studies.RECIPE | {"max_tokens": 8}},
            "none are left to train on: 48 of 48",
        ),
    ],
)
def test_what_cannot_be_trained_is_reported(
    tmp_path: Path, changes: dict[str, str], training: dict[str, Any], words: str
) -> None:
    study = write_study(tmp_path, **training)
    assert words in fails(study, tmp_path / "home", **changes)
    assert not (tmp_path / "home" / "parts").exists()


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    tokenizer = tmp_path / "model" / "tokenizer.json"
    described = json.loads(tokenizer.read_text())
    vocabulary = described["model"]["vocab"]
    vocabulary["e"] = 5000
    tokenizer.write_text(json.dumps(described))
    assert "gives token 5000, but the model's vocabulary has 272 rows" in fails(study, tmp_path / "home")


def test_a_base_without_any_pad_token_is_trained(tmp_path: Path) -> None:
    """GPT-2's kind: one special token, which is BOS and EOS, and as many rows as tokens."""
    end = "<|endoftext|>"
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 512}
    config = GPT2Config(vocab_size=257, bos_token_id=0, eos_token_id=0, **sizes)
    write_base(tmp_path / "model", config, byte_tokenizer(None, (end,), bos_token=end, eos_token=end, unk_token=end))
    study = write_study(tmp_path, bradley_terry=reward_studies.RECIPE | {"learning_rates": [1e-3]})
    main(arguments(study, tmp_path / "home"))
    search = the(parts(tmp_path / "home")["reward_model_searches"])
    folder = tmp_path / "home" / search["path"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    batch = tokenizer(["one", "and another one"], padding=True, return_tensors="pt")
    assert tokenizer.pad_token_id == 257 and model(**batch).logits.shape == (2, 1)


def test_what_was_trained_is_landed_and_kept_where_saving_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next run takes no step: it saves the model, and writes the row of the search."""
    study, home = write_study(tmp_path), tmp_path / "home"
    save = train_reward_model.save_reward_model
    calls = []

    def full(*args: Any) -> None:
        calls.append(args)
        if len(calls) > 1:  # the first one is the rehearsal
            raise UserError("the reward model as saved is not the one in memory")
        save(*args)

    monkeypatch.setattr(train_reward_model, "save_reward_model", full)
    said = fails(study, home)
    assert (
        "tiny, bradley_terry: the reward model as saved is not the one in memory; the trained weights are kept" in said
    )
    found = parts(home)
    assert "reward_model_searches" not in found and found["reward_model_steps"].height > 0
    monkeypatch.undo()
    capsys.readouterr()
    main(arguments(study, home))
    assert "resuming after" in capsys.readouterr().out
    again = parts(home)
    assert again["reward_model_steps"].equals(found["reward_model_steps"])
    assert (home / the(again["reward_model_searches"])["path"] / "config.json").is_file()


@pytest.mark.parametrize("family", ["bert", "mamba"])
def test_what_could_not_be_saved_is_told_before_the_first_step(family: str, tmp_path: Path) -> None:
    write_base(tmp_path / "model", tiny_config(family))
    study = write_study(tmp_path)
    said = fails(study, tmp_path / "home")
    assert said.count("tiny") >= 1 and ("no linear head" in said or "nothing was trained" in said)
    assert not (tmp_path / "home" / "parts").exists() and not list((tmp_path / "home").rglob("run.json"))


def test_two_processes_do_not_train_the_same_model(study: Path, tmp_path: Path) -> None:
    with training_job(study, reward_studies.MODEL_ID, "bradley_terry", tmp_path).locked():
        assert "another process trains this reward model right now" in fails(study, tmp_path)


def test_a_model_that_was_removed_is_trained_again(trained: tuple[str, Path], study: Path, tmp_path: Path) -> None:
    objective, home = trained
    shutil.copytree(home / "parts", tmp_path / "parts")
    main(arguments(study, tmp_path, objective))
    assert results(tmp_path) == results(home)


def test_killed_at_random_moments_it_ends_as_if_undisturbed(study: Path, tmp_path: Path) -> None:
    """kill -9 of the whole process, a few times; tests/benchmarks has the long form."""
    with SearchLauncher() as launcher:
        for objective in ("bradley_terry", "regression"):
            folder = tmp_path / objective
            killed = launcher.run_with_kills(study, folder, objective, n_kills=2, random_source=random.Random(7))
            assert killed.n_kills == 2
            assert killed.disturbed == [killed.undisturbed] * len(killed.disturbed)
