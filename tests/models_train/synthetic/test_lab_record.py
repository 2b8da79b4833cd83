"""A lab that was edited, interrupted, put back or damaged: what lies there is compared with what was made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models_train.jobs import make_lab
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.study.fingerprints import lab_run_id
from models_train.study.lab import DATA_SETS, TASKS, lab_folder
from models_train.study.lab_record import NAME, contents_of, is_made, read_record, write_record
from models_train.study.study import Study, load_study
from tests.support.trained_studies import small_lab


def study_file(folder: Path, seed: int = 0) -> Path:
    study = small_lab()
    lab = {**study["lab"], "seed": seed}  # type: ignore[dict-item]
    for model in lab["models"]:
        if "pretraining_tokens" in model:
            model["pretraining_tokens"] = 2_000
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**study, "lab": lab}))
    return path


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Study]:
    """Home with files in the places of a lab, and its study."""
    study = load_study(study_file(tmp_path))
    assert study.lab is not None
    folder = lab_folder(tmp_path, study.study_id)
    for name in (*DATA_SETS, f"{TASKS}/a.yaml", *(f"models/{one.model_id}/w" for one in study.lab.models)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    write_record(folder, lab_run_id(study), contents_of(folder, study.lab))
    return tmp_path, study


def test_a_lab_is_made_while_its_files_and_settings_stay(made: tuple[Path, Study]) -> None:
    home, study = made
    assert is_made(home, study)
    assert is_made(home, study.model_copy(update={"title": "Another title"}))
    assert not is_made(home, load_study(study_file(home, seed=1)))
    assert not is_made(home, study.model_copy(update={"lab": None}))


HARM: dict[str, Callable[[Path], object]] = {
    "another file": lambda lab: (lab / "preferences.jsonl").write_text("of another seed"),
    "one letter": lambda lab: (lab / "documents.jsonl").write_text("Documents.jsonl"),
    "lost file": lambda lab: (lab / "test.jsonl").unlink(),
    "lost items": lambda lab: (lab / "rewardbench2.jsonl").unlink(),
    "lost task": lambda lab: (lab / TASKS / "a.yaml").unlink(),
    "added task": lambda lab: (lab / TASKS / "b.yaml").write_text("more"),
    "weights": lambda lab: (lab / "models" / "coder" / "w").write_bytes(b"\x00\xff"),
    "lost record": lambda lab: (lab / NAME).unlink(),
    "noise in the record": lambda lab: (lab / NAME).write_bytes(b"\xff\x00{"),
    "other record": lambda lab: (lab / NAME).write_text("[]"),
    "interrupted": lambda lab: write_record(lab, None, read_record(lab)[1]),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_lab_that_is_not_as_it_was_made_is_not_made(made: tuple[Path, Study], harm: str) -> None:
    home, study = made
    HARM[harm](lab_folder(home, study.study_id))
    assert not is_made(home, study)


@pytest.mark.parametrize("job", ["train_reward_model", "score_completions", "sample_documents", "score_documents"])
def test_no_job_reads_a_half_made_lab(made: tuple[Path, Study], job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home, study = made
    monkeypatch.setenv("REWARDBASE_HOME", str(home))
    folder, path = lab_folder(home, study.study_id), home / "small.yaml"
    write_record(folder, None, read_record(folder)[1])
    flags = ["--study", str(path), "--home", str(home)]
    flags += [] if job == "sample_documents" else ["--model", "coder"]
    flags += ["--objective", "bradley_terry"] if job in ("train_reward_model", "score_completions") else []
    with pytest.raises(SystemExit) as ended:
        run_job(job, flags)
    assert str(ended.value.code) == (
        f"{path}: the lab of the study small is not made, or not to its end; run `make run`, or "
        f"`python -m models_train.jobs make_lab --study {path} --home {home}`, then this again"
    )


class Interrupting(Reporter):
    """Interrupts the job at its n-th message."""

    def __init__(self, n: int) -> None:
        self.left = n

    def say(self, text: str) -> None:
        """Count, and interrupt."""
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interrupted_edit_that_is_put_back_leaves_nothing_of_the_other_lab(tmp_path: Path) -> None:
    home, folder = tmp_path / "home", lab_folder(tmp_path / "home", "small")
    path = study_file(tmp_path)
    make_lab.run(path, home, 1, Interrupting(0))
    study = load_study(path)
    assert is_made(home, study)
    _, first = read_record(folder)
    for n_messages in (1, 2):  # after the data, and after a model
        with pytest.raises(KeyboardInterrupt):
            make_lab.run(study_file(tmp_path, seed=1), home, 1, Interrupting(n_messages))
        assert (folder / "preferences.jsonl").read_bytes() != b"" and not is_made(home, study)
        assert not is_made(home, load_study(study_file(tmp_path, seed=1)))
        make_lab.run(study_file(tmp_path), home, 1, Interrupting(0))
        assert is_made(home, study) and read_record(folder)[1] == first
    weights = folder / "models" / "reader" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64] + bytes(64))
    (folder / "ratings.jsonl").write_bytes(b"\xff\xfe noise")
    assert not is_made(home, study)
    done = make_lab.run(path, home, 1, Interrupting(0))
    assert done["new"] == 1 and is_made(home, study) and read_record(folder)[1] == first
