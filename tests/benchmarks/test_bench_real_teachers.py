"""Teachers of a real policy on real text: `make example-teachers`, and what the marts then hold."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from models_train.modeling.smollm2 import make_models
from tests.support.programs import REPOSITORY, environment

pytestmark = pytest.mark.bench

STUDY = REPOSITORY / "dagster_project" / "studies" / "examples" / "smollm2_teachers"
POLICY, TEACHER, STRONG = "SmolLM2-135M-Instruct", "SmolLM2-135M-first-10-layers", "SmolLM2-135M-Instruct"
FILLED = (
    "dim_policies", "fct_policy_responses", "fct_teacher_properties", "fct_best_of_n", "fct_overoptimisation",
    "fct_ensembles", "fct_benchmark_ensembles", "fct_reward_uncertainty", "fct_teacher_recommendations",
    "fct_policy_gains", "fct_policy_gain_curves",
)  # fmt: skip


def test_every_mart_on_teachers_is_filled(tmp_path: Path) -> None:
    """REWARDBASE_BENCH_HOME: a home where the models, or a whole run, are there already."""
    home = Path(os.environ.get("REWARDBASE_BENCH_HOME", tmp_path / "home"))
    make_models(home)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "dagster_project.cli.run"],
        cwd=REPOSITORY,
        env=environment(home) | {"REWARDBASE_STUDIES": str(STUDY)},
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{time.monotonic() - began:.0f} s, {cpu:.0f} s of CPU; largest process {after.ru_maxrss / 2**20:.1f} GiB")
    with duckdb.connect(str(home / "published" / "current.duckdb"), read_only=True) as marts:
        counts = {name: marts.execute(f"select count(*) from marts.{name}").fetchone() for name in FILLED}
        assert all(found and found[0] > 0 for found in counts.values()), counts
        responses = marts.execute(
            "select n_prompts, n, n_failed from marts.fct_policy_responses where policy_id = ? and split = 'measure'",
            [POLICY],
        ).fetchall()
        assert responses == [(20, 80, 0)]
        golds = marts.execute(
            "select gold_id, n_prompts, status from marts.fct_teacher_properties where reward_id = ? order by gold_id",
            [f"{TEACHER}/bradley_terry"],
        ).fetchall()
        assert [row[0] for row in golds] == ["checks", "strongest"]
        gains = marts.execute(
            "select gold_id, n_prompts, proxy_gain, gold_gain, kl, status from marts.fct_policy_gains "
            "where scope = 'pooled' order by gold_id"
        ).fetchall()
        assert [row[0] for row in gains] == ["checks", "strongest"]
        for _, n_prompts, *figures, status in gains:
            assert n_prompts == 20 and all(value is not None for value in figures), status
        for row in gains:
            print(*row)
