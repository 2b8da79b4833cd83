"""Variants of preferences from the study file to the scored reward model, and cross-fitted labels, on a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models_train.data.preference_variants import pair_id
from models_train.data.records import Preference, Turn, prompt_id
from models_train.jobs import clean_preferences, train_reward_model
from models_train.jobs.score_completions import load_trained
from models_train.jobs.training_job import training_job
from models_train.modeling.packing import pack
from models_train.reward_models.data import render_pairs
from models_train.study.fingerprints import trained_run_ids
from models_train.study.study import load_study
from tests.support import data_files
from tests.support.made_data import preferences
from tests.support.reward_studies import MODEL_ID, N_TRAIN, N_VALIDATION, RECIPE, arguments, write_study

pytestmark = pytest.mark.slow
NAME = "preferences.jsonl"
SETTINGS: dict[str, Any] = {
    "bradley_terry": RECIPE | {"learning_rates": [1e-3], "checkpoint_every": 6},
    "objectives": ["bradley_terry"],
    "search": {"seeds": [0]},
}
VARIANTS = [
    {"data_id": "flip25", "flip": 0.25, "models": [MODEL_ID]},
    {"data_id": "mended", "of": "flip25", "rule": "drop", "clean": "labels.jsonl", "models": [MODEL_ID]},
]


def labels(home: Path, data_id: str) -> pl.DataFrame:
    found = [
        pl.read_parquet(path, hive_partitioning=False) for path in home.glob("parts/preference_labels/*/*.parquet")
    ]
    return pl.concat(found).filter(data_id=data_id)


def as_pair(row: dict[str, Any]) -> Preference:
    prompt = (Turn("user", row["prompt"]),)
    two = row["response_1"], row["response_2"]
    chosen, rejected = two if row["preference_strength"] < 0 else two[::-1]
    return Preference(prompt, chosen, rejected, 1, prompt_id(prompt), row["split"])


def test_labels_are_judged_by_other_folds_and_rules_wait_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = {"model_id": MODEL_ID, "folds": 2}
    study, home = write_study(tmp_path / "own", **SETTINGS, variants=VARIANTS, noise=noise), tmp_path / "home"
    rows = preferences(N_TRAIN, N_VALIDATION)
    held_out = {pair_id(as_pair(row)) for row in rows if row["split"] == "validation" and row["preference_strength"]}
    data_files.write(
        study.parent / "labels.jsonl", [{"pair_id": one, "label_kind": "same"} for one in sorted(held_out)]
    )
    common = ["--study", str(study), "--home", str(home), "--data"]

    with pytest.raises(SystemExit, match="train it first"):
        clean_preferences.main([*common, NAME])
    with pytest.raises(SystemExit, match="there are no data 'flip52'; did you mean 'flip25'"):
        clean_preferences.main([*common, "flip52"])
    train_reward_model.main(arguments(study, home))
    assert "data mended: its rule waits for an estimate of the noise" in capsys.readouterr().out
    for data_id in (NAME, "flip25"):
        clean_preferences.main([*common, data_id])
    before = sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*.parquet"))
    train_reward_model.main(arguments(study, home))
    clean_preferences.main([*common, "mended"])
    read = load_study(study)
    made = trained_run_ids(read, read.by_id[MODEL_ID], "bradley_terry", study.parent)
    assert set(made) == {None, "flip25", "mended"}
    assert all((home / "reward_models" / run_id / "model.safetensors").exists() for run_id in made.values())
    assert all((path, path.stat().st_mtime_ns) in before for path, _ in before)

    own, flipped = labels(home, NAME), labels(home, "flip25")
    train = own.filter(split="train")
    assert set(own.filter(split="validation")["pair_id"]) == held_out
    assert train.group_by("prompt_id").agg(pl.col("fold").n_unique())["fold"].max() == 1
    n_flipped = (flipped["label_kind"] == "flipped").sum()
    assert n_flipped == round(0.25 * train.height)
    turned = flipped.filter(label_kind="flipped").join(own, on="pair_id")
    assert (turned["chosen"] == turned["rejected_right"]).all()
    assert flipped["p_label"].is_between(0, 1).all()
    mended = labels(home, "mended")
    assert mended["cross_fitted_margin"].null_count() == mended.height
    _assert_judged_by_a_reward_model_without_the_fold(tmp_path, own, rows)


def _assert_judged_by_a_reward_model_without_the_fold(tmp_path: Path, own: pl.DataFrame, rows: list[dict]) -> None:
    """A search on the other fold alone, its last step saved and loaded, gives the same margins."""
    fold = dict(own.select("pair_id", "fold").iter_rows())
    others = [
        row
        for row in rows
        if row["split"] == "validation" or (row["preference_strength"] and fold[pair_id(as_pair(row))] == 1)
    ]
    only_last = {"bradley_terry": SETTINGS["bradley_terry"] | {"checkpoint_every": 10**6}}
    study, home = write_study(tmp_path / "alone", **SETTINGS | only_last), tmp_path / "other"
    data_files.write(study.parent / NAME, others)
    train_reward_model.main(arguments(study, home))
    model, renderer = load_trained(training_job(study, MODEL_ID, "bradley_terry", home))
    judged = [as_pair(row) for row in rows if row["split"] == "train" and row["preference_strength"]]
    judged = [one for one in judged if fold[pair_id(one)] == 0]
    margins = dict(own.select("pair_id", "cross_fitted_margin").iter_rows())
    for one, tokens in zip(judged, render_pairs(judged, renderer).examples, strict=True):
        rewards = model.rewards(pack(list(tokens.sequences))).detach().numpy()[:, 0].astype(np.float64)
        assert rewards[0] - rewards[1] == pytest.approx(margins[pair_id(one)], abs=1e-4)
