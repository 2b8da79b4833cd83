"""One command line for all jobs: flags, help, and errors without a traceback."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from models_train.errors import UserError
from models_train.jobs import command_line, find_models
from models_train.jobs.command_line import FLAGS, JOBS, run_job

FOLDER = Path(command_line.__file__).parent
SHARED = {"__init__", "__main__", "command_line", "reporting", "training_job"}
ARGUMENTS = ["--study", "study.yaml", "--home", "var"]


def test_every_job_is_listed_with_the_parameters_of_its_function() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - SHARED == set(JOBS)
    for name, (_, flags) in JOBS.items():
        tree = ast.parse((FOLDER / f"{name}.py").read_text())
        (run,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "run")
        assert [argument.arg for argument in run.args.args] == [
            *(FLAGS[flag].get("dest", flag) for flag in flags), "report"
        ]  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["train_reward_model", "--help"], ["score_documents", "--help"]])
def test_help_needs_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom models_train.jobs.command_line import run_job\n"
        f"try:\n    run_job(arguments={arguments!r})\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
    assert (arguments[0] if len(arguments) > 1 else "fit_performance_model") in done.stdout


def test_the_job_is_the_first_argument_or_given(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(find_models, "run", lambda path, home, report: {"path": path, "home": home})
    run_job(arguments=["find_models", *ARGUMENTS])
    find_models.main(ARGUMENTS)
    monkeypatch.setattr(sys, "argv", ["find_models", *ARGUMENTS])
    find_models.main()
    assert capsys.readouterr().out == "path: study.yaml\nhome: var\n" * 3


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("study.yaml: no group `hub`"), "study.yaml: no group `hub`"),
        (OSError(28, "No space left on device", "var/parts"), r"No space left on device: 'var/parts'; check the path"),
    ],
)
def test_errors_of_a_reader_come_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def run(path: Path, home: Path, report: object) -> None:
        raise error

    monkeypatch.setattr(find_models, "run", run)
    with pytest.raises(SystemExit, match=message):
        find_models.main(ARGUMENTS)


def test_wrong_arguments_end_with_status_2(capsys: pytest.CaptureFixture) -> None:
    for arguments in (["find_model", *ARGUMENTS], ["find_models", "--home", "var"], []):
        with pytest.raises(SystemExit) as ended:
            run_job(arguments=arguments)
        assert ended.value.code == 2
    assert "--study" in capsys.readouterr().err
