"""Panels: races and their peers over many subsets of a census, as rows (definitions, Section 15)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from models_train.race.peers import PEERS
from models_train.race.replay import Census, regret, replay
from models_train.race.rules import SCORED
from models_train.selection.jackknife import mean_over_clusters
from warehouse.contracts.races import RACE

LEVEL = 0.95
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Edges of the bins of a stated probability."""


@dataclass(frozen=True)
class PanelRow:
    """One method on one panel.

    shuffle: that the panel is cut from. winner: named by the method; census_winner: of the census on the same items.
    regret: points that the winner is behind. is_within: at most the indifference. tokens: trained and scored to choose,
    scored ones counting SCORED; census_tokens: the same of the census. probability_best, probability_within: stated by
    the race, None for its peers; is_best: the winner is the census's. n_dropped, is_best_dropped: decisions `drop`, and
    whether one was the census's winner's.
    """

    panel: int
    shuffle: int
    members: tuple[str, ...]
    method: str
    winner: str | None
    census_winner: str
    regret: float
    is_within: bool
    is_best: bool
    trained_tokens: float
    scored_tokens: float
    tokens: float
    census_trained_tokens: float
    census_tokens: float
    probability_best: float | None = None
    probability_within: float | None = None
    reason: str | None = None
    n_looks: int | None = None
    n_dropped: int | None = None
    is_best_dropped: bool | None = None


def drawn(n_candidates: int, size: int, n_panels: int, seed: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Panels: number of the shuffle of all candidates, and places of the members; those of a shuffle share nobody."""
    dice = np.random.default_rng(seed)
    begins = range(0, n_candidates - size + 1, size)
    for panel in range(n_panels):
        if panel % len(begins) == 0:
            order = dice.permutation(n_candidates)
        begin = begins[panel % len(begins)]
        yield panel // len(begins), tuple(sorted(int(place) for place in order[begin : begin + size]))


def panel_rows(census: Census, panel: int, shuffle: int, budget_share: float, **rules: Any) -> Iterator[PanelRow]:
    """Rows of the race and all of its peers on one panel. census: of its members. rules: of the race, as RaceRules has
    them, besides rungs, rates and budget; budget_share: of the census's tokens, for the race and its peers."""
    budget, final = budget_share * census.tokens, census.final
    settings = census.rules(budget=budget, **rules)
    names = [one.model_id for one in census.candidates]
    best = names[int(np.argmax(final))]

    def row(method: str, winner: str | None, trained: float, scored: float, **values: Any) -> PanelRow:
        lost = regret(census, winner)
        return PanelRow(
            panel,
            shuffle,
            tuple(names),
            method,
            winner,
            best,
            lost,
            lost <= settings.indifference + 1e-9,
            lost <= 1e-9,
            trained,
            scored,
            trained + SCORED * scored,
            census.trained_tokens,
            census.tokens,
            **values,
        )

    race = replay(census, settings)
    answer, dropped = race.answer, [one.model_id for one in race.decisions if one.decision == "drop"]
    yield row(
        RACE,
        answer.winner,
        answer.trained_tokens,
        answer.scored_tokens,
        probability_best=answer.probability_best,
        probability_within=answer.probability_within,
        reason=answer.reason,
        n_looks=answer.n_looks,
        n_dropped=len(dropped),
        is_best_dropped=best in dropped,
    )
    for method, choose in PEERS.items():
        place, trained, scored = choose(census, budget, np.random.default_rng(panel))
        yield row(method, names[place], trained, scored)


def race_panels(census: Census, size: int, n_panels: int, seed: int, budget_share: float, **rules: Any) -> pl.DataFrame:
    """One row per panel and method."""
    rows = [
        asdict(row)
        for panel, (shuffle, places) in enumerate(drawn(len(census.candidates), size, n_panels, seed))
        for row in panel_rows(census.of(places), panel, shuffle, budget_share, **rules)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def summary(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per method: share of panels within the indifference, mean regret, with 95 % intervals; share of tokens.

    Intervals by a jackknife over shuffles: they say how well the mean over all panels of these candidates is known, not
    what other candidates would give.
    """
    found = []
    for (method,), part in rows.group_by("method", maintain_order=True):
        values: dict[str, Any] = {"method": method, "n_panels": part.height}
        for column in ("is_within", "regret"):
            error = mean_over_clusters(part[column].cast(pl.Float64).to_numpy(), part["shuffle"].to_numpy())
            values |= {column: error.estimate, f"{column}_low": error.low, f"{column}_high": error.high}
        shares = (part["tokens"] / part["census_tokens"]).to_numpy()
        trained = (part["trained_tokens"] / part["census_trained_tokens"]).to_numpy()
        values |= {"token_share": float(shares.mean()), "token_share_most": float(shares.max())}
        found.append(values | {"trained_share": float(trained.mean()), "trained_share_most": float(trained.max())})
    return pl.DataFrame(found)


def calibration(rows: pl.DataFrame, stated: str = "probability_best", truth: str = "is_best") -> pl.DataFrame:
    """Stated probability against what came true, one row per bin and one over all: mean stated, share true with its
    exact binomial interval (Clopper and Pearson; panels taken for independent), Brier score."""
    known = rows.drop_nulls(stated)
    p, is_true = known[stated].to_numpy(), known[truth].to_numpy().astype(float)
    cell = np.clip(np.digitize(p, BINS[1:-1]), 0, len(BINS) - 2)
    parts = [(f"{BINS[one]:g} to {BINS[one + 1]:g}", cell == one) for one in range(len(BINS) - 1)]
    parts.append(("all", np.ones(len(p), bool)))
    return pl.DataFrame([_calibrated(name, p[mask], is_true[mask]) for name, mask in parts if mask.any()])


def _calibrated(name: str, p: np.ndarray, is_true: np.ndarray) -> dict[str, Any]:
    test = stats.binomtest(int(is_true.sum()), len(p)).proportion_ci(LEVEL)
    return {
        "bin": name,
        "n": len(p),
        "stated": float(p.mean()),
        "share_true": float(is_true.mean()),
        "low": float(test.low),
        "high": float(test.high),
        "brier": float(np.mean((p - is_true) ** 2)),
    }
