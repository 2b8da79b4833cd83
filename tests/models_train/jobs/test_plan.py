"""The job that plans: what is left, measured speeds, a probe, what was planned beside what it took, wrong arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from models_train.errors import UserError
from models_train.jobs.plan import StudyWork, main, planned_actors
from models_train.jobs.score_documents import main as score
from models_train.parts import write_part
from tests.support.scoring_studies import arguments, documents, parts, put_sample, run_id, scoring_study
from warehouse.contracts import REWARD_MODEL_TABLES

PAPER = Path(__file__).resolve().parents[3] / "dagster_project" / "studies" / "examples" / "paper.yaml"


def plan(study: Path, home: Path, *more: str) -> None:
    main(["--study", str(study), "--home", str(home), "--gpus", "2", *more])


def kept(home: Path, study_id: str) -> dict[str, Any]:
    return dict(json.loads((home / "plans" / f"{study_id}.json").read_text()))


def test_what_is_left_of_the_paper_is_planned_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom models_train.jobs.plan import main\n"
        f"main(['--study', {str(PAPER)!r}, '--home', {str(tmp_path)!r}, '--gpus', '64', '--device', 'H200',"
        " '--price', '3.2', '--preemption', '0.05'])\nprint('torch' in sys.modules, 'ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("paper on 64 x H200: 2,300 of 2,300 shards are left, of 23 of 23 models (19 others ")
    for text in (
        "an ESTIMATE",
        "one model after another: 2.",
        "bottleneck: ",
        "about 7 shards begun twice",
        " dollars",
    ):
        assert text in done.stdout
    assert done.stdout.endswith("False False\n")
    found = kept(tmp_path, "paper")
    assert len(found["models"]) == 23 and "gemma-2b-it" not in found["models"]
    assert (
        planned_actors(tmp_path, "paper", "Falcon3-10B-Instruct") == found["models"]["Falcon3-10B-Instruct"]["actors"]
    )
    assert planned_actors(tmp_path, "paper", "gpt") is planned_actors(tmp_path, "other", "gpt") is None


def test_parts_that_are_there_are_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, home = scoring_study(tmp_path), tmp_path / "home"
    put_sample(study, home, documents(52))
    for number in range(4):
        part = home / "parts" / "document_scores" / "demo" / f"{run_id(study)}-{number:05d}.parquet"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    plan(study, home, "--device", "H200")
    assert "7 of 11 shards are left" in capsys.readouterr().out


def test_speeds_come_from_finished_scoring_of_any_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, home = scoring_study(tmp_path), tmp_path / "home"
    put_sample(study, home, documents(50))
    costs = {"model_id": "large", "job": "score_documents", "variant": "packed", "n_tokens": 1000, "n_devices": 1}
    costs |= {"device_seconds": 50.0, "device": "Quantum 9", "is_gpu": True, "peak_memory_bytes": 1, "versions": "{}"}
    write_part(home / "parts", REWARD_MODEL_TABLES["run_costs"], [costs], study_id="other", run_id="a")
    with pytest.raises(SystemExit, match="Quantum 9: no finished shard"):  # of a model whose size is not known
        plan(study, home)
    sized = pl.DataFrame({"model_id": ["large"], "params_b": [0.4]})
    (home / "parts" / "base_models" / "other").mkdir(parents=True)
    sized.write_parquet(home / "parts" / "base_models" / "other" / "x.parquet")
    plan(study, home)
    out = capsys.readouterr().out
    assert "on 2 x Quantum 9: 10 of 10 shards are left" in out and "1 model scaled by weights, measured on" in out
    with pytest.raises(SystemExit, match="H2001: no finished shard"):
        plan(study, home, "--device", "H2001")
    plan(study, home, "--device", "quantum")
    assert kept(home, "demo")["device"] == "Quantum 9"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--gpus", "0"], r"^GPUS=0: state how many GPUs there are, a whole number from 1 to 100,000$"),
        (["--gpus", ""], r"^GPUS=\(empty\)"),
        (["--gpus", "8x"], "^GPUS=8x"),
        (["--gpus", "1e9"], "^GPUS=1e9"),
        (["--gpus", "٣"], "^GPUS="),
        (["--price", "free"], "^PRICE=free: state a price in dollars"),
        (["--price", "0"], "^PRICE=0: "),
        (["--price", "nan"], "^PRICE=nan"),
        (["--price=-3"], "^PRICE=-3"),
        (["--price", "3,2"], "^PRICE=3,2"),
        (["--preemption", "5%"], "^PREEMPTION=5%"),
        (["--preemption", "1e3"], "^PREEMPTION=1e3"),
        (["--preemption", "11"], "^PREEMPTION=11"),
        (["--probe", "yes"], "^PROBE=yes"),
        (["--device", "Abacus"], "^Abacus: no finished shard was scored on this device"),
        ([], r"^state the device as DEVICE=\.\.\., such as H200"),
    ],
)
def test_nonsense_is_refused(given: list[str], said: str, tmp_path: Path) -> None:
    study, home = scoring_study(tmp_path), tmp_path / "home"
    with pytest.raises(SystemExit, match=said):
        plan(study, home, *given)
    assert not (home / "plans").exists()


def test_a_study_that_scores_nothing_and_a_model_without_size(tmp_path: Path) -> None:
    study, home = scoring_study(tmp_path), tmp_path / "home"
    settings = yaml.safe_load(study.read_text())
    del settings["models"][0]["params_b"]
    study.write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit, match="tiny states no params_b"):
        plan(study, home, "--device", "H200")
    del settings["scoring"]
    study.write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit, match="the study demo scores no documents"):
        plan(study, home, "--device", "H200")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": 3}', "\x00"])
def test_a_damaged_plan_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "demo.json").write_text(text)
    assert planned_actors(tmp_path, "demo", "tiny") is None


@pytest.mark.slow
def test_a_probe_and_what_was_planned_beside_what_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study, home = scoring_study(tmp_path, documents_per_shard=20), tmp_path / "home"
    with pytest.raises(SystemExit, match=r"^demo: a probe scores documents, and they are not sampled yet"):
        plan(study, home, "--probe", "1")
    put_sample(study, home, documents(60))
    plan(study, home, "--probe", "1", "--device", "CPU")
    assert len(parts(home)) == 1
    out = capsys.readouterr().out
    assert "probe: a shard of tiny" in out and "1 model by own shards, measured on cpu" in out
    assert "2 of 3 shards are left" in out
    assert StudyWork(study, home).device("", "cpu").name == "cpu"
    with pytest.raises(UserError, match="DEVICE=H200: the probe ran here, on cpu"):
        StudyWork(study, home).device("H200", "cpu")
    score(arguments(study, home))
    (row,) = pl.read_parquet(home / "parts" / "planned_costs" / "demo" / f"{run_id(study)}.parquet").to_dicts()
    assert (row["model_id"], row["job"], row["variant"], row["basis"]) == (
        "tiny",
        "score_documents",
        "packed",
        "measured",
    )
    assert 0 < row["device_seconds_low"] < row["device_seconds"] < row["device_seconds_high"]
    capsys.readouterr()
    plan(study, home)
    assert capsys.readouterr().out == "demo: nothing is left to plan: every shard of every donor is there\n"
