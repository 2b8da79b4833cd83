"""Which base model to train a reward model on for a policy, what that loses without better evidence, and partners."""

from __future__ import annotations

import polars as pl

from warehouse.reports import labels, queries
from warehouse.reports.elements import Section, Study
from warehouse.reports.tables import COUNT, MODEL, PROSE, SHARE, TEXT, Col, Row, Table, decimals

TITLE = "Which base model for a policy?"
VALUE = decimals(2)


def section(study: Study) -> Section | None:
    """The recommendation per policy and use, regrets, and partners; None for a study without any of these."""
    frame = queries.teacher_recommendations(study.connection, study.study_id)
    regrets, partners = teacher_regrets(study), ensemble_partners(study)
    if not frame.height and not partners.height:
        return None
    whole = frame.filter(pl.col("size_limit_b").is_null()) if frame.height else frame
    tables = [
        *([_recommendations(whole, study)] if whole.height else []),
        *([_regrets(regrets, study)] if regrets.height else []),
        *([_partners(partners, study)] if partners.height else []),
    ]
    paragraphs = (*_answers(whole), *_losses(regrets), *_second_bases(partners))
    return Section("teacher-recommendations", TITLE, paragraphs, items=tuple(tables))


def teacher_regrets(study: Study) -> pl.DataFrame:
    """One row per policy, gold reward, use, objective and best evidence that is not hidden."""
    return study.read(
        "fct_teacher_regrets",
        "policy_id, gold_id, use, objective, best_evidence, evidence, n_bases, picked, picked_value, best, best_value, "
        "regret, regret_by_chance, reason",
        f"{queries.BY_USE}, list_position({list(labels.EVIDENCE)}, best_evidence), policy_id, "
        f"{queries.BY_OBJECTIVE}, gold_id",
        optional=True,
    )


def ensemble_partners(study: Study) -> pl.DataFrame:
    """The partners in the first place: one row per benchmark or policy, gold reward, objective and first base model."""
    first = "kind, measured_on, gold_id, objective, data_id, base_model"
    return study.read(
        "fct_ensemble_partners",
        "kind, measured_on, gold_id, objective, data_id, base_model, partner, place, error, partner_error, both_wrong, "
        "low, high, both_wrong_of_seeds, difference, difference_low, difference_high, n_seeds, n_items, status, "
        f"count(*) filter (where is_level) over (partition by {first}) as n_level",
        "kind, measured_on, gold_id nulls first, objective nulls last, data_id nulls last, base_model, place",
        optional=True,
    ).pipe(lambda frame: frame.filter(place=1) if frame.height else frame)


def _answers(frame: pl.DataFrame) -> tuple[str, ...]:
    if not frame.height:
        return ()
    answered = frame.filter(pl.col("base_model").is_not_null())
    n_clear = answered.filter(pl.col("n_level") == 0, pl.col("n_compared") > 1).height
    text = (
        f"Of {labels.plural(frame.height, 'question')} (policy, use, objective and gold reward) {answered.height} "
        f"have a recommendation, and in {n_clear} of these one base model is clearly ahead. Where base models cannot "
        "be told apart they are listed together, without an order."
    )
    if answered.height < frame.height:
        text += " Where there is no recommendation, the table says why."
    return (text,)


def _losses(regrets: pl.DataFrame) -> tuple[str, ...]:
    known = regrets.filter(pl.col("regret").is_not_null()) if regrets.height else regrets
    sentences = []
    for (use,), part in known.group_by("use", maintain_order=True) if known.height else ():
        said = [
            f"{labels.EVIDENCE.get(str(evidence), str(evidence))} {labels.number(rows['regret'].mean(), 2)} instead of "  # type: ignore[arg-type]
            f"{labels.number(rows['regret_by_chance'].mean(), 2)} (n = {rows.height})"  # type: ignore[arg-type]
            for (evidence,), rows in part.group_by("best_evidence", maintain_order=True)
        ]
        sentences.append(f"{labels.capital(labels.USES.get(str(use), str(use)))}: {labels.listing(said)}.")
    if not sentences:
        return ()
    return (
        "What is lost, on average, where the best evidence is that named and all better evidence is hidden, and what a "
        f"blind choice loses. {' '.join(sentences)} The best is that of the same measurement, so that even a perfect "
        "rule would show a small loss on new prompts.",
    )


def _second_bases(partners: pl.DataFrame) -> tuple[str, ...]:
    known = partners.filter(pl.col("difference").is_not_null()) if partners.height else partners
    if not partners.height:
        return ()
    if not known.height:
        return (
            "Of no base model two seeds were measured, so that nothing says whether a second base model adds more to "
            "an ensemble than another seed.",
        )
    better, worse = (
        known.filter(pl.col("difference_high") < 0).height,
        known.filter(pl.col("difference_low") > 0).height,
    )
    return (
        f"A second base model beside another seed of the first, in {labels.plural(known.height, 'case')} with both: "
        f"the best partner of equal size shares fewer errors than the other seed in {better}, more in {worse}, and in "
        f"{known.height - better - worse} they cannot be told apart.",
    )


_USE = Col(
    "Use",
    lambda row: labels.USES.get(row["use"], row["use"]),
    TEXT,
    note=lambda row: labels.objective(row["objective"]),
)


def _recommendations(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("teacher_recommendations"),
        title="What to choose for each policy and use",
        caption=(
            "Base models of any size; make recommend POLICY=... USE=... MAX_PARAMS=... has the size limits. "
            "Expected: gold gain in standard deviations of the gold reward over the policy's responses, or the share "
            "of pairs of responses in the gold reward's order, with its 95 % interval. Best: share of draws in which "
            "the base model is the best of those compared. Evidence is taken in this order: measured on the policy; "
            "gains of the family on policies of the same family; RewardBench; benchmarks of base models."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col("Policy", "policy_id", TEXT, note=lambda row: f"gold {row['gold_id']}"),
            _USE,
            Col("Base model", "base_model", MODEL, note=_size),
            Col("Expected", "expected", VALUE, note=_interval),
            Col("Best", "probability_best", SHARE),
            Col("Why", _why, PROSE),
            Col("Evidence", lambda row: labels.EVIDENCE.get(row["evidence"], row["evidence"]), TEXT, note=_measure),
            Col("Device hours", "training_hours", VALUE, "to train the reward model", note=_teaching),
        ],
    )


def _why(row: Row) -> str:
    level = "" if row["level_with"] is None else f" Not told apart: {row['level_with']}."
    return f"{row['reason']}{level}"


def _size(row: Row) -> str:
    size = "" if row["params_b"] is None else f"{row['params_b']:g} B"
    family = {True: "the policy's family", False: "another family", None: ""}[row["is_same_family"]]
    return ", ".join(text for text in (size, family) if text)


def _interval(row: Row) -> str:
    return labels.interval(row["low"], row["high"], 2)


def _measure(row: Row) -> str:
    return "" if row["measure"] is None else str(labels.MEASURES.get(row["measure"], row["measure"]))


def _teaching(row: Row) -> str:
    return "" if row["teaching_hours"] is None else f"{row['teaching_hours']:.2g} a run of training the policy"


def _regrets(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("teacher_regrets"),
        title="What a recommendation loses where better evidence is hidden",
        caption=(
            "Loss: the best measured value minus that of the base model picked without the gains on the policy and all "
            "evidence that is better than the one named. By chance: minus the mean of all base models. A dash is an "
            "abstention. Units: standard deviations of the gold reward, for filtering of data shares of pairs."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col("Policy", "policy_id", TEXT, note=lambda row: f"gold {row['gold_id']}"),
            _USE,
            Col("Best evidence", lambda row: labels.EVIDENCE.get(row["best_evidence"], row["best_evidence"]), TEXT),
            Col("Picked", "picked", MODEL),
            Col("Best", "best", MODEL),
            Col("Loss", "regret", VALUE),
            Col("By chance", "regret_by_chance", VALUE),
            Col("n", "n_bases", COUNT, "base models with a measured value"),
            Col("Why there is none", "reason", PROSE),
        ],
    )


def _partners(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("ensemble_partners"),
        title="Which second base model adds most to an ensemble of two",
        caption=(
            "For each base model the partner, of the same objective and training data and of at most 1.25 times its "
            "parameters, with the fewest pairs that both get wrong. Another seed: the same of two seeds of the base "
            "model, which cost as much. Difference: below 0 where the partner adds more, with its paired 95 % interval."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col("Base model", "base_model", MODEL),
            Col(
                "Partner",
                "partner",
                MODEL,
                note=lambda row: f"{row['n_level']} level with it" if row["n_level"] else "",
            ),
            Col("On", "measured_on", TEXT, note=lambda row: "" if row["gold_id"] is None else f"gold {row['gold_id']}"),
            Col(
                "Objective", lambda row: None if row["objective"] is None else labels.objective(row["objective"]), TEXT
            ),
            Col("Errors", "error", SHARE),
            Col("Partner's errors", "partner_error", SHARE),
            Col("Both wrong", "both_wrong", SHARE, note=lambda row: _percents(row["low"], row["high"])),
            Col("Another seed", "both_wrong_of_seeds", SHARE),
            Col(
                "Difference",
                lambda row: None if row["difference"] is None else 100 * row["difference"],
                decimals(1, signed=True),
                "in points",
                note=lambda row: _percents(row["difference_low"], row["difference_high"]),
            ),
            Col("Items", "n_items", COUNT),
            Col("Note", lambda row: None if row["status"] == "ok" else row["status"], PROSE),
        ],
    )


def _percents(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else labels.interval(100 * low, 100 * high)
