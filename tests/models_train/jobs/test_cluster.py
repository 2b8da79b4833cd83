"""Shards on a Ray cluster of one host, and as shares of a job array: the same parts, and what is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models_train.errors import UserError
from models_train.jobs.cluster import Split, connected, is_broken, on_cluster
from models_train.jobs.command_line import run_job
from models_train.jobs.score_documents import main
from tests.support import hosts
from tests.support.data_files import REPOSITORY
from tests.support.ray_hosts import RayHosts, environment, ray_hosts
from tests.support.scoring_studies import arguments, costs, documents, parts, put_sample, scores, scoring_study

pytestmark = pytest.mark.slow

CORE = re.compile(r"^\[\d{4}-.*\n", re.M)
"""A line of Ray's core, which prints that it prints less."""


@pytest.mark.parametrize("value", ["", "  ", "auto", " auto "])
def test_the_cluster_is_used_where_the_setting_says_so(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARDBASE_RAY", value)
    assert on_cluster() == (value.strip() == "auto")


@pytest.mark.parametrize("value", ["yes", "1", "AUTO", "ray://head:10001", "10.0.0.1:6379", "http//x", "auto,auto"])
def test_another_setting_is_refused(value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REWARDBASE_RAY", value)
    study = scoring_study(tmp_path, tmp_path)
    with pytest.raises(SystemExit, match=rf"^REWARDBASE_RAY={re.escape(value)} is neither auto nor an http address"):
        main(arguments(study, tmp_path / "home"))
    monkeypatch.setenv("REWARDBASE_RAY", "https://head:8265")
    with pytest.raises(UserError, match=r"which `make run` submits jobs to; .* set REWARDBASE_RAY=auto"):
        on_cluster()


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/0", "0/0", "a/b", "1/4/2", "0.5/2", "²/4", "1 / 4"])
def test_a_share_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    study = scoring_study(tmp_path, tmp_path)
    with pytest.raises(SystemExit, match=r"not a share of the shards; give i/n with i from 0 to n-1, such as 0/8"):
        main([*arguments(study, tmp_path / "home"), f"--split={text}"])


def test_a_share_is_read() -> None:
    assert Split.parse(" 7/8 ") == Split(7, 8)


def test_the_tasks_of_an_array_do_all_shards_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five shards: by three tasks of an array of three, and the second task once more."""
    study = scoring_study(tmp_path)
    put_sample(study, tmp_path / "home", documents(23))
    said = []
    for task in ("0/3", "1/3", "1/3", "7/9", "2/3"):
        main([*arguments(study, tmp_path / "home"), "--split", task])
        said.append(capsys.readouterr().out)
    assert "tiny: this share is done; 3 of 5 shards are left to others\nrows: 10\n" in said[0]
    assert "1 of 5 shards are left to others\nrows: 8\n" in said[1]
    assert "1 of 5 shards are left to others\nrows: 8\n" in said[2]
    assert "no shard in this share of 5; nothing to do" in said[3]
    assert "rows: 23\n" in said[4]
    alone = tmp_path / "alone"
    put_sample(study, alone, documents(23))
    main(arguments(study, alone))
    assert scores(tmp_path / "home").equals(scores(alone))
    assert costs(tmp_path / "home")["n_tokens"] == costs(alone)["n_tokens"]


def test_errors_after_which_a_process_is_of_no_use() -> None:
    dead = RuntimeError("no answer")
    dead.__cause__ = type("EngineDeadError", (Exception,), {})()
    for error in (dead, MemoryError(), RuntimeError("CUDA error: an illegal memory access was encountered")):
        assert is_broken(error)
    assert not is_broken(KeyError("x"))


def said_without_a_cluster(monkeypatch: pytest.MonkeyPatch, **settings: str) -> str:
    """What a person reads where Ray cannot be used, within ten seconds beside the import of Ray."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    import ray.data  # noqa: F401

    began = time.monotonic()
    with pytest.raises(UserError) as error, connected():
        pass
    assert time.monotonic() - began < 10
    return str(error.value)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "192.0.2.1:6379", "nowhere.invalid:6379", "head", "127.0.0.1:99999"]
)
def test_an_address_where_no_cluster_is(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = said_without_a_cluster(monkeypatch, RAY_ADDRESS=address)
    assert said.startswith(f"REWARDBASE_RAY=auto, and no Ray cluster answers at RAY_ADDRESS={address}; start one")


def test_a_cluster_without_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said = said_without_a_cluster(monkeypatch, RAY_AUTH_MODE="disabled")
    assert said.startswith("RAY_AUTH_MODE=disabled lets everybody who reaches the cluster run programs on it; set")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHosts]:
    """One host with Ray and room for two workers."""
    if problem := hosts.missing():
        assert not os.environ.get("CI"), problem
        pytest.skip(problem)
    with ray_hosts(tmp_path_factory.mktemp("cluster"), head_cores=2) as made:
        yield made


def on_head(cluster: RayHosts, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return cluster.head.run(sys.executable, "-m", *command, environment=environment(**settings))


def test_workers_of_a_cluster_score_what_one_process_does(cluster: RayHosts, tmp_path: Path) -> None:
    study = scoring_study(tmp_path)
    for home in ("home", "alone"):
        put_sample(study, tmp_path / home, documents(40))
    job = ["models_train.jobs.score_documents", *arguments(study, tmp_path / "home")]
    done = on_head(cluster, *job)
    assert done.returncode == 0, done.stderr
    assert CORE.sub("", done.stderr) == ""
    assert re.search(r"^node1: tiny: packed engine .*, float32 on cpu, like plain Transformers", done.stdout, re.M)
    assert "\nrows: 40\n" in done.stdout
    main(arguments(study, tmp_path / "alone"))
    assert len(parts(tmp_path / "home")) == 8
    assert scores(tmp_path / "home").equals(scores(tmp_path / "alone"))
    assert costs(tmp_path / "home")["n_tokens"] == costs(tmp_path / "alone")["n_tokens"]
    again = on_head(cluster, *job)
    assert again.returncode == 0 and "all 8 shards are done; nothing to do" in again.stdout


def test_a_machine_with_other_libraries_or_without_the_sample(cluster: RayHosts, tmp_path: Path) -> None:
    """The worker's machine refuses before it scores; the words name it."""
    study = scoring_study(tmp_path)
    put_sample(study, tmp_path / "home", documents(10))
    code = (
        "import sys\nfrom models_train import metering\nfrom models_train.jobs import score_documents as job\n"
        'job.library_versions = lambda: metering.library_versions().replace(\'"torch": "\', \'"torch": "9\')\n'
        "job.main(sys.argv[1:])"
    )
    script = tmp_path / "job.py"
    script.write_text(code)
    done = cluster.head.run(
        sys.executable, str(script), *arguments(study, tmp_path / "home"), environment=environment()
    )
    assert done.returncode == 1
    assert re.match(
        r"a machine of the cluster has other libraries than that of the job: torch \S+ instead of 9\S+; install "
        r"requirements.lock on all of them \(on node1\)\n$",
        CORE.sub("", done.stderr),
    ), done.stderr
    assert parts(tmp_path / "home") == []


def shards(cluster: RayHosts, folder: Path, *words: str, **settings: str) -> tuple[list[dict[str, Any]], str]:
    """Facts of each shard, and the error."""
    folder.mkdir()
    done = on_head(cluster, "tests.support.shard_workers", str(folder), *words, **settings)
    return [json.loads(line) for line in done.stdout.splitlines() if line[0] == "{"], CORE.sub("", done.stderr)


def test_killers_and_broken_engines_stop_nobody_else(cluster: RayHosts, tmp_path: Path) -> None:
    """A shard that always kills its worker, and an engine that dies once in a worker that lives on."""
    facts, said = shards(cluster, tmp_path / "work", "10", "0.05", "killer:3", "broken:6")
    assert said == ""
    by_shard = {one["shard"]: one["status"] for one in facts}
    assert by_shard == {n: "done" for n in range(10)} | {3: "2 workers died with its shard"}
    begun = [line.split() for line in (tmp_path / "work" / "begun").read_text().splitlines()]
    assert sum(shard == "3" for shard, _ in begun) == 2
    processes = [process for shard, process in begun if shard == "6"]
    assert len(processes) == 2 and processes[0] != processes[1]
    choices = {text for one in facts for text in one["said"]}
    assert len(choices) == 1


def test_words_and_defects_of_workers_reach_the_job(cluster: RayHosts, tmp_path: Path) -> None:
    _, said = shards(cluster, tmp_path / "refused", "4", "0", "refused:2")
    assert said == "shard 2 is wrong; correct it (on node1)\n"
    _, said = shards(cluster, tmp_path / "defect", "4", "0", "defect:2")
    assert "Traceback" in said and "KeyError: 'a defect'" in said
    _, said = shards(cluster, tmp_path / "unable", "4", "0", "unable:0")
    assert said.startswith("a worker died 5 times before its first shard, as it does where the model does not fit in")


def test_a_wrong_token_is_refused(cluster: RayHosts, tmp_path: Path) -> None:
    for token in ("another-token-of-somebody-else-0123456", ""):
        began = time.monotonic()
        facts, said = shards(
            cluster, tmp_path / f"token{len(token)}", "2", "0", RAY_AUTH_TOKEN=token, HOME="/nonexistent"
        )
        assert time.monotonic() - began < 60
        assert said.startswith("the Ray cluster does not take this token, or there is none; set RAY_AUTH_TOKEN to the")
        assert facts == [] and "Traceback" not in said and "somebody" not in said


def test_nothing_imports_ray_without_the_setting() -> None:
    code = (
        "import sys, models_train.jobs.score_documents; print([name for name in sys.modules if name.startswith('ray')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("devices", "said"), [("0", "trains nothing"), ("-2", "trains nothing"), ("2", "is for a Ray")]
)
def test_devices_that_cannot_be(devices: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REWARDBASE_RAY", raising=False)
    given = ["--study", "study.yaml", "--home", str(tmp_path), "--model", "a", "--objective", "regression"]
    with pytest.raises(SystemExit, match=rf"^--devices {devices} {said}"):
        run_job("train_reward_model", [*given, f"--devices={devices}"])
