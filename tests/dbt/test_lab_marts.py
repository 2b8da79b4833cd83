"""From a lab's truth in parts to fct_lab_truth_checks: what was planted is found in each cell, and lost in the pool."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from dagster_project.environment import SEEDS, STUDIES
from dagster_project.lib.study_plan import write_study_parts
from models_train.data.records import ATTRIBUTES
from models_train.parts import write_part
from tests.support.reward_parts import write_rewards
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

DOMAINS = ("Github", "Book", "ArXiv", "Wikipedia", "StackExchange")
PER_DOMAIN = 60
MIXES = np.random.default_rng(6).dirichlet(np.ones(len(DOMAINS)), 5)
CELLS = {"small": (64, 1000, 0.0), "long": (64, 3000, 2.0), "wide": (128, 1000, 0.7)}
"""Width, tokens, and how much higher the scores are than the mix alone would make them."""
MODELS = {f"{cell}-{mix}": (cell, mix) for cell in CELLS for mix in range(len(MIXES))}
TRAINED = [f"small-{mix}" for mix in range(len(MIXES))]
WEIGHTS = {"helpfulness": 0.65, "correctness": 0.8, "coherence": 0.45, "complexity": 0.1, "verbosity": -0.4}
N_ITEMS = 40
BUILT = ["--select", "+fct_lab_truth_checks", "+dim_lab_mixes", "+dim_lab_settings", "--indirect-selection", "cautious"]
Dbt = Callable[..., subprocess.CompletedProcess[str]]


def study_rows() -> dict[str, list[dict[str, Any]]]:
    """All models of the cells, of which five are compared; and a further stage of one, with its parent's scores."""
    names = [*MODELS, "small-0-sft"]
    models = [
        {
            "model_id": name, "hub_id": f"./{name}", "revision": None, "publisher": name[:7],
            "family": name.removesuffix("-sft"), "params_b": 0.0001, "tokens_t": 1e-6,
            "stage": "sft" if name.endswith("-sft") else "base",
            "parent_model_id": "small-0" if name.endswith("-sft") else None,
            "is_compared": name in TRAINED or name.endswith("-sft"), "is_candidate": False,
            "licence": None, "downloads": None,
        }
        for name in names
    ]  # fmt: skip
    mixes = []
    for name in names:
        cell, mix = MODELS[name.removesuffix("-sft")]
        hidden, tokens, _ = CELLS[cell]
        own = {"pretraining_tokens": tokens, "pretrained_model_id": name.removesuffix("-sft"), "hidden": hidden}
        own |= {"model_id": name, "parameters_m": hidden / 500, "architecture": "llama", "layers": 2, "vocabulary": 300}
        mixes += [
            own | {"domain": domain, "share": float(share)} for domain, share in zip(DOMAINS, MIXES[mix], strict=True)
        ]
    group = {
        "size_group": "any",
        "position": 1,
        "params_b_from": 0.0,
        "params_b_below": None,
        "default_model_id": "small-0",
    }
    return {
        "studies": [
            {"title": "Lab", "synthetic": True, "source": "a test", "use_loose_benchmarks": False, "answer_on": None}
        ],
        "size_groups": [group],
        "base_models": models,
        "study_seeds": [],
        "lab_mixes": mixes,
        "lab_attribute_weights": [{"attribute": name, "weight": weight} for name, weight in WEIGHTS.items()],
        "lab_settings": [{"setting": "preference_noise", "value": 0.5}],
    }


def scores(model: str) -> pl.DataFrame:
    """presence_score rises with the share, and with the cell; bits_per_byte knows nothing."""
    cell, mix = MODELS[model]
    easy = np.random.default_rng(3).normal(size=PER_DOMAIN)
    frames = []
    for domain, share in zip(DOMAINS, MIXES[mix], strict=True):
        nothing = np.random.default_rng([*model.encode(), *domain.encode()])
        frames.append(
            pl.DataFrame(
                {
                    "domain": [domain] * PER_DOMAIN,
                    "document_id": [f"{domain}{number}" for number in range(PER_DOMAIN)],
                    "presence_score": 2 * share + CELLS[cell][2] + 0.1 * easy - 8,
                    "bits_per_byte": nothing.normal() + nothing.normal(size=PER_DOMAIN) + 8,
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
        *(pl.lit(None, pl.Float64).alias(name) for name in ("min_k", "min_k_plus_plus", "logprob_per_zlib_byte")),
    )


def margins(model: str) -> np.ndarray:
    """(items, attributes): verbosity says nothing, the others are better for the chosen response now and then."""
    drawn = np.random.default_rng([*model.encode()]).normal(0.4, 1, (N_ITEMS, len(ATTRIBUTES)))
    drawn[:, -1] = np.abs(drawn[:, -1]) * 2
    return drawn


def merged(model: str) -> np.ndarray:
    """(attributes,) the vector that the search chose: the truth without verbosity, but for the last model."""
    return np.array([*list(WEIGHTS.values())[:4], -0.4 if model == TRAINED[-1] else 0.0])


def rewards(model: str) -> list[dict[str, Any]]:
    """The rejected completion has rewards of 0, so that those of the chosen one are the margins."""
    found = []
    for item, margin in enumerate(margins(model)):
        values = dict(zip(ATTRIBUTES, margin, strict=True)) | {"merged": float(margin @ merged(model))}
        found += [
            {
                "reward_id": f"{model}/regression", "benchmark": "rewardbench", "item_id": str(item),
                "subset": "alpacaeval-easy" if item % 2 else "hep-python", "completion": completion,
                "attribute": attribute, "reward": value if completion == "chosen" else 0.0, "n_tokens": 1,
                "is_truncated": False, "status": "ok", "source": None,
            }
            for attribute, value in values.items()
            for completion in ("chosen", "rejected")
        ]  # fmt: skip
    return found


def searches() -> dict[str, list[dict[str, Any]]]:
    """Regression on five models, two rates each."""
    found: dict[str, list[dict[str, Any]]] = {"reward_model_searches": [], "reward_model_checkpoints": []}
    found["reward_model_runs"] = []
    text = dict.fromkeys(("hub_id", "revision", "recipe_hash", "data_hash", "device", "precision", "versions"), "x")
    count = dict.fromkeys(("n_steps_planned", "n_steps", "n_examples", "n_examples_dropped", "n_examples_truncated"), 1)
    for place, model in enumerate(TRAINED):
        own = {"model_id": model, "objective": "regression"}
        weights = dict(zip(ATTRIBUTES, merged(model), strict=True))
        found["reward_model_searches"].append(
            own | {"method": "exhaustive", "training_run": "a", "step": 1, "learning_rate": 1e-3, "path": "x"}
            | {"validation_accuracy": 0.8, "accuracy_choosing_half": 0.82, "optimism_points": 2.0, "n_steps": 2}
            | {"accuracy_other_half": 0.7 + place / 100, "accuracy_mean_rate": 0.6, "accuracy_best_rate": 0.75}
            | {"n_steps_full_grid": 2, "status": "finished", "reason": None}
        )  # fmt: skip
        for run in ("a", "b"):
            ended = {"training_run": run, "step": 1, "validation_accuracy": 0.8, "validation_loss": 1.0}
            found["reward_model_checkpoints"].append(
                own | ended | {f"weight_{name}": weight for name, weight in weights.items()}
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
    for model in MODELS:
        write_part(home.parts, TABLES["document_scores"], scores(model), study_id="lab", run_id=f"{model}-0")
    for name, rows in searches().items():
        for model in TRAINED:
            mine = [row for row in rows if row["model_id"] == model]
            write_part(home.parts, TABLES[name], mine, study_id="lab", run_id=f"{model}-search")
    for model in TRAINED:
        write_rewards(home.parts, model, "regression", rewards(model), study_id="lab", run_id=f"{model}-test")
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


def presence(model: str) -> np.ndarray:
    """(domains,) mean presence scores, but for a constant."""
    cell, mix = MODELS[model]
    return 2 * MIXES[mix] + CELLS[cell][2]


def test_within_cells_the_planted_share_is_found(marts: duckdb.DuckDBPyConnection) -> None:
    found = {row["cell"]: row for row in rows(marts, "check_name = 'domain_share' and score_kind = 'presence_score'")}
    assert len(found) == len(CELLS) + 2
    for cell, row in found.items():
        if cell != "pooled":
            assert (row["value"], row["low"], row["high"], row["oracle"]) == (1, 1, 1, 1)
    assert found["within cells"]["n"] == len(MODELS) * len(DOMAINS), "the further stage has no scores of its own"
    known = rows(marts, "check_name = 'domain_share' and score_kind = 'bits_per_byte' and cell = 'within cells'")
    assert known[0]["low"] < 0 < known[0]["high"]


def test_pooled_figures_lose_it_and_the_budget_shows_why(marts: duckdb.DuckDBPyConnection) -> None:
    pooled = {(row["check_name"], row["score_kind"]): row["value"] for row in rows(marts, "cell = 'pooled' and n > 0")}
    shares = np.array([MIXES[mix] for _, mix in MODELS.values()])
    estimates = np.array([presence(name) for name in MODELS])
    expected = np.mean([stats.spearmanr(estimates[:, k], shares[:, k]).statistic for k in range(len(DOMAINS))])
    assert pooled["domain_share", "presence_score"] == pytest.approx(expected) and expected < 0.7
    assert pooled["domain_share", "centred_presence_score"] > 0.95, "1, but for models of one mix, which are ties"
    tokens = shares * np.array([CELLS[cell][1] for cell, _ in MODELS.values()])[:, None]
    expected = np.mean([stats.spearmanr(estimates[:, k], tokens[:, k]).statistic for k in range(len(DOMAINS))])
    assert pooled["domain_tokens", "presence_score"] == pytest.approx(expected)
    assert (
        pooled["budget_distance_domain_wise", "presence_score"] > pooled["mix_distance_domain_wise", "presence_score"]
    )


def test_distances_order_the_pairs(marts: duckdb.DuckDBPyConnection) -> None:
    names = sorted(name for name in MODELS if name.startswith("small"))
    both = list(combinations(names, 2))
    true = [jensenshannon(MIXES[MODELS[a][1]], MIXES[MODELS[b][1]], base=2) for a, b in both]
    stored = marts.execute(
        "select model_a, model_b, max(distance) filter (where domain = 'all'), avg(distance) filter (where domain != "
        "'all') from intermediate.int_score_distances where study_id = 'lab' and binning = 'quantile' "
        "and score_kind = 'presence_score' group by all"
    ).fetchall()
    of_pair = {(a, b): (whole, wise) for a, b, whole, wise in stored}
    euclid = [float(np.linalg.norm(MIXES[MODELS[a][1]] - MIXES[MODELS[b][1]])) for a, b in both]
    found = {
        row["check_name"]: row
        for row in rows(marts, "score_kind = 'presence_score' and cell like '% 64, %, 1000 tokens'")
    }
    for name, estimate in (
        ("all_documents", [of_pair[pair][0] for pair in both]),
        ("domain_wise", [of_pair[pair][1] for pair in both]),
        ("centred_means", euclid),
    ):
        row = found[f"mix_distance_{name}"]
        assert row["n"] == len(both)
        expected = stats.spearmanr(np.round(estimate, 6), np.round(true, 6)).statistic
        assert row["value"] == pytest.approx(expected), name
        # Planted scores are those of an oracle: their means lie on a line of the shares.
        assert row["oracle"] == pytest.approx(expected, abs=0.1), name


def test_what_mix_size_and_tokens_explain(marts: duckdb.DuckDBPyConnection) -> None:
    """Against regressions on dummies, with the mean over both orders of size and tokens."""
    found = {
        row["statistic"]: row["value"]
        for row in rows(marts, "check_name = 'variance' and score_kind = 'presence_score'")
    }
    columns = {
        "mix": np.eye(len(MIXES))[[mix for _, mix in MODELS.values()]],
        "size": np.array([[CELLS[cell][0] == 128] for cell, _ in MODELS.values()], dtype=float),
        "tokens": np.array([[CELLS[cell][1] == 3000] for cell, _ in MODELS.values()], dtype=float),
    }
    scores = np.array([presence(name) for name in MODELS])
    total = ((scores - scores.mean(axis=0)) ** 2).sum()

    def explained(names: tuple[str, ...]) -> float:
        design = np.hstack([np.ones((len(scores), 1)), *(columns[name] for name in names)])
        rest = scores - design @ np.linalg.lstsq(design, scores, rcond=None)[0]
        return 1 - (rest**2).sum() / total

    for name in columns:
        orders = list(permutations(columns))
        gains = [explained(o[: o.index(name) + 1]) - explained(o[: o.index(name)]) for o in orders]
        assert found[f"share_{name}"] == pytest.approx(np.mean(gains)), name
    assert found["share_rest"] == pytest.approx(0, abs=1e-9) and sum(found.values()) == pytest.approx(1)


def test_the_merge_search_by_pairs_won(marts: duckdb.DuckDBPyConnection) -> None:
    won = {
        name: np.array([margins(model) @ weights(model) > 0 for model in TRAINED])
        for name, weights in (
            ("merged", merged),
            ("equal_weights", lambda _: np.array([1, 1, 1, 1, -1])),
            ("true_weights", lambda _: np.array(list(WEIGHTS.values()))),
        )
    }
    found = rows(marts, "check_name = 'merge_search'")
    for name in ("equal_weights", "true_weights"):
        gain = 100 * (won["merged"].astype(float) - won[name])
        each = {row["model_id"]: row["value"] for row in found if row["baseline_name"] == name and row["model_id"]}
        assert each == pytest.approx(dict(zip(TRAINED, gain.mean(axis=1), strict=True)))
        (whole,) = (row for row in found if row["baseline_name"] == name and row["model_id"] is None)
        assert whole["value"] == pytest.approx(gain.mean()) and whole["n"] == len(TRAINED)
        assert whole["baseline"] == pytest.approx(100 * won[name].mean())
        over_models = stats.sem(gain.mean(axis=1))
        over_items = gain.mean(axis=0)
        items = math.sqrt(sum(over_items[half::2].var(ddof=1) * N_ITEMS / 2 for half in (0, 1))) / N_ITEMS
        reach = stats.t.ppf(0.975, len(TRAINED) - 1) * math.hypot(over_models, items)
        assert (whole["low"], whole["high"]) == pytest.approx((gain.mean() - reach, gain.mean() + reach))
        assert whole["oracle"] >= whole["value"], "chosen on the test pairs themselves"


def test_searches_against_the_truth(marts: duckdb.DuckDBPyConnection) -> None:
    true = np.array(list(WEIGHTS.values()))
    cosines = [float(merged(m) @ true / np.linalg.norm(merged(m)) / np.linalg.norm(true)) for m in TRAINED]
    found = rows(marts, "statistic = 'cosine'")
    assert {row["model_id"]: row["value"] for row in found if row["model_id"]} == pytest.approx(
        dict(zip(TRAINED, cosines, strict=True))
    )
    (whole,) = [row for row in found if row["model_id"] is None]
    assert whole["value"] == pytest.approx(np.median(cosines)) and whole["n"] == 5
    assert whole["baseline"] == pytest.approx(np.abs(true).sum() / np.linalg.norm(true) / np.sqrt(5))
    (rate,) = rows(marts, "statistic = 'accuracy' and model_id is null")
    assert (rate["value"], rate["baseline"], rate["oracle"]) == pytest.approx((72, 60, 75))


def test_what_is_known_can_be_read(marts: duckdb.DuckDBPyConnection) -> None:
    settings = dict(marts.execute("select setting, value from dim_lab_settings where study_id = 'lab'").fetchall())
    assert settings == {"preference_noise": 0.5} | {f"weight_{name}": weight for name, weight in WEIGHTS.items()}
    sums = marts.execute("select sum(share) from dim_lab_mixes group by model_id").fetchall()
    assert len(sums) == len(MODELS) + 1 and all(total == pytest.approx(1) for (total,) in sums)
    assert marts.execute("select distinct study_id from fct_lab_truth_checks").fetchall() == [("lab",)]
