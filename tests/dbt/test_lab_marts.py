"""From a lab's truth in parts to fct_lab_truth_checks: what was planted is found, once per scored model."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from dagster_project.environment import SEEDS, STUDIES
from dagster_project.lib.study_plan import write_study_parts
from models_train.parts import write_part
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

REPOSITORY = Path(__file__).resolve().parents[2]
DOMAINS = ("Github", "Book", "ArXiv", "Wikipedia", "StackExchange")
PER_DOMAIN = 60
# name: millions of parameters, family; `small` shares the scores of `seven`, which saw as many tokens.
PRETRAINED = {"one": 0.1, "two": 0.2, "three": 0.4, "four": 0.3, "five": 0.8, "six": 1.6, "seven": 0.7}
SCORED = (*PRETRAINED, "one-sft")
WEIGHTS = {"helpfulness": 0.65, "correctness": 0.8, "coherence": 0.45, "complexity": 0.1, "verbosity": -0.4}
KINDS = ("presence_score", "bits_per_byte", "min_k", "min_k_plus_plus")
BUILT = ["--select", "+fct_lab_truth_checks", "+dim_lab_mixes", "+dim_lab_settings", "--indirect-selection", "cautious"]
Dbt = Callable[..., subprocess.CompletedProcess[str]]


def shares() -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(6).dirichlet(np.ones(len(DOMAINS)), len(PRETRAINED))
    found = dict(zip(PRETRAINED, drawn, strict=True))
    return found | {"one-sft": found["one"], "small": found["seven"]}


def study_rows() -> dict[str, list[dict[str, Any]]]:
    sizes = PRETRAINED | {"one-sft": 0.1, "small": 0.2}
    models = [
        {
            "model_id": name, "hub_id": f"./{name}", "revision": None, "publisher": name,
            "family": "seven" if name == "small" else name, "params_b": size / 1000, "tokens_t": 1e-6,
            "stage": "sft" if name == "one-sft" else "base",
            "parent_model_id": "one" if name == "one-sft" else None, "is_compared": True, "is_candidate": False,
            "licence": None, "downloads": None,
        }
        for name, size in sizes.items()
    ]  # fmt: skip
    mixes = [
        {
            "model_id": name, "domain": domain, "share": float(share), "pretraining_tokens": 1000,
            "pretrained_model_id": name.removesuffix("-sft"), "parameters_m": sizes[name],
        }
        for name, mix in shares().items()
        for domain, share in zip(DOMAINS, mix, strict=True)
    ]  # fmt: skip
    group = {
        "size_group": "any",
        "position": 1,
        "params_b_from": 0.0,
        "params_b_below": None,
        "default_model_id": "one",
    }
    return {
        "studies": [{"title": "Lab", "synthetic": True, "source": "a test", "use_loose_benchmarks": False}],
        "size_groups": [group],
        "base_models": models,
        "study_seeds": [],
        "lab_mixes": mixes,
        "lab_attribute_weights": [{"attribute": name, "weight": weight} for name, weight in WEIGHTS.items()],
        "lab_settings": [{"setting": "preference_noise", "value": 0.5}],
    }


def scores(model: str) -> pl.DataFrame:
    """presence_score rises with the share and bits_per_byte falls; min_k knows nothing; Min-K%++ is missing for two."""
    easy = np.random.default_rng(3).normal(size=PER_DOMAIN)
    frames = []
    for domain, share in zip(DOMAINS, shares()[model], strict=True):
        rises = 2 * share + 0.1 * easy
        nothing = np.random.default_rng([*model.encode(), *domain.encode()]).normal(size=PER_DOMAIN) - 9
        missing = model in ("six", "seven")
        frames.append(
            pl.DataFrame(
                {
                    "domain": [domain] * PER_DOMAIN,
                    "document_id": [f"{domain}{number}" for number in range(PER_DOMAIN)],
                    "presence_score": rises - 4,
                    "bits_per_byte": 4 - rises,
                    "min_k": nothing,
                    "min_k_plus_plus": [None] * PER_DOMAIN if missing else list(rises - 5),
                }
            )
        )
    constants = {"model_id": model, "corpus": "lab", "shard": "0", "engine": "packed", "bos_policy": "bos"}
    constants |= {"dtype": "float32", "versions": "{}", "status": "ok"}
    return pl.concat(frames).with_columns(
        *(pl.lit(value).alias(name) for name, value in constants.items()),
        pl.lit(100).alias("n_tokens_scored"),
        pl.lit(300).alias("n_bytes_scored"),
        pl.lit(False).alias("is_truncated"),
        (100 * pl.col("presence_score")).alias("logprob_sum"),
        pl.lit(None, pl.Float64).alias("logprob_per_zlib_byte"),
    )


def searches() -> dict[str, list[dict[str, Any]]]:
    """Regression on five models: the weights found are the truth with one attribute off, by another amount in each."""
    found: dict[str, list[dict[str, Any]]] = {"reward_model_searches": [], "reward_model_checkpoints": []}
    found["reward_model_runs"] = []
    text = dict.fromkeys(("hub_id", "revision", "recipe_hash", "data_hash", "device", "precision", "versions"), "x")
    count = dict.fromkeys(("n_steps_planned", "n_steps", "n_examples", "n_examples_dropped", "n_examples_truncated"), 1)
    for place, model in enumerate(("one", "two", "three", "four", "five")):
        own = {"model_id": model, "objective": "regression"}
        off = WEIGHTS | {"complexity": 0.1 + 0.05 * place}
        found["reward_model_searches"].append(
            own | {"method": "exhaustive", "training_run": "a", "step": 1, "learning_rate": 1e-3, "path": "x"}
            | {"validation_accuracy": 0.8, "accuracy_choosing_half": 0.82, "optimism_points": 2.0, "n_steps": 2}
            | {"accuracy_other_half": 0.7 + place / 100, "accuracy_mean_rate": 0.6, "accuracy_best_rate": 0.75}
            | {"n_steps_full_grid": 2, "status": "finished", "reason": None}
        )  # fmt: skip
        for run in ("a", "b"):
            ended = {"training_run": run, "step": 1, "validation_accuracy": 0.8, "validation_loss": 1.0}
            found["reward_model_checkpoints"].append(
                own | ended | {f"weight_{name}": weight for name, weight in off.items()}
                | {"n_won": 8, "n_ties": 0, "n_pairs": 10, "n_optima": 3, "mean_margin": 0.1, "is_selected": run == "a"}
            )  # fmt: skip
            found["reward_model_runs"].append(
                own | text | count
                | {"training_run": run, "learning_rate": 1e-3 if run == "a" else 2e-3, "seed": 0, "n_tokens": 1}
                | {"device_seconds": 1.0, "n_devices": 1, "peak_memory_bytes": None, "status": "finished"}
                | {"reason": None, "is_selected": run == "a"}
            )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def home(run_dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("lab")).ensure()
    write_study_parts(STUDIES, SEEDS, home.parts)
    for name, rows in study_rows().items():
        write_part(home.parts, TABLES[name], rows, study_id="lab", run_id="lab")
    for model in SCORED:
        write_part(home.parts, TABLES["document_scores"], scores(model), study_id="lab", run_id=f"{model}-0")
    for name, rows in searches().items():
        for model in {row["model_id"] for row in rows}:
            mine = [row for row in rows if row["model_id"] == model]
            write_part(home.parts, TABLES[name], mine, study_id="lab", run_id=f"{model}-search")
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)
    done = run_dbt(home, "build", *BUILT)
    assert done.returncode == 0, done.stdout
    return home


@pytest.fixture
def marts(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        connection.execute("use marts")
        yield connection


def rows(marts: duckdb.DuckDBPyConnection, condition: str) -> list[dict[str, Any]]:
    return marts.execute(f"select * from fct_lab_truth_checks where {condition}").pl().to_dicts()


def test_the_planted_share_is_found_and_noise_is_not(marts: duckdb.DuckDBPyConnection) -> None:
    found = rows(marts, "check_name = 'domain_share' and statistic = 'spearman'")
    assert {row["domain"] for row in found} == {*DOMAINS, "all"} and {row["score_kind"] for row in found} == set(KINDS)
    for row in found:
        assert row["n"] == len(SCORED) - (2 if row["score_kind"] == "min_k_plus_plus" else 0), "small has no scores"
        if row["score_kind"] == "min_k":
            assert row["value"] < 0.9 and row["low"] < row["value"] < row["high"]
        else:
            assert row["value"] == row["low"] == row["high"] == 1
    sizes = [math.log10(PRETRAINED[name.removesuffix("-sft")]) for name in SCORED]
    book = [shares()[name][1] for name in SCORED]
    (one,) = [row for row in found if row["domain"] == "Book" and row["score_kind"] == "bits_per_byte"]
    assert one["baseline"] == pytest.approx(stats.spearmanr(sizes, book).statistic)


def test_distances_order_the_pairs(marts: duckdb.DuckDBPyConnection) -> None:
    found = rows(marts, "check_name = 'mix_distance' and statistic = 'spearman' and domain = 'Github'")
    by_kind = {row["score_kind"]: row for row in found}
    assert by_kind["presence_score"]["n"] == 28 and by_kind["min_k_plus_plus"]["n"] == 15
    bins = {
        model: np.array(n, dtype=float)
        for model, n in marts.execute(
            "select model_id, list(n order by bin) from intermediate.int_score_histograms where study_id = 'lab' "
            "and domain = 'Github' and score_kind = 'presence_score' and binning = 'quantile' group by all"
        ).fetchall()
    }
    names, mix = sorted(SCORED), shares()
    both = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    score = [jensenshannon(bins[a], bins[b], base=2) for a, b in both]
    true = [jensenshannon([mix[a][0], 1 - mix[a][0]], [mix[b][0], 1 - mix[b][0]], base=2) for a, b in both]
    expected = stats.spearmanr(np.nan_to_num(score).round(6), np.nan_to_num(true).round(6)).statistic
    assert by_kind["presence_score"]["value"] == pytest.approx(expected) and expected > 0.5
    assert abs(by_kind["min_k"]["value"]) < expected


def test_kinds_are_compared_with_each_other_and_with_size(marts: duckdb.DuckDBPyConnection) -> None:
    found = rows(marts, "statistic = 'spearman_difference' and check_name = 'domain_share' and domain = 'all'")
    assert len(found) == 6 + 4
    by_pair = {(row["score_kind"], row["compared_with"]): row for row in found}
    same = by_pair["presence_score", "bits_per_byte"]
    assert (same["value"], same["low"], same["high"], same["baseline"]) == (0, 0, 0, 0)
    assert by_pair["presence_score", "min_k"]["low"] > 0
    assert by_pair["presence_score", "log10_parameters"]["value"] > 0


def test_searches_against_the_truth(marts: duckdb.DuckDBPyConnection) -> None:
    true = np.array(list(WEIGHTS.values()))
    cosines = {}
    for place, model in enumerate(("one", "two", "three", "four", "five")):
        vector = true + np.array([0, 0, 0, 0.05 * place, 0])
        cosines[model] = float(vector @ true / np.linalg.norm(vector) / np.linalg.norm(true))
    found = rows(marts, "statistic = 'cosine' and baseline_name = 'equal_weights'")
    assert {row["model_id"]: row["value"] for row in found if row["model_id"]} == pytest.approx(cosines)
    (whole,) = [row for row in found if row["model_id"] is None]
    assert whole["value"] == pytest.approx(cosines["three"]) and whole["n"] == 5
    assert whole["baseline"] == pytest.approx(np.abs(true).sum() / np.linalg.norm(true) / np.sqrt(5))
    (rate,) = rows(marts, "statistic = 'accuracy' and model_id is null")
    assert (rate["value"], rate["baseline"], rate["n"]) == (pytest.approx(72), pytest.approx(60), 5)


def test_what_is_known_can_be_read(marts: duckdb.DuckDBPyConnection) -> None:
    settings = dict(marts.execute("select setting, value from dim_lab_settings where study_id = 'lab'").fetchall())
    assert settings == {"preference_noise": 0.5} | {f"weight_{name}": weight for name, weight in WEIGHTS.items()}
    sums = marts.execute("select sum(share) from dim_lab_mixes group by model_id").fetchall()
    assert len(sums) == len(SCORED) + 1 and all(total == pytest.approx(1) for (total,) in sums)
    assert marts.execute("select distinct study_id from fct_lab_truth_checks").fetchall() == [("lab",)]
