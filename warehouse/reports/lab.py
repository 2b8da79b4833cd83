"""Estimates held against the truth, for a reader who wants to know how far to trust them: only for labs."""

from __future__ import annotations

from typing import Any

import duckdb
import polars as pl

from warehouse import lab_marts
from warehouse.reports import lab_figures, lab_tables, words
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Section

EVERY_DOMAIN = "all"
_WHAT = {
    "domain_share": "ranks base models by the true share of a domain in their pre-training text",
    "mix_distance": "orders pairs of base models by the true distance of their mixes",
}


def sections(connection: duckdb.DuckDBPyConnection, study_id: str, slug: str) -> tuple[Section, ...]:
    """The section on truth and estimate; none for a study that is no lab."""
    checks = lab_marts.truth_checks(connection, study_id)
    if not checks.height:
        return ()
    mixes, settings = lab_marts.mixes(connection, study_id), lab_marts.settings(connection, study_id)
    return (section(checks, mixes, settings, slug),)


def section(checks: pl.DataFrame, mixes: pl.DataFrame, settings: dict[str, float], slug: str) -> Section:
    """What the checks say, drawn and as tables; the frames are of lab_marts."""
    whole = checks.filter(pl.col("model_id").is_null())
    return Section(
        "truth",
        "Truth against estimate",
        (_introduction(mixes, settings), *_verdicts(whole), *_kinds(whole), *_searches(whole)),
        items=(
            lab_figures.ranks(whole, "domain_share", slug),
            lab_figures.ranks(whole, "mix_distance", slug),
            lab_figures.differences(whole, slug),
            lab_figures.merges(checks, slug),
            lab_figures.rates(checks, slug),
            lab_tables.checks(whole, f"{slug}_truth_checks"),
            lab_tables.mixes(mixes, settings, f"{slug}_true_mixes"),
        ),
    )


def _introduction(mixes: pl.DataFrame, settings: dict[str, float]) -> str:
    n = mixes["model_id"].n_unique() if mixes.height else 0
    noise = settings.get("preference_noise")
    told = "" if noise is None else f" with logistic noise of scale {noise:g}"
    return (
        f"Synthetic data: {words.plural(n, 'small base model')} made here, on made-up languages in known shares, and "
        f"preferences that follow known weights{told}. So estimates can be held against the truth, which no study of "
        "published models allows. That an estimate is right here does not prove that it is right for real models; that "
        "it is wrong here is a warning."
    )


def _verdicts(whole: pl.DataFrame) -> tuple[str, ...]:
    """For each check of scores: what the presence score reaches over all domains, and whether that beats size."""
    sentences = []
    for check, what in _WHAT.items():
        mine = whole.filter(check_name=check, domain=EVERY_DOMAIN, score_kind="presence_score")
        plain = _row(mine.filter(statistic="spearman"))
        if plain is None:
            continue
        if plain["value"] is None:
            sentences.append(f"Whether the presence score {what} cannot be said: {plain['reason']}.")
            continue
        kind = "mean Spearman correlation over the domains" if check == "domain_share" else "Spearman correlation"
        text = (
            f"The presence score {what} with a {kind} of {words.number(plain['value'], 2, signed=True)}"
            f"{_within(plain)}, n = {plain['n']}; size alone reaches {words.number(plain['baseline'], 2, signed=True)}."
        )
        beaten = _row(mine.filter(statistic="spearman_difference", compared_with="log10_parameters"))
        held = _row(mine.filter(statistic="spearman_given_size"))
        sentences.append(" ".join([text, *_beats(beaten), *_held(held)]))
    return tuple(sentences)


def _beats(difference: dict[str, Any] | None) -> tuple[str, ...]:
    if difference is None or difference["low"] is None:
        return ()
    figures = f"{words.number(difference['value'], 2, signed=True)}{_within(difference)}"
    if difference["low"] > 0:
        return (f"That is more than size alone tells, beyond chance (difference {figures}).",)
    if difference["high"] < 0:
        return (f"Size alone tells more, beyond chance (difference {figures}).",)
    return (f"Chance could explain the difference to size alone ({figures}).",)


def _held(row: dict[str, Any] | None) -> tuple[str, ...]:
    if row is None or row["value"] is None:
        return ()
    return (f"With size held fixed it is {words.number(row['value'], 2, signed=True)}{_within(row)}.",)


def _kinds(whole: pl.DataFrame) -> tuple[str, ...]:
    """Which kinds of score differ beyond chance, over all domains."""
    sentences = []
    for check, name in (("domain_share", "ranking by share"), ("mix_distance", "ordering pairs")):
        mine = whole.filter(
            pl.col("value").is_not_null(),
            check_name=check, domain=EVERY_DOMAIN, statistic="spearman_difference",
        ).filter(pl.col("compared_with") != "log10_parameters")  # fmt: skip
        if not mine.height:
            continue
        found = [
            f"{words.score_kind(row['score_kind' if row['low'] > 0 else 'compared_with'])} before "
            f"{words.score_kind(row['compared_with' if row['low'] > 0 else 'score_kind'])}"
            for row in mine.iter_rows(named=True)
            if row["low"] is not None and not row["low"] <= 0 <= row["high"]
        ]
        apart = f"these differ beyond chance: {words.listing(found)}" if found else "no two kinds differ beyond chance"
        sentences.append(f"Of the kinds of score, in {name} {apart}.")
    return (" ".join(sentences),) if sentences else ()


def _searches(whole: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    merge = whole.filter(check_name="merge_weights", statistic="cosine")
    found = _row(merge.filter(baseline_name="equal_weights"))
    if found is not None and found["value"] is not None:
        chance = _row(merge.filter(baseline_name="random_vector")) or {"baseline": None}
        sentences.append(
            f"The merge search finds the weights behind the preferences to a cosine of "
            f"{words.number(found['value'], 3)}{_within(found, 3)} (median of {found['n']} reward models); equal "
            f"weights, without a search, have {words.number(found['baseline'], 3)} and a random vector "
            f"{words.number(chance['baseline'], 3)} on average."
        )
    for objective, rows in parts(whole.filter(check_name="learning_rate"), "objective"):
        gain, behind = (_row(rows.filter(statistic=name)) for name in ("gain_points", "shortfall_points"))
        if gain is None or gain["value"] is None or behind is None:
            continue
        sentences.append(
            f"{words.objective(objective)}: on validation prompts that took no part in choosing, the rate chosen wins "
            f"{words.number(gain['value'], 1, signed=True)} points{_within(gain, 1)} more pairs than the mean rate and "
            f"stays {words.number(behind['value'], 1)} points behind the best (median of {gain['n']} reward models)."
        )
    return (" ".join(sentences),) if sentences else ()


def _row(frame: pl.DataFrame) -> dict[str, Any] | None:
    return next(iter(frame.to_dicts()), None)


def _within(row: dict[str, Any], digits: int = 2) -> str:
    found = words.interval(row["low"], row["high"], digits, signed=digits < 3)
    return f" (95 % interval {found})" if found else ""
