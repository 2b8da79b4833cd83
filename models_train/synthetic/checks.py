"""Estimates compared with the truth of a lab: pure functions for dbt's Python models. Imports no torch.

Rank checks: do scores of documents reflect the mixes of the pre-training text? Within a cell models differ in nothing
but their mix; figures are computed in each cell and averaged over the cells, with a bootstrap over the mixes. Figures
over all models pooled are given, too; there size, training, tokenizer and architecture move the scores as well. Scores
come in the direction in which 1 is always good. Each comes with the figure of an oracle, who knows the mixes.

Search checks: the merge search by the pairs that it wins on the test set, against equal weights and the weights behind
the preferences; and the chosen learning rate against the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from models_train.data.records import ATTRIBUTES
from models_train.reward_models.merge_vector import best_merge
from models_train.selection.jackknife import mean_over_clusters
from models_train.synthetic.resampling import (
    CONFIDENCE,
    MIN_MODELS,
    Floats,
    draws,
    interval,
    mean_rank_correlation,
    median,
)

SCHEMA: dict[str, Any] = {
    "check_name": pl.String,
    "cell": pl.String,
    "score_kind": pl.String,
    "objective": pl.String,
    "model_id": pl.String,
    "statistic": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "oracle": pl.Float64,
    "baseline": pl.Float64,
    "baseline_name": pl.String,
    "n": pl.Int64,
    "reason": pl.String,
}
WITHIN, POOLED = "within cells", "pooled"
TOO_FEW = "fewer than 4 mixes, or pre-trained models, have the values needed"
NO_SPREAD = "one side is the same for all models"
N_BINS = 100
"""Bins of an oracle's histograms, as many as those of the distances (definitions, Section 8)."""


@dataclass(frozen=True)
class Check:
    """One figure compared with the truth: value, interval, what an oracle gets, baseline, number of models or pairs.

    A missing value has a reason. Fields that do not apply (cell, score_kind, ...) are None.
    """

    check_name: str
    statistic: str
    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    oracle: float | None = None
    baseline: float | None = None
    baseline_name: str | None = None
    cell: str | None = None
    score_kind: str | None = None
    objective: str | None = None
    model_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Ranking:
    """Items, models or pairs of models, that are ranked by an estimate and by the truth.

    estimate, truth, oracle: (items,); mixes: (items, 1 or 2), the places of the mixes behind each item.
    """

    estimate: Floats
    truth: Floats
    oracle: Floats
    mixes: NDArray[np.int64]

    def weights(self, drawn: Floats) -> Floats:
        """How often each item is drawn, (resamples, items), where mixes are drawn. drawn: (resamples, mixes)."""
        return np.prod(drawn[:, self.mixes], axis=2)


def ranking_checks(own: Check, cells: Mapping[str, Sequence[Ranking]], n_mixes: int, drawn: Floats) -> list[Check]:
    """Spearman of estimate and truth: in each cell, mean over the rankings (the domains), then over all cells.

    A cell with rankings of fewer than MIN_MODELS mixes says nothing. POOLED is no cell, and not averaged.
    """
    checks, whole = [], list[Ranking]()
    for cell, rankings in cells.items():
        enough = [one for one in rankings if len(np.unique(one.mixes)) >= MIN_MODELS]
        checks.append(_spearman(replace(own, cell=cell), enough, n_mixes, drawn))
        whole += enough if cell != POOLED else []
    if any(cell != POOLED for cell in cells):
        checks.append(_spearman(replace(own, cell=WITHIN), whole, n_mixes, drawn))
    return checks


def _spearman(own: Check, rankings: Sequence[Ranking], n_mixes: int, drawn: Floats) -> Check:
    own = replace(own, n=sum(len(one.estimate) for one in rankings))
    if not rankings:
        return replace(own, reason=TOO_FEW)

    def over(drawn: Floats, name: str) -> Floats:
        each = ((getattr(one, name), one.truth, one.weights(drawn)) for one in rankings)
        return mean_rank_correlation(each)

    once = np.ones((1, n_mixes))
    value = _number(over(once, "estimate")[0])
    if value is None:
        return replace(own, reason=NO_SPREAD)
    low, high = interval(over(drawn, "estimate")) or (None, None)
    return replace(own, value=value, low=low, high=high, oracle=_number(over(once, "oracle")[0]))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def share_checks(scores: pl.DataFrame, drawn: Floats) -> Iterator[Check]:
    """Do the mean scores of a domain's documents rank the models by the domain's share?

    scores: rows of int_lab_domain_scores. `domain_tokens`, pooled: the same with the tokens of the domain, share times
    budget, as the truth.
    """
    for (kind,), own in _groups(scores, "score_kind"):
        cells = {str(cell): _share_rankings(part, "share") for (cell,), part in _groups(own, "cell")}
        check = Check("domain_share", "spearman", 0, score_kind=str(kind))
        yield from ranking_checks(check, cells | {POOLED: _share_rankings(own, "share")}, drawn.shape[1], drawn)
        tokens = own.with_columns(tokens=pl.col("share") * pl.col("pretraining_tokens"))
        check = replace(check, check_name="domain_tokens")
        yield from ranking_checks(check, {POOLED: _share_rankings(tokens, "tokens")}, drawn.shape[1], drawn)


def _share_rankings(scores: pl.DataFrame, truth: str) -> list[Ranking]:
    """A ranking of the models for each domain."""
    return [
        Ranking(
            one["mean_score"].to_numpy(),
            one[truth].to_numpy().astype(np.float64),
            one[truth].to_numpy().astype(np.float64),
            one["mix"].to_numpy()[:, None] - 1,
        )
        for _, one in _groups(scores.filter(pl.col("mean_score").is_not_null()), "domain")
    ]


DISTANCES = ("all_documents", "domain_wise", "centred_means")


def distance_checks(distances: pl.DataFrame, documents: pl.DataFrame, drawn: Floats) -> Iterator[Check]:
    """Do distances between models order the pairs by the distances of their mixes?

    distances: rows of int_lab_distances; documents: of int_lab_document_scores. `budget_distance`, pooled: with the
    difference of the training budgets in place of the distance of the mixes.
    """
    for (kind,), own in _groups(distances, "score_kind"):
        scored = documents.filter(score_kind=str(kind))
        same = own.filter(pl.col("cell_a") == pl.col("cell_b"))
        cells = {str(cell): part for (cell,), part in _groups(same, "cell_a")}
        cells[POOLED] = own
        oracles = {
            cell: _oracles(scored if cell == POOLED else scored.filter(cell=cell), part) for cell, part in cells.items()
        }
        for name in DISTANCES:
            rankings = {
                cell: [_pair_ranking(part, name, "mix_distance", oracles[cell][name])] for cell, part in cells.items()
            }
            check = Check(f"mix_distance_{name}", "spearman", 0, score_kind=str(kind))
            yield from ranking_checks(check, rankings, drawn.shape[1], drawn)
            budget = own["budget_distance"].to_numpy()
            if np.ptp(budget):
                ranking = {POOLED: [_pair_ranking(own, name, "budget_distance", budget)]}
                check = replace(check, check_name=f"budget_distance_{name}")
                yield from ranking_checks(check, ranking, drawn.shape[1], drawn)


def _pair_ranking(pairs: pl.DataFrame, estimate: str, truth: str, oracle: Floats) -> Ranking:
    mixes = pairs.select("mix_a", "mix_b").to_numpy() - 1
    return Ranking(pairs[estimate].to_numpy(), pairs[truth].to_numpy(), oracle, mixes)


def _oracles(documents: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, Floats]:
    """The distances of pairs where each model's mean scores are what the shares of its mix make them.

    For `centred_means` those of the shares. For histograms the mean scores are moved to the least-squares line of a
    domain's share, and the documents keep their deviations from them: no score of documents can follow the mixes more
    closely, so what is missing to 1 is the histogram's own loss.
    """
    moved = [_moved(part) for _, part in _groups(documents, "domain")]
    names = documents["model_id"].unique().sort().to_list()
    both = np.array(list(combinations(range(len(names)), 2)))
    place = {(names[a], names[b]): index for index, (a, b) in enumerate(both)}
    wanted = [place[pair] for pair in pairs.select("model_a", "model_b").iter_rows()]
    return {
        "all_documents": _histogram_distances(np.concatenate(moved, axis=1), both)[wanted].round(6),
        "domain_wise": np.mean([_histogram_distances(part, both) for part in moved], axis=0)[wanted].round(6),
        "centred_means": pairs["share_distance"].to_numpy(),
    }


def _moved(documents: pl.DataFrame) -> Floats:
    """(models, documents) scores of a domain with the means moved to the line of the shares; models by name."""
    wide = documents.pivot("document_id", index=["model_id", "share"], values="score").sort("model_id")
    scores, share = wide.drop("model_id", "share").to_numpy(), wide["share"].to_numpy()
    scores = scores[:, ~np.isnan(scores.astype(np.float64)).any(axis=0)]
    mean = scores.mean(axis=1)
    line = np.polynomial.Polynomial.fit(share, mean, 1)(share) if np.ptp(share) else np.full(len(share), mean.mean())
    return scores + (line - mean)[:, None]


def _histogram_distances(scores: Floats, pairs: NDArray[np.int64]) -> Floats:
    """(pairs,) Jensen-Shannon distances of models, on bins between pooled quantiles. scores: (models, documents)."""
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, N_BINS + 1)))
    counts = np.array([np.histogram(row, edges)[0] for row in scores], dtype=np.float64)
    return np.asarray(jensenshannon(counts[pairs[:, 0]], counts[pairs[:, 1]], base=2, axis=1))


def _groups(frame: pl.DataFrame, by: str) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    yield from frame.sort(by, maintain_order=True).group_by(by, maintain_order=True)


WEIGHTINGS = ("equal_weights", "true_weights")


def merge_checks(outcomes: pl.DataFrame) -> list[Check]:
    """Test pairs won by the merged reward less those won under equal and under the true weights, in points.

    outcomes: rows of int_lab_test_outcomes. Per reward model, with an interval over the test pairs; and their mean,
    with an interval over reward models (those of one pre-training together, jackknife-t) and test pairs. The oracle
    chooses the merge vector on the test pairs themselves.
    """
    if not outcomes.height:
        return []
    items = outcomes.select("subset", "item_id").unique().sort("subset", "item_id")
    models = outcomes.select("model_id", "pretrained_model_id").unique().sort("model_id")
    whole = models.join(items, how="cross").join(outcomes, on=["model_id", "pretrained_model_id", "subset", "item_id"])
    if whole.height < models.height * items.height:
        return [_merge_check(name, 0, reason="a test pair has no rewards") for name in WEIGHTINGS]
    whole = whole.sort("model_id", "subset", "item_id")
    shape = models.height, items.height
    won = {name: (whole[f"margin_{name}"].to_numpy() > 0).reshape(shape) for name in ("merged", "equal", "true")}
    margins = whole.select(f"margin_{name}" for name in ATTRIBUTES).to_numpy().reshape(*shape, len(ATTRIBUTES))
    best = np.array([best_merge(one, np.zeros_like(one)).n_won / len(one) for one in margins])
    subset, checks = items["subset"].to_numpy(), []
    for name in WEIGHTINGS:
        other = won[name.removesuffix("_weights")]
        gain = 100 * (won["merged"].astype(float) - other)
        baseline, oracle = 100 * other.mean(axis=1), 100 * (best - other.mean(axis=1))
        for place, model in enumerate(models["model_id"]):
            reach = stats.norm.ppf((1 + CONFIDENCE) / 2) * _item_error(gain[place], subset)
            own = _merge_check(name, 1, model_id=model, baseline=baseline[place], oracle=oracle[place])
            value = float(gain[place].mean())
            checks.append(replace(own, value=value, low=value - reach, high=value + reach))
        own = _merge_check(name, shape[0], baseline=float(baseline.mean()), oracle=float(oracle.mean()))
        checks.append(_merge_mean(own, gain, models["pretrained_model_id"].to_numpy(), subset))
    return checks


def _merge_check(name: str, n: int, **fields: Any) -> Check:
    return Check("merge_search", "points_won", n, baseline_name=name, objective="regression", **fields)


def _merge_mean(own: Check, gain: Floats, clusters: NDArray[Any], subset: NDArray[Any]) -> Check:
    """gain: (models, items), -100, 0 or 100."""
    n_clusters = len(np.unique(clusters))
    if n_clusters < MIN_MODELS:
        return replace(own, reason=TOO_FEW)
    over_models = mean_over_clusters(gain.mean(axis=1), clusters)
    error = math.hypot(over_models.standard_error, _item_error(gain.mean(axis=0), subset))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n_clusters - 1)) * error
    return replace(own, value=over_models.estimate, low=over_models.estimate - reach, high=over_models.estimate + reach)


def _item_error(values: Floats, strata: NDArray[Any]) -> float:
    """Standard error of the mean of a sample stratified by `strata`, (items,)."""
    groups = [values[strata == name] for name in np.unique(strata)]
    return math.sqrt(sum(len(one) * one.var(ddof=1) for one in groups if len(one) > 1)) / len(values)


LEARNING_RATE = "learning_rate"
FEW_RATES = "fewer than two rates came to the end, so nothing was chosen"
_SIGNS = np.array([1.0, 1.0, 1.0, 1.0, -1.0])


@dataclass(frozen=True)
class Merge:
    """The merge vector that a search found for a reward model: (5,), helpfulness to verbosity."""

    model_id: str
    pretrained: str
    weights: tuple[float, ...]


@dataclass(frozen=True)
class RateSearch:
    """Result of choosing on half of the validation prompts, on the other half, in percent of the pairs won.

    chosen: of the rate that the search's rule takes; mean_rate, best_rate: of all rates that came to the end, each with
    its own checkpoint (and merge vector) of the half that chooses. None where there is none.
    """

    model_id: str
    pretrained: str
    objective: str
    chosen: float | None
    mean_rate: float | None
    best_rate: float | None
    n_rates: int


def cosine_checks(merges: Sequence[Merge], true_weights: Sequence[float], n_resamples: int, seed: str) -> list[Check]:
    """Cosine of the merge vectors with the true weights, per reward model and their median; to beat: equal weights.

    A footnote: on 160 pairs a sixth of all vectors is optimal, and on predicted attributes the true weights need not be
    the best.
    """
    true = np.asarray(true_weights, dtype=np.float64)
    found = cosine(np.array([one.weights for one in merges]).reshape(-1, len(true)), true)
    goal = float(cosine(_SIGNS[None], true)[0])
    own = Check("merge_weights", "cosine", 1, baseline=goal, baseline_name="equal_weights", objective="regression")
    each = [replace(own, model_id=one.model_id, value=float(value)) for one, value in zip(merges, found, strict=True)]
    return [*each, _median(own, found, [one.pretrained for one in merges], n_resamples, seed)]


def cosine(vectors: Floats, true: Floats) -> Floats:
    """(vectors,) cosines. vectors: (vectors, 5), none of them zero; true: (5,)."""
    return np.clip(vectors @ true / np.linalg.norm(vectors, axis=1) / np.linalg.norm(true), -1, 1)


def rate_checks(searches: Sequence[RateSearch], n_resamples: int, seed: str) -> list[Check]:
    """Accuracy of the rate search's choice where it did not choose, per reward model and the median of each objective.

    All on the half of the validation prompts that took no part in choosing, mean over many splits. accuracy: of the
    choice, in percent; to beat: the mean rate. gain_points: the difference of the two. The oracle takes the best rate;
    it is known from that half itself, which flatters it a little.
    """
    checks = []
    for objective in sorted({one.objective for one in searches}):
        mine = [one for one in searches if one.objective == objective]
        known = [one for one in mine if _is_known(one)]
        checks += [
            Check(LEARNING_RATE, "accuracy", 1, objective=objective, model_id=one.model_id, reason=FEW_RATES)
            for one in mine
            if not _is_known(one)
        ]
        chosen, mean, best = (
            np.array([getattr(one, name) for one in known], dtype=np.float64)
            for name in ("chosen", "mean_rate", "best_rate")
        )
        for statistic, values, oracles, baselines, name in (
            ("accuracy", chosen, best, mean, "mean_rate"),
            ("gain_points", chosen - mean, best - mean, np.zeros(len(known)), "no_gain"),
        ):
            own = Check(LEARNING_RATE, statistic, 1, baseline_name=name, objective=objective)
            checks += [
                replace(own, model_id=one.model_id, value=float(value), oracle=float(oracle), baseline=float(baseline))
                for one, value, oracle, baseline in zip(known, values, oracles, baselines, strict=True)
            ]
            if known:
                own = replace(own, oracle=float(np.median(oracles)), baseline=float(np.median(baselines)))
            checks.append(_median(own, values, [one.pretrained for one in known], n_resamples, seed))
    return checks


def _is_known(search: RateSearch) -> bool:
    return None not in (search.chosen, search.mean_rate, search.best_rate) and search.n_rates >= 2


def _median(own: Check, values: Floats, pretrained: Sequence[str], n_resamples: int, seed: str) -> Check:
    """The median over reward models, those of one pre-training drawn together."""
    own = replace(own, n=len(values))
    if len(set(pretrained)) < MIN_MODELS:
        return replace(own, reason=TOO_FEW)
    resampled: Callable[[Floats], Floats] = partial(median, values)
    weights = draws(pretrained, n_resamples, f"{seed}/{own.check_name}/{own.objective}")
    low, high = interval(resampled(weights)) or (None, None)
    return replace(own, value=float(np.median(values)), low=low, high=high)


@dataclass(frozen=True)
class LabTables:
    """Rows of one lab: of the models int_lab_domain_scores, int_lab_distances, int_lab_document_scores,
    int_lab_test_outcomes, int_lab_searches; and attribute and weight."""

    scores: pl.DataFrame
    distances: pl.DataFrame
    documents: pl.DataFrame
    outcomes: pl.DataFrame
    searches: pl.DataFrame
    true_weights: pl.DataFrame


def check_rows(lab: LabTables, n_resamples: int, seed: str) -> pl.DataFrame:
    """All checks of a lab, as rows of `SCHEMA`. seed: the study."""
    checks = []
    if lab.scores.height:
        mixes = [str(mix) for mix in range(1, int(lab.scores.select(pl.max("mix")).item()) + 1)]
        drawn = draws(mixes, n_resamples, f"{seed}/mixes")
        checks += [*share_checks(lab.scores, drawn), *distance_checks(lab.distances, lab.documents, drawn)]
    checks += merge_checks(lab.outcomes)
    known = dict(lab.true_weights.select("attribute", "weight").iter_rows())
    merges = [
        Merge(row["model_id"], row["pretrained_model_id"], tuple(row[f"weight_{name}"] for name in ATTRIBUTES))
        for row in lab.searches.iter_rows(named=True)
        if row["weight_helpfulness"] is not None
    ]
    checks += cosine_checks(merges, [known[name] for name in ATTRIBUTES], n_resamples, seed)
    checks += rate_checks([_search(row) for row in lab.searches.iter_rows(named=True)], n_resamples, seed)
    return pl.DataFrame([asdict(check) for check in checks], schema=SCHEMA)


def _search(row: dict[str, object]) -> RateSearch:
    columns = ("model_id", "pretrained_model_id", "objective", "accuracy_other_half", "accuracy_mean_rate",
               "accuracy_best_rate", "n_rates")  # fmt: skip
    return RateSearch(*(row[name] for name in columns))  # type: ignore[arg-type]
