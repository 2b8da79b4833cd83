"""Jobs as forks of a process that has loaded the libraries: the same as a fresh start, to whoever looks."""

import sys
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.lib.job_processes import LOADED, JobProcesses, is_forked
from dagster_project.lib.job_runs import run_job

SCORE = [sys.executable, "-m", "models_train.jobs.score_documents"]


def outcome(command: list[str]) -> dg.ExecuteInProcessResult:
    """A Dagster run of one asset that runs `command`."""

    @dg.asset
    def scores(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        return run_job(context, pipes, command).get_materialize_result()

    with dg.instance_for_test() as instance:
        resources = {"pipes": JobProcesses(env={"OMP_NUM_THREADS": "1"})}
        return dg.materialize([scores], instance=instance, resources=resources, raise_on_error=False)


def test_only_jobs_of_this_python_are_forked() -> None:
    assert is_forked([*SCORE, "--help"])
    assert all(is_forked([sys.executable, "-m", module]) for module in LOADED)
    assert not is_forked([sys.executable, "-m", "models_train.jobs.fit_performance_model"])
    assert not is_forked(["python", "-m", SCORE[2]])
    assert not is_forked(" ".join(SCORE))


def test_what_a_forked_job_prints_goes_where_its_step_prints(capfd: pytest.CaptureFixture[str]) -> None:
    """Also the second one's, whose server began while the first one's output was captured."""
    assert outcome([*SCORE, "--help"]).success
    first = capfd.readouterr().out
    assert outcome([*SCORE, "--help"]).success
    second = capfd.readouterr().out
    assert "--study" in first and "--study" in second


def test_why_a_forked_job_stopped_is_the_message_of_its_step(tmp_path: Path) -> None:
    missing = tmp_path / "no.yaml"
    done = outcome([*SCORE, "--study", str(missing), "--model", "m", "--home", str(tmp_path)])
    failure = done.failure_data_for_node("scores")
    assert not done.success and failure is not None and failure.user_failure_data is not None
    assert "no.yaml" in (failure.user_failure_data.description or "")


def test_a_forked_job_that_crashes_fails_its_step() -> None:
    done = outcome([*SCORE, "--no-such-option"])
    failure = done.failure_data_for_node("scores")
    assert not done.success and failure is not None and failure.user_failure_data is not None
    assert "score_documents ended with status 2" in (failure.user_failure_data.description or "")
