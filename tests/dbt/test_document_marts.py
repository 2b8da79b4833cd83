"""From scores of documents in parts to the marts: against NumPy and SciPy; donors, engines, failures, reruns."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from itertools import combinations
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
from tests.support import score_distances
from warehouse import landing
from warehouse.connection import write
from warehouse.contracts import TABLES
from warehouse.paths import Home

REPOSITORY = Path(__file__).resolve().parents[2]
DOMAINS = ("ArXiv", "Book", "Github")
PER_DOMAIN = 400
KINDS = ("presence_score", "bits_per_byte", "min_k", "min_k_plus_plus", "logprob_per_zlib_byte")
COMPARED_KINDS = KINDS[:2]
GRIDS = {"presence_score": (-20, 200), "bits_per_byte": (0, 500), "min_k": (-40, 100), "min_k_plus_plus": (-20, 200),
         "logprob_per_zlib_byte": (-20, 500)}  # fmt: skip
"""Lower end, and cells per unit."""
HIGH = {"bits_per_byte": 16, "min_k_plus_plus": 10}
"""Upper end of a grid that does not end at 0; some scores lie outside."""
FIXED = {"presence_score": (-6.0, -1.0), "bits_per_byte": (0.0, 4.0)}
# name: family, billions of parameters, trillions of tokens
MODELS = {
    "ant-1b": ("ant", 1.0, 2.0),
    "ant-3b": ("ant", 3.0, 2.0),
    "ant-7b": ("ant", 7.0, 2.0),
    "ant-9b-more": ("ant", 9.0, 4.0),
    "bee-1b": ("bee", 1.0, 2.0),
    "bee-8b": ("bee", 8.0, 2.0),
    "cat-4b": ("cat", 4.0, None),
    "cat-5b": ("cat", 5.0, None),
}
SCORED = ("ant-3b", "ant-7b", "bee-8b", "cat-4b")
DONORS = {"ant-1b": "ant-7b", "bee-1b": "bee-8b"} | {name: name for name in SCORED}
BUILT = ["--select", "+fct_presence_score_distributions", "+fct_jensen_shannon_distances", "+fct_presence_by_domain",
         "+fct_regression_features", "--indirect-selection", "cautious"]  # fmt: skip
Dbt = Callable[..., subprocess.CompletedProcess[str]]


def study_rows() -> dict[str, list[dict[str, Any]]]:
    models = [
        {
            "model_id": name, "hub_id": f"a/{name}", "revision": None, "publisher": family, "family": family,
            "params_b": params_b, "tokens_t": tokens_t, "stage": "base", "parent_model_id": None,
            "is_compared": name != "bee-1b", "is_candidate": name == "bee-1b", "licence": None, "downloads": None,
        }
        for name, (family, params_b, tokens_t) in MODELS.items()
    ]  # fmt: skip
    names = ("size_group", "position", "params_b_from", "params_b_below", "default_model_id")
    return {
        "studies": [
            {"title": "Yours", "synthetic": True, "source": "a test", "use_loose_benchmarks": False, "answer_on": None}
        ],
        "size_groups": [dict(zip(names, ("any", 1, 0.0, None, "ant-1b"), strict=True))],
        "base_models": models,
        "benchmarks": [],
        "score_bins": [
            {"score_kind": kind, "low": low, "high": high, "n_bins": 60} for kind, (low, high) in FIXED.items()
        ],
        "study_seeds": [],
    }


def documents() -> pl.DataFrame:
    count = len(DOMAINS) * PER_DOMAIN
    return pl.DataFrame(
        {
            "corpus": ["pile"] * count,
            "document_id": [f"{number * 7919:016x}" for number in range(count)],
            "domain": [DOMAINS[number % len(DOMAINS)] for number in range(count)],
            "n_bytes": [1000] * count,
            "n_characters": [1000] * count,
            "content_hash": [f"{number:064x}" for number in range(count)],
        }
    )


def scores(model: str, engine: str = "packed", seed: int = 0, shift: float = 0.0) -> pl.DataFrame:
    """Scores of every document: correlated between models, a few failures that differ from model to model."""
    sample = documents()
    rng = np.random.default_rng([seed, *model.encode()])
    easy = np.random.default_rng(7).normal(size=sample.height)
    domain = sample["domain"].replace_strict({name: place for place, name in enumerate(DOMAINS)}).to_numpy()
    presence = np.round(-3 - 0.4 * domain + shift + 0.5 * easy + 0.2 * rng.normal(size=sample.height), 3)  # with ties
    n_tokens, n_bytes = rng.integers(20, 500, sample.height), rng.integers(100, 2000, sample.height)
    failed = rng.random(sample.height) < (0.02 if model != "bee-8b" else 0)
    frame = sample.select("corpus", "document_id", "domain").with_columns(
        pl.lit(model).alias("model_id"),
        pl.lit(engine).alias("engine"),
        (pl.int_range(sample.height) // 500).cast(pl.String).alias("shard"),
        pl.Series("logprob_sum", presence * n_tokens),
        pl.Series("n_tokens_scored", n_tokens),
        pl.Series("n_bytes_scored", n_bytes),
        pl.Series("is_truncated", rng.random(sample.height) < 0.1),
        pl.lit("bos").alias("bos_policy"),
        pl.Series("presence_score", presence),
        pl.Series("bits_per_byte", -presence * n_tokens / np.log(2) / n_bytes),
        pl.Series("min_k", 2 * presence - 1),
        pl.Series("min_k_plus_plus", presence if engine == "packed" else np.full(sample.height, np.nan)),
        pl.Series("logprob_per_zlib_byte", presence / 3),
        pl.lit("float32").alias("dtype"),
        pl.lit("{}").alias("versions"),
        pl.when(pl.Series(failed)).then(pl.lit("the document is empty")).otherwise(pl.lit("ok")).alias("status"),
    )
    numbers = [pl.when(pl.col("status") == "ok").then(pl.col(name)).alias(name) for name in ("logprob_sum", *KINDS)]
    return frame.with_columns(numbers).with_columns(pl.col("min_k_plus_plus").fill_nan(None))


def write_scores(home: Home, frame: pl.DataFrame, run: str) -> None:
    for (shard,), part in frame.group_by("shard"):
        write_part(home.parts, TABLES["document_scores"], part, study_id="yours", run_id=f"{run}-{shard}")


def load(home: Home) -> None:
    with write(home.warehouse) as connection:
        landing.rebuild(connection, home.parts)


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    """What the marts should be made of, by donor."""
    return {name: scores(name, shift=0.1 * place) for place, name in enumerate(SCORED)}


@pytest.fixture(scope="module")
def home(frames: dict[str, pl.DataFrame], run_dbt: Dbt, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Own scores of four models; vLLM's beside packed ones, of packed nothing but failures, of another corpus."""
    home = Home(tmp_path_factory.mktemp("documents")).ensure()
    write_study_parts(STUDIES, SEEDS, home.parts)
    for name, rows in study_rows().items():
        write_part(home.parts, TABLES[name], rows, study_id="yours", run_id="run")
    write_part(home.parts, TABLES["documents"], documents(), study_id="yours", run_id="sample")
    for name, frame in frames.items():
        own = frame.with_columns(pl.lit("vllm").alias("engine")) if name == "cat-4b" else frame
        write_scores(home, own, name)
    write_scores(home, scores("ant-7b", "vllm", shift=5), "ant-7b-vllm")
    nothing = [pl.lit(None, pl.Float64).alias(name) for name in ("logprob_sum", *KINDS)]
    broken = frames["cat-4b"].with_columns(pl.lit("NaN logits").alias("status"), *nothing)
    write_scores(home, broken, "cat-4b-packed")
    other = scores("bee-8b", shift=-5).with_columns(pl.lit("other").alias("corpus"))
    write_scores(home, other, "bee-8b-other")
    load(home)
    done = run_dbt(home, "build", *BUILT)
    assert done.returncode == 0, done.stdout
    return home


@pytest.fixture
def marts(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        connection.execute("use marts")
        yield connection


def known(frame: pl.DataFrame, kind: str, domain: str) -> np.ndarray:
    """Scores of the documents that have one."""
    wanted = frame.filter(pl.col("domain").is_in(DOMAINS if domain == "all" else [domain]))
    return wanted[kind].drop_nulls().to_numpy()


def cells(scores: np.ndarray, kind: str) -> np.ndarray:
    low, per_unit = GRIDS[kind]
    return np.clip(np.floor((scores - low) * per_unit), 0, (HIGH.get(kind, 0) - low) * per_unit - 1)


def test_donors_are_the_largest_of_a_family_with_equal_tokens(marts: duckdb.DuckDBPyConnection) -> None:
    """ant-3b keeps its own scores; ant-9b-more saw other tokens; cat-5b's tokens are not known: no scores."""
    found = marts.execute("select distinct model_id, donor_model_id, engine, corpus from fct_presence_by_domain")
    expected = {(model, donor, "vllm" if donor == "cat-4b" else "packed", "pile") for model, donor in DONORS.items()}
    assert set(found.fetchall()) == expected


def test_histograms_are_numpys_on_common_edges(
    marts: duckdb.DuckDBPyConnection, frames: dict[str, pl.DataFrame]
) -> None:
    """Quantile edges are the first cells with at least that share of all documents below them."""
    seen = 0
    rows = marts.execute(
        "select score_kind, domain, binning, model_id, list(n order by bin), list(bin order by bin), "
        "list(bin_low order by bin), list(bin_high order by bin), sum(share) "
        "from fct_presence_score_distributions group by all"
    ).fetchall()
    for kind, domain, binning, model, n, bins, low, high, whole in rows:
        own = {name: cells(known(frame, kind, domain), kind) for name, frame in frames.items()}
        start, per_unit = GRIDS[kind]
        found = np.round((np.array([*low, high[-1]]) - start) * per_unit)
        assert low[1:] == high[:-1]
        assert n == np.histogram(own[DONORS[model]], found - 0.5)[0].tolist()
        assert whole == pytest.approx(1)
        pool = np.concatenate(list(own.values()))
        if binning == "fixed":
            edges = np.linspace(*FIXED[kind], 61)[1:-1]
            assert np.abs(found[1:-1] - (edges - start) * per_unit).max() <= 0.5 + 1e-9
        else:
            for bin_number, cell in zip(bins[1:], found[1:-1], strict=True):
                assert np.mean(pool < cell) >= (bin_number - 1) / 100 > np.mean(pool < pool[pool < cell].max())
        seen += 1
    assert seen == (len(KINDS) + len(FIXED)) * 4 * len(DONORS)


def interval(p: np.ndarray, q: np.ndarray) -> tuple[float, float, float, float]:
    """Null floor, corrected distance and interval of counts (definitions, Section 8)."""
    (a, b), (p, q) = (p.sum(), q.sum()), (p[p + q > 0] / p.sum(), q[p + q > 0] / q.sum())
    parts = [entr[entr > 0] @ np.log2(entr[entr > 0]) for entr in (p, q, (p + q) / 2)]
    divergence = (parts[0] + parts[1]) / 2 - parts[2]
    unit = (1 / a + 1 / b) / (8 * np.log(2))
    spread = 2 * (p.size - 1) * unit**2
    for shares, n in ((p, a), (q, b)):
        inside = shares > 0
        values = np.log2(shares[inside] / ((p + q) / 2)[inside]) / 2
        spread += (shares[inside] @ values**2 - (shares[inside] @ values) ** 2) / n
    unbiased = divergence - (p.size - 1) * unit
    ends = np.array([(p.size - 1) * unit, unbiased, *(unbiased + z * np.sqrt(spread) for z in (-1.959964, 1.959964))])
    return tuple(np.sqrt(np.clip(ends, 0, 1)))


def check_distances(marts: duckdb.DuckDBPyConnection, frames: dict[str, pl.DataFrame]) -> None:
    """Every row against SciPy on the common histograms and on the scores themselves."""
    shares = {
        tuple(key): np.array(n, dtype=float)
        for *key, n in marts.execute(
            "select score_kind, domain, binning, model_id, list(n order by bin) "
            "from marts.fct_presence_score_distributions group by all"
        ).fetchall()
    }
    rows = marts.execute("select * from marts.fct_jensen_shannon_distances").pl().to_dicts()
    assert len(rows) == 4 * (len(KINDS) + len(FIXED)) * len(list(combinations(frames, 2)))
    for row in rows:
        kind, domain, a, b = (row[name] for name in ("score_kind", "domain", "model_a", "model_b"))
        p, q = (shares[kind, domain, row["binning"], name] for name in (a, b))
        assert a < b and row["distance"] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-12)
        assert (row["n_a"], row["n_b"], row["n_bins"]) == (p.sum(), q.sum(), np.count_nonzero(p + q))
        found = [row[name] for name in ("null_floor", "distance_corrected", "distance_low", "distance_high")]
        assert found == pytest.approx(interval(p, q), abs=1e-7)
        assert row["is_told_apart"] == (row["distance_low"] > 0)
        own = [known(frames[name], kind, domain).clip(GRIDS[kind][0], HIGH.get(kind, 0)) for name in (a, b)]
        assert abs(row["wasserstein_1"] - stats.wasserstein_distance(*own)) < 1 / GRIDS[kind][1]
        if kind not in COMPARED_KINDS:
            assert row["spearman"] is None and row["n_shared"] is None
            continue
        both = frames[a].join(frames[b], on=["document_id", "domain"])
        both = both.filter(pl.col("domain").is_in(DOMAINS if domain == "all" else [domain])).drop_nulls(
            [kind, f"{kind}_right"]
        )
        assert row["n_shared"] == both.height <= row["n_a"]
        expected = stats.spearmanr(both[kind], both[f"{kind}_right"]).statistic
        assert row["spearman"] == pytest.approx(expected, abs=1e-12)


def test_distances_are_scipys(marts: duckdb.DuckDBPyConnection, frames: dict[str, pl.DataFrame]) -> None:
    check_distances(marts, frames)


def test_means_of_the_domains_stand_beside_all_documents(marts: duckdb.DuckDBPyConnection) -> None:
    rows = marts.execute("select * from fct_jensen_shannon_distances").pl()
    ends = {"": "distance", "_corrected": "distance_corrected", "_low": "distance_low", "_high": "distance_high"}
    keys = ["score_kind", "binning", "model_a", "model_b"]
    means = rows.filter(pl.col("domain") != "all").group_by(keys).agg(pl.col(*ends.values()).mean())
    both = rows.filter(domain="all").join(means, on=keys, suffix="_mean")
    assert both.height == rows.height / 4
    for name, of in ends.items():
        assert both[f"mean_domain_distance{name}"].to_list() == pytest.approx(both[f"{of}_mean"].to_list())
        assert rows.filter(pl.col("domain") != "all")[f"mean_domain_distance{name}"].is_null().all()


def test_intervals_hold_the_true_distance(home: Home, tmp_path: Path) -> None:
    """95 % of them or more (near the floor); intervals around the plain distance hardly ever do near the floor."""
    rng = np.random.default_rng(0)
    wanted = [(n, shift) for n in (1_000, 10_000) for shift in (0.0, 0.02, 0.3, 1.5)]
    fine = pl.concat(score_distances.simulated_cells(rng, n, shift, 100) for n, shift in wanted)
    rows = score_distances.by_the_projects_sql(home.dbt_target, fine, tmp_path)
    found = score_distances.coverage(rows)
    assert found.height == len(wanted)
    assert found["covered"].min() >= 0.9, "0.95 less twice its standard error"  # type: ignore[operator]
    assert found["covered"].mean() >= 0.93  # type: ignore[operator]
    near = found.filter(pl.col("shift") == 0.02)
    assert near["covered_plain"].max() < 0.6  # type: ignore[operator]
    twins = found.filter(shift=0.0)
    assert twins["told_apart"].max() <= 0.06, "a twin lies at 0 within its interval"  # type: ignore[operator]
    exact = rows["shift"] * score_distances.SPREAD
    error = 6 * score_distances.SPREAD * (2 / rows["n_a"]).sqrt()
    assert ((rows["wasserstein_1"] - exact).abs() < error).all()


def test_means_by_domain(marts: duckdb.DuckDBPyConnection, frames: dict[str, pl.DataFrame]) -> None:
    rows = marts.execute("select * from fct_presence_by_domain").pl()
    assert rows.height == 4 * len(DONORS)
    for row in rows.iter_rows(named=True):
        frame = frames[row["donor_model_id"]]
        strata = [frame.filter(domain=name) for name in DOMAINS if row["domain"] in (name, "all")]
        frame = pl.concat(strata)
        ok = frame.filter(status="ok")
        assert row["n_documents"] == frame.height
        assert row["n_errors"] == frame.height - ok.height
        assert row["n_truncated"] == ok["is_truncated"].sum()
        bits = -ok["logprob_sum"].sum() / np.log(2) / ok["n_bytes_scored"].sum()
        assert row["total_bits_per_byte"] == pytest.approx(bits)
        for kind in KINDS:
            values = [stratum[kind].drop_nulls().to_numpy() for stratum in strata]
            n = sum(map(len, values))
            variance = sum((len(v) / n) ** 2 * v.var(ddof=1) / len(v) for v in values)
            assert row[f"mean_{kind}"] == pytest.approx(np.concatenate(values).mean())
            assert row[f"standard_error_{kind}"] == pytest.approx(np.sqrt(variance))


def test_mix_features(marts: duckdb.DuckDBPyConnection, frames: dict[str, pl.DataFrame]) -> None:
    rows = marts.execute("select feature_kind, feature, model_id, value from fct_regression_features").fetchall()
    mix = {(feature, model): value for kind, feature, model, value in rows if kind == "mix"}
    paper = {(feature, model): value for kind, feature, model, value in rows if kind == "mix_paper"}
    assert set(mix) == {(f"mix_bits_{domain.lower()}", model) for domain in DOMAINS for model in DONORS}
    means = frames["ant-7b"].group_by("domain").agg(pl.col("presence_score", "bits_per_byte").mean())
    book = means.filter(domain="Book")
    assert mix["mix_bits_book", "ant-1b"] == pytest.approx(book["bits_per_byte"][0] - means["bits_per_byte"].mean())
    assert paper["mix_paper_book", "ant-1b"] == pytest.approx(book["presence_score"][0])
    correlated = marts.execute("select distinct feature_kind from intermediate.int_model_features").fetchall()
    assert set(correlated) == {("benchmark",), ("training",)}, "neither enters the grid of correlations"


def test_a_new_scoring_is_read_and_an_old_one_is_not_read_again(
    home: Home, run_dbt: Dbt, frames: dict[str, pl.DataFrame]
) -> None:
    """A model gets scores, another loses its own: only these two change, and the rest is not even looked at.

    On fixed bins no row of the others changes, either.
    """
    query = """
        select distinct model_id, histograms.made_of || ranks.made_of
        from intermediate.int_fine_histograms as histograms
        inner join intermediate.int_score_ranks as ranks using (model_id)
    """
    fixed = """
        select * from marts.fct_jensen_shannon_distances
        where binning = 'fixed' and 'ant-3b' not in (model_a, model_b) and 'cat-5b' not in (model_a, model_b)
        order by all
    """
    with duckdb.connect(str(home.warehouse), read_only=True) as connection:
        before, unmoved = dict(connection.execute(query).fetchall()), connection.execute(fixed).fetchall()
        features = connection.execute("select * from marts.fct_presence_by_domain order by all").fetchall()
    with duckdb.connect(str(home.warehouse)) as connection:
        kept = connection.execute("select * from raw.document_scores where model_id in ('ant-3b', 'cat-5b')").pl()
        connection.execute("delete from raw.document_scores where model_id = 'ant-3b'")
        runs = pl.col("run_id").str.replace("ant-3b", "cat-5b")  # as its own job would have named them
        renamed = kept.with_columns(pl.lit("cat-5b").alias("model_id"), runs)
        connection.register("renamed", renamed)
        connection.execute("insert into raw.document_scores by name select * from renamed")
        # Had this scoring been read again, its mean would show it.
        connection.execute("update raw.document_scores set presence_score = 0 where model_id = 'bee-8b'")
    now = {"ant-7b": "ant-7b", "bee-8b": "bee-8b", "cat-4b": "cat-4b", "cat-5b": "ant-3b"}
    done = run_dbt(home, "run", *BUILT)
    assert done.returncode == 0, done.stdout
    with duckdb.connect(str(home.warehouse)) as connection:
        after = dict(connection.execute(query).fetchall())
        assert unmoved and connection.execute(fixed).fetchall() == unmoved
        check_distances(connection, {name: frames[was] for name, was in now.items()})
        donors = dict(
            connection.execute("select distinct model_id, donor_model_id from marts.fct_presence_by_domain").fetchall()
        )
        again = connection.execute("select * from marts.fct_presence_by_domain order by all").fetchall()
        counted = connection.execute(
            "select * exclude (code, built_by) from intermediate.int_scored_runs order by all"
        ).fetchall()
        present = connection.execute(
            "select study_id, run_id, model_id, corpus, engine, count(*), count(*) filter (where status = 'ok') "
            "from raw.document_scores group by all order by all"
        ).fetchall()
        builds = connection.execute("select count(distinct built_by) from intermediate.int_scored_runs").fetchone()
    assert counted == present and builds == (1,)
    assert set(after) == {"ant-7b", "bee-8b", "cat-4b", "cat-5b"}
    assert {name: after[name] for name in ("ant-7b", "bee-8b", "cat-4b")} == {
        name: before[name] for name in ("ant-7b", "bee-8b", "cat-4b")
    }
    assert donors == DONORS | {"ant-3b": "ant-7b", "cat-5b": "cat-5b"}
    unchanged = [row for row in features if row[1] in ("ant-7b", "bee-8b", "bee-1b", "cat-4b")]
    assert unchanged == [row for row in again if row[1] in ("ant-7b", "bee-8b", "bee-1b", "cat-4b")]
