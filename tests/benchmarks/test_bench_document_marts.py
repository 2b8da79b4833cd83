"""Distributions and distances of document scores at the paper's size: 40 models x 1,000,000 documents, by dbt.

Run by `make bench`. Times are those of dbt's nodes, from the first one's start to the last one's end; what dbt itself
takes to start is printed beside them. REWARDBASE_BENCH_DOCUMENTS and REWARDBASE_BENCH_MODELS make it smaller.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon

from tests.benchmarks.document_warehouse import DOMAINS, add_model, make
from tests.support import score_distances
from warehouse.connection import write
from warehouse.paths import Home

pytestmark = pytest.mark.bench

REPOSITORY = Path(__file__).resolve().parents[2]
N_MODELS = int(os.environ.get("REWARDBASE_BENCH_MODELS", "40"))
PER_DOMAIN = int(os.environ.get("REWARDBASE_BENCH_DOCUMENTS", "200000"))
N_SIMULATIONS = 400
PAPERS_SIZE = N_MODELS >= 40 and PER_DOMAIN >= 200_000
LIMITS = {"everything from nothing": 15.0, "a new model": 2.0}
EVERYTHING = ("int_scored_runs", "int_document_scorings", "int_score_donors", "int_fine_histograms", "int_score_cells",
              "int_score_histograms", "fct_presence_score_distributions", "int_score_distances",
              "int_score_wasserstein", "int_score_ranks", "int_score_correlations",
              "fct_jensen_shannon_distances")  # fmt: skip
BEFORE = tuple(f"+{node}" for node in EVERYTHING)
"""With all that these read, but for themselves."""
MEANS = ("int_domain_scores", "fct_presence_by_domain")


def dbt(home: Home, *nodes: str, but: tuple[str, ...] = ("no_node",)) -> tuple[float, float, float]:
    """Build the nodes but some; returns seconds of the nodes, of the whole command, and of its processors."""
    environment = os.environ | {
        "REWARDBASE_HOME": str(home.root),
        "DBT_TARGET_PATH": str(home.dbt_target),
        "DBT_LOG_PATH": str(home.dbt_logs),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    folder = str(REPOSITORY / "dbt")
    types = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
    command = [
        sys.executable,
        "-m",
        "dbt.cli.main",
        "--no-use-colors",
        "build",
        *types,
        "--select",
        *nodes,
        "--exclude",
        *but,
    ]
    began, used = time.perf_counter(), processor_seconds()
    done = subprocess.run(
        [*command, "--project-dir", folder, "--profiles-dir", folder],
        env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    whole = time.perf_counter() - began
    assert done.returncode == 0, done.stdout
    results = json.loads((home.dbt_target / "run_results.json").read_text())["results"]
    models = sorted(
        (result for result in results if result["unique_id"].startswith("model.")),
        key=lambda result: -result["execution_time"],
    )
    slowest = (f"{result['unique_id'].split('.')[-1]} {result['execution_time']:.2f}" for result in models[:8])
    print("\nslowest, in seconds:", ", ".join(slowest))
    timing = [
        (datetime.fromisoformat(step["started_at"]), datetime.fromisoformat(step["completed_at"]))
        for result in models
        for step in result["timing"]
    ]
    seconds = (max(end for _, end in timing) - min(start for start, _ in timing)).total_seconds()
    return seconds, whole, processor_seconds() - used


def processor_seconds() -> float:
    """Seconds that finished child processes had a processor: little disturbed by other work on the machine."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def check_against_scipy(home: Home) -> float:
    """Largest difference from SciPy's distance over all pairs, kinds and binnings, from the shares in the mart."""
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        shares = {
            tuple(key): np.array(n)
            for *key, n in connection.execute(
                "select score_kind, domain, binning, model_id, list(share order by bin) "
                "from marts.fct_presence_score_distributions group by all"
            ).fetchall()
        }
        rows = connection.execute(
            "select score_kind, domain, binning, model_a, model_b, distance from intermediate.int_score_distances"
        ).fetchall()
    assert len(rows) == 2 * 2 * (len(DOMAINS) + 1) * N_MODELS * (N_MODELS - 1) // 2
    return max(abs(found - jensenshannon(shares[*key, a], shares[*key, b], base=2)) for *key, a, b, found in rows)


def test_coverage_of_the_intervals(tmp_path: Path) -> None:
    """Share of 95 % intervals that hold the true distance, by documents and shift, by the project's SQL."""
    home = Home(tmp_path / "home").ensure()
    make(home, 2, 20, kinds=2)
    dbt(home, *BEFORE)
    rng = np.random.default_rng(0)
    sizes, shifts = (1_000, 10_000, 100_000), (0.0, 0.02, 0.1, 0.3, 0.7, 1.5)
    for n in sizes:
        fine = pl.concat(score_distances.simulated_cells(rng, n, shift, N_SIMULATIONS) for shift in shifts)
        folder = tmp_path / str(n)
        folder.mkdir()
        rows = score_distances.by_the_projects_sql(home.dbt_target, fine, folder)
        found = score_distances.coverage(rows)
        print(f"\n{found}")
        assert found["covered"].min() >= 0.9  # type: ignore[operator]


def test_marts_at_the_papers_size(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").ensure()
    make(home, N_MODELS, PER_DOMAIN, kinds=2)
    dbt(home, *BEFORE, but=EVERYTHING)
    measured = {"everything from nothing": dbt(home, *EVERYTHING)}
    difference = check_against_scipy(home)
    measured["means by domain"] = dbt(home, *MEANS)
    with write(home.warehouse) as connection:
        connection.execute("set memory_limit = '2GB'")
        add_model(connection, N_MODELS, kinds=2)
    measured["a new model"] = dbt(home, *EVERYTHING)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"\n{N_MODELS} models x {PER_DOMAIN * len(DOMAINS):,} documents")
    for name, (nodes, whole, processors) in measured.items():
        limit = f" (limit {LIMITS[name]:.0f} s)" if name in LIMITS else ""
        print(f"  {name}: {nodes:.1f} s{limit}; the whole command {whole:.1f} s, {processors:.1f} s of processors")
    print(f"  largest difference from SciPy: {difference:.1e}; peak memory of dbt: {peak:.1f} GiB")
    assert difference <= 1e-12
    assert peak < 4
    if PAPERS_SIZE:
        assert {name: nodes for name, (nodes, *_) in measured.items() if nodes > LIMITS.get(name, np.inf)} == {}
