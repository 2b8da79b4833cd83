"""One command line for all jobs: flags, help, and errors without a traceback."""

from __future__ import annotations

import ast
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from pathlib import Path

import pytest

from models_train.errors import UserError
from models_train.jobs import command_line, find_models
from models_train.jobs.command_line import FLAGS, JOBS, run_job

FOLDER = Path(command_line.__file__).parent
SHARED = {
    "teacher_rewards",
    "__init__",
    "__main__",
    "benchmark_scoring",
    "cluster",
    "command_line",
    "race_census",
    "race_looks",
    "race_records",
    "reporting",
    "response_scoring",
    "training_job",
}
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
        (
            OSError(28, "No space left on device", "var/parts"),
            r"var/parts: the disk at /.* is full: .* MB of .* MB are free",
        ),
        (OSError(13, "Permission denied", "var/parts"), "var/parts: user .* may not read or write here"),
        (FileNotFoundError(2, "No such file or directory", "here/x"), "^here/x: No such file or directory$"),
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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "find_models: memory ran out; there are "),
        (BrokenExecutor("a worker was killed"), "find_models: memory ran out; there are "),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12"),
            "memory ran out when 4096 bytes more were needed",
        ),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory ran out"),
    ],
)
def test_a_want_of_memory_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch, error: Exception, said: str) -> None:
    def run(path: Path, home: Path, report: object) -> None:
        raise error

    monkeypatch.setattr(find_models, "run", run)
    monkeypatch.setenv("REWARDBASE_WORKERS", "3")
    with pytest.raises(SystemExit) as ended:
        find_models.main(ARGUMENTS)
    text = str(ended.value)
    assert said in text and "REWARDBASE_WORKERS=1 (now 3 tasks run at a time)" in text


def test_wrong_arguments_end_with_status_2(capsys: pytest.CaptureFixture) -> None:
    for arguments in (["find_model", *ARGUMENTS], ["find_models", "--home", "var"], []):
        with pytest.raises(SystemExit) as ended:
            run_job(arguments=arguments)
        assert ended.value.code == 2
    assert "--study" in capsys.readouterr().err
