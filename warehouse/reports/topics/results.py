"""All results of a study: accuracy by category, missing results, pair by pair, subset by subset (Tables 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import polars as pl

from warehouse.reports import labels, queries
from warehouse.reports.elements import Section, Study
from warehouse.reports.labels import ScoreBasis
from warehouse.reports.queries import BY_OBJECTIVE, parts
from warehouse.reports.tables import (
    COUNT,
    MODEL,
    OBJECTIVE,
    POINTS,
    PROSE,
    SIGNED,
    Col,
    Format,
    Row,
    Table,
    decimals,
    extreme,
)

_P = Format(lambda value: "< 0.001" if value < 0.001 else f"{value:.3f}", "number")


def section(study: Study) -> Section:
    """A table per objective; tables of pairs and subsets only where results of single items are known."""
    frame = reward_model_results(study)
    items = [results_table(part, objective, study) for objective, part in parts(frame, "objective")]
    paragraphs = ["Select a heading to sort by it." if items else "The study holds no results."]
    paragraphs += _missing(frame, queries.base_models(study.connection, study.study_id))
    incomplete = frame.filter(pl.col("status_reason").is_not_null())
    if incomplete.height:
        items.append(_incomplete_table(incomplete, study))
    items += [_comparison_table(part, objective, study) for objective, part in parts(comparisons(study), "objective")]
    items += [subset_table(part, objective, study) for objective, part in parts(subsets(study), "objective")]
    return Section("results", "All results", tuple(paragraphs), items=tuple(items))


def reward_model_results(study: Study) -> pl.DataFrame:
    """One row per objective and model, best score first; standard errors in points."""
    return study.read(
        "fct_reward_model_results",
        "objective, model_id, size_group, chat, chat_hard, safety, reasoning, score, score_standard_error, "
        "score_standard_error_approximate, standard_error_method, run_deviation, is_near_chance, "
        "near_chance_categories, reasoning_unweighted, n_pairs, n_left_out, status, status_reason, is_comparable, "
        "basis",
        f"{BY_OBJECTIVE}, score desc nulls last, model_id",
    )


def comparisons(study: Study) -> pl.DataFrame:
    """One row per objective and comparison: each model with its group's default, the best with its runner-up.

    The difference is that of the score, largest first, null without all categories.
    """
    return study.read(
        "fct_reward_model_comparisons",
        "objective, model_id, size_group, compared_with, other_model_id, n_pairs, n_both, n_only_model, n_only_other, "
        "n_neither, difference_points, low, high, low_with_runs, high_with_runs, sign_flip_p",
        f"{BY_OBJECTIVE}, compared_with, difference_points desc nulls last, model_id",
        {"category": "score"},
        optional=True,
    )


def subsets(study: Study) -> pl.DataFrame:
    """One row per objective, subset and model: pairs won; only subsets that some model has pairs of.

    By category (null last) and RewardBench's order of size; accuracy is null where a model has no pairs.
    """
    frame = study.read(
        "fct_reward_model_subsets",
        "objective, category, subset, model_id, n_examples, n_pairs, n_won, n_ties, n_errors, accuracy",
        f"{BY_OBJECTIVE}, list_position({list(labels.CATEGORIES)}, category) nulls last, category nulls last, "
        "n_examples desc, subset, model_id",
        optional=True,
    )
    return frame.filter(pl.col("n_pairs").max().over("objective", "subset") > 0) if frame.height else frame


def results_table(frame: pl.DataFrame, objective: str, study: Study) -> Table:
    """Accuracy per category and score of every model for one objective; the best of the comparable marked."""
    rows, basis = frame.to_dicts(), study.basis
    categories = labels.CATEGORIES if basis.benchmark == "rewardbench" else ()
    accuracies = [
        Col(
            labels.TARGETS[key],
            key,
            POINTS,
            "percent",
            best=extreme(max, rows, key, among="is_comparable"),
            note=partial(_near_chance, key=key),
        )
        for key in (*categories, "score")
    ]
    return Table(
        name=study.name("results", objective),
        title=f"{labels.objective(objective)}: {'accuracy by category' if categories else 'score'}",
        caption=(
            f"{_accuracy_of(basis)}The score is the {basis.text}, in percent. ± is its standard error over "
            "test questions in points; ≈ marks a binomial approximation from the number of items. A second training "
            f"would differ by a standard deviation of {labels.number(rows[0]['run_deviation'])} points. "
            f"{labels.capital(basis.by_chance)}; “chance” marks values whose 95 % interval over test questions reaches "
            "5 points above that or less. The best value of each column is in bold; others may not be distinguishable "
            f"from it. n = {labels.plural(frame.height, 'model')}."
        ),
        rows=rows,
        columns=[
            Col("Base model", "model_id", MODEL, note=lambda row: "incomplete" if row["status_reason"] else ""),
            _SIZE_GROUP,
            *accuracies,
            Col(
                "±",
                _standard_error,
                decimals(2),
                "standard error of the score, points",
                prefix=lambda row: "≈ " if row["score_standard_error"] is None else "",
            ),
        ],
    )


def _accuracy_of(basis: ScoreBasis) -> str:
    if basis.benchmark != "rewardbench":
        return ""
    return "Share of RewardBench pairs in which the chosen answer got the higher reward, in percent. "


def _near_chance(row: Row, key: str) -> str:
    flagged = row["is_near_chance"] if key == "score" else key in (row["near_chance_categories"] or "").split(", ")
    return "chance" if flagged else ""


_SIZE_GROUP = Col(
    "Size group",
    lambda row: None if row["size_group"] is None else labels.short_size_group(row["size_group"]),
    hint="billions of parameters",
    sort=lambda row: row["size_group"],
)


def _standard_error(row: Row) -> float | None:
    measured = row["score_standard_error"]
    return row["score_standard_error_approximate"] if measured is None else measured


def _missing(frame: pl.DataFrame, models: pl.DataFrame) -> list[str]:
    """One sentence per objective with compared models that have no result."""
    compared = models.filter("is_compared")["model_id"].to_list()
    sentences = []
    for objective, part in parts(frame, "objective"):
        present = set(part["model_id"])
        missing = [model_id for model_id in compared if model_id not in present]
        if left_out := max(part.filter("is_comparable")["n_left_out"].to_list(), default=0):
            sentences.append(
                f"{labels.objective(objective)}: {labels.plural(left_out, 'pair')} left out of all scores, because one "
                "of the compared models has no reward for them."
            )
        if missing:
            count = f"{len(missing)} of {labels.plural(len(compared), 'compared model')}"
            sentences.append(f"{labels.objective(objective)}: no result yet for {count}: {labels.listing(missing)}.")
    return sentences


def _incomplete_table(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("incomplete"),
        title="Incomplete results",
        caption=(
            "Missing pairs are left out, never counted as lost. Compared: a result is ranked and correlated only if "
            "its model has rewards for nine tenths of the pairs of each category that any model of its objective has; "
            "these models are compared on the pairs that all of them have."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col("Base model", "model_id", MODEL),
            Col("Objective", "objective", OBJECTIVE),
            Col("Compared", lambda row: "yes" if row["is_comparable"] else "no"),
            Col("What is missing", "status_reason", PROSE),
        ],
    )


def _comparison_table(frame: pl.DataFrame, objective: str, study: Study) -> Table:
    return Table(
        name=study.name("comparisons", objective),
        title=f"{labels.objective(objective)}: pair by pair against the default and the runner-up",
        caption=(
            "Both models on the same pairs. Difference: of the score, in points; under it the paired 95 % interval "
            "over test questions. With runs: the interval that counts training runs, too. Only this, only other: pairs "
            "that one of the two wins and the other does not. p: of the same weighted difference, when the sign of "
            "each such pair is that of a coin (sign-flip test); it knows test questions only."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col(
                "Base model",
                "model_id",
                MODEL,
                note=lambda row: f"against the {row['compared_with']} {row['other_model_id']}",
            ),
            _SIZE_GROUP,
            Col(
                "Difference",
                "difference_points",
                SIGNED,
                "score minus that of the other, points",
                note=lambda row: labels.interval(row["low"], row["high"], signed=True),
            ),
            Col(
                "With runs",
                lambda row: labels.interval(row["low_with_runs"], row["high_with_runs"], signed=True) or None,
                hint="95 % interval over test questions and training runs, points",
                sort=lambda row: row["low_with_runs"],
            ),
            Col("Only this", "n_only_model", COUNT, "pairs that only this model wins"),
            Col("Only other", "n_only_other", COUNT, "pairs that only the other wins"),
            Col("Pairs", "n_pairs", COUNT, "pairs that both have rewards for"),
            Col("p", "sign_flip_p", _P, "sign-flip test, two-sided"),
        ],
    )


def subset_table(frame: pl.DataFrame, objective: str, study: Study) -> Table:
    """One row per subset, one column per model; frame: rows of `subsets` of one objective."""
    rows = [
        part.row(0, named=True) | {"by": {row["model_id"]: row for row in part.to_dicts()}}
        for _, part in parts(frame, "subset")
    ]
    return Table(
        name=study.name("subsets", objective),
        title=f"{labels.objective(objective)}: accuracy by subset",
        caption=(
            "Share of the subset's pairs won, in percent. Ties are not won; a pair without a reward is left out. A "
            "dash: the test set has no pairs of the subset."
        ),
        rows=rows,
        columns=[
            Col("Subset", "subset"),
            Col("Category", _category),
            Col("Pairs", lambda row: row["n_examples"] or None, COUNT, "pairs that the benchmark has"),
            *(
                Col(model_id, _of_model(model_id, _accuracy), POINTS, "percent", note=_of_model(model_id, _pairs))
                for model_id in frame["model_id"].unique().sort()
            ),
        ],
    )


def _category(row: Row) -> str:
    name = row["category"]
    return "not RewardBench's" if name is None else "" if name == "all" else labels.target(name)


def _of_model(model_id: str, value: Callable[[dict[str, Any]], Any]) -> Callable[[Row], Any]:
    """A function of a model's own row within the row of a subset; an empty row where the model has none."""
    return lambda row: value(row["by"].get(model_id) or {"n_pairs": 0})


def _accuracy(row: dict[str, Any]) -> float | None:
    return row["accuracy"] if row["n_pairs"] else None


def _pairs(row: dict[str, Any]) -> str:
    """Ties, errors and the number of pairs where it is not the benchmark's."""
    if not row["n_pairs"]:
        return ""
    notes = [labels.plural(row["n_ties"], "tie")] if row["n_ties"] else []
    if row["n_errors"]:
        notes.append(labels.plural(row["n_errors"], "error"))
    if row["n_examples"] and row["n_pairs"] != row["n_examples"]:
        notes.append(labels.plural(row["n_pairs"], "pair"))
    return ", ".join(notes)
