"""What is known of a lab: rows that fit their contracts, inherited mixes, a name that follows the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models_train.errors import UserError
from models_train.parts import write_part
from models_train.study.fingerprints import lab_run_id
from models_train.study.lab import Lab
from models_train.study.study import Study
from models_train.synthetic.preferences import TRUE_WEIGHTS
from models_train.synthetic.world import in_order, pretrained, truth_rows
from warehouse.contracts import LAB_TABLES

MIX = {"Github": 0.7, "Book": 0.3}
STAGES = {"origin": None, "tuned": "origin", "aligned": "tuned"}


def study(**lab: Any) -> Study:
    models = [
        {"model_id": name, "hub_id": f"./{name}", "family": "f", "stage": "sft" if parent else "base", "parent": parent}
        for name, parent in STAGES.items()
    ]
    shape = {"architecture": "llama", "hidden": 16, "layers": 1}
    own = {"mix": MIX, "pretraining_tokens": 5000}
    made = [{"model_id": name, **shape, **({} if parent else own)} for name, parent in STAGES.items()]
    return Study.model_validate(
        {
            "study_id": "lab", "title": "Lab", "synthetic": True, "source": "a test", "models": models,
            "size_groups": [{"name": "all", "params_b_from": 0, "default": "origin"}], "lab": {"models": made} | lab,
        }
    )  # fmt: skip


def lab_of(found: Study) -> Lab:
    assert found.lab is not None
    return found.lab


def test_the_rows_fit_their_contracts_and_stages_inherit_the_mix(tmp_path: Path) -> None:
    whole = study()
    tables = truth_rows(whole, lab_of(whole), dict.fromkeys(STAGES, 250_000))
    assert tables.keys() == LAB_TABLES.keys()
    for name, rows in tables.items():
        write_part(tmp_path, LAB_TABLES[name], rows, study_id="lab", run_id=lab_run_id(whole))
    mixes = pl.read_parquet(tmp_path / "lab_mixes" / "lab" / f"{lab_run_id(whole)}.parquet")
    assert mixes.group_by("model_id").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1, 1, 1])
    assert mixes.filter(domain="Github")["share"].to_list() == [0.7] * 3
    assert mixes.filter(domain="ArXiv")["share"].to_list() == [0.0] * 3, "what was never seen has a row, too"
    assert set(mixes["pretrained_model_id"]) == {"origin"} and set(mixes["parameters_m"]) == {0.25}
    weights = tables["lab_attribute_weights"]
    assert [row["weight"] for row in weights] == list(TRUE_WEIGHTS) and weights[-1]["attribute"] == "verbosity"
    assert {"setting": "preference_noise", "value": 0.5} in tables["lab_settings"]


def test_a_line_without_a_mix_is_refused() -> None:
    whole = study()
    lab = lab_of(whole)
    orphans = lab.model_copy(update={"models": lab.models[1:]})
    with pytest.raises(UserError, match="aligned: neither it nor a parent has a mix"):
        pretrained(whole, orphans, "aligned")


def test_the_name_of_a_lab_follows_its_settings() -> None:
    other: tuple[dict[str, Any], ...] = (
        {"seed": 1},
        {"preference_noise": 0.1},
        {"best_of_4_per_subset": 3},
        {"ties": 3},
    )
    names = {lab_run_id(study()), *(lab_run_id(study(**one)) for one in other)}
    assert len(names) == 5 and lab_run_id(study()) in names
    assert lab_run_id(study().model_copy(update={"title": "Another"})) == lab_run_id(study())
    with pytest.raises(ValueError, match="has no lab"):
        lab_run_id(study().model_copy(update={"lab": None}))


def test_a_chain_of_stages_is_begun_first_and_then_what_takes_longest() -> None:
    """Stages wait for one another: begun last, they would leave the other processes idle."""
    whole = study()
    lab = lab_of(whole)
    others = [lab.models[0].model_copy(update={"model_id": f"other-{n}", "pretraining_tokens": n}) for n in (1, 3, 2)]
    shuffled = lab.model_copy(update={"models": (*others, *lab.models)})
    assert list(in_order(shuffled, whole.by_id)) == ["origin", "tuned", "aligned", "other-3", "other-2", "other-1"]
