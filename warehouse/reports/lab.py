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
    "domain_share": ("The presence score", "rank base models by the true share of a domain in their pre-training text"),
    "mix_distance": (
        "The Jensen-Shannon distance of presence scores",
        "order pairs of base models by the true distance of their mixes",
    ),
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
            lab_tables.correlations(whole, f"{slug}_truth_correlations"),
            lab_tables.searches(whole, f"{slug}_truth_searches"),
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
    for check, (subject, what) in _WHAT.items():
        mine = whole.filter(check_name=check, domain=EVERY_DOMAIN, score_kind="presence_score")
        plain = _row(mine.filter(statistic="spearman"))
        if plain is None:
            continue
        if plain["value"] is None:
            sentences.append(f"Whether {subject[0].lower()}{subject[1:]} can {what} is not known: {plain['reason']}.")
            continue
        over = "mean of the domains" if check == "domain_share" else "all documents"
        size = words.number(plain["baseline"], 2, signed=True)
        text = (
            f"{subject} {_does(plain)} {what}: Spearman correlation {_figures(plain)} ({over}, n = {plain['n']}). Size "
            f"alone reaches {size}."
        )
        beaten = _row(mine.filter(statistic="spearman_difference", compared_with="log10_parameters"))
        held = _row(mine.filter(statistic="spearman_given_size"))
        sentences.append(" ".join([text, *_beats(beaten), *_held(held)]))
    return tuple(sentences)


def _does(row: dict[str, Any]) -> str:
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return "does not, beyond chance,"
    return "does" if row["low"] > 0 else "does the contrary of what it should: it fails to"


def _beats(difference: dict[str, Any] | None) -> tuple[str, ...]:
    if difference is None or difference["low"] is None:
        return ()
    found = f"the difference is {_figures(difference)}"
    if difference["low"] > 0:
        return (f"That is more than size tells, beyond chance: {found}.",)
    if difference["high"] < 0:
        return (f"Size tells more, beyond chance: {found}.",)
    return (f"Chance could explain that they differ: {found}.",)


def _held(row: dict[str, Any] | None) -> tuple[str, ...]:
    if row is None or row["value"] is None:
        return ()
    return (f"With size held fixed the correlation is {_figures(row)}.",)


def _kinds(whole: pl.DataFrame) -> tuple[str, ...]:
    """Which kinds of score differ beyond chance, over all domains."""
    said = []
    for check, name in (("domain_share", "in ranking by share"), ("mix_distance", "in ordering pairs")):
        rows = whole.filter(
            pl.col("value").is_not_null(),
            pl.col("compared_with") != "log10_parameters",
            check_name=check, domain=EVERY_DOMAIN, statistic="spearman_difference",
        )  # fmt: skip
        if rows.height:
            found = [pair for row in rows.iter_rows(named=True) for pair in _better(row)]
            said.append(f"{name} {words.listing(found) or 'no two kinds'} differ beyond chance")
    return (f"Of the four kinds of score, {' and '.join(said)}.",) if said else ()


def _better(row: dict[str, Any]) -> tuple[str, ...]:
    if row["low"] is None or row["low"] <= 0 <= row["high"]:
        return ()
    pair = (row["score_kind"], row["compared_with"])
    good, bad = pair if row["low"] > 0 else pair[::-1]
    return (f"{words.score_kind(good)} (better) and {words.score_kind(bad)}",)


def _searches(whole: pl.DataFrame) -> tuple[str, ...]:
    sentences = []
    merge = whole.filter(check_name="merge_weights", statistic="cosine")
    found = _row(merge.filter(baseline_name="equal_weights"))
    if found is not None and found["value"] is not None:
        chance = _row(merge.filter(baseline_name="random_vector")) or {"baseline": None}
        sentences.append(
            f"The merge vectors found have a median cosine of {_figures(found, 3, signed=False)} with the weights "
            f"behind the preferences (n = {found['n']} reward models); equal weights, without a search, have "
            f"{words.number(found['baseline'], 3)}, and a random vector {words.number(chance['baseline'], 3)} on "
            "average."
        )
    for objective, rows in parts(whole.filter(check_name="learning_rate"), "objective"):
        gain, behind = (_row(rows.filter(statistic=name)) for name in ("gain_points", "shortfall_points"))
        if gain is None or gain["value"] is None or behind is None:
            continue
        sentences.append(
            f"{words.objective(objective)}: on validation prompts that took no part in choosing, the accuracy of the "
            f"rate chosen less that of the mean rate is {_figures(gain, 1)} points, and it stays "
            f"{words.number(behind['value'], 1)} points behind the best rate (medians, n = {gain['n']} reward models)."
        )
    return tuple(sentences)


def _row(frame: pl.DataFrame) -> dict[str, Any] | None:
    return next(iter(frame.to_dicts()), None)


def _figures(row: dict[str, Any], digits: int = 2, *, signed: bool = True) -> str:
    """Value and interval: '+0.44, 95 % interval +0.09 to +0.71'."""
    found = words.interval(row["low"], row["high"], digits, signed=signed)
    value = words.number(row["value"], digits, signed=signed)
    return f"{value}, 95 % interval {found}" if found else value
