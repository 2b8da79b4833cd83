"""Tables of the report: from a mart's frame to headings and cells."""

from __future__ import annotations

import math

import polars as pl

from warehouse.reports import words
from warehouse.reports.cells import figure as _figure
from warehouse.reports.cells import text as _text
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Cell, Column, Table

_CATEGORIES = ("chat", "chat_hard", "safety", "reasoning")


def results(frame: pl.DataFrame, name: str, objective: str) -> Table:
    """Accuracy per category and score of every model for one objective (Tables 4, 5); best of the comparable marked."""
    shown = (*_CATEGORIES, "score")
    best = {column: frame.filter("is_comparable")[column].max() for column in shown}
    rows = []
    for row in frame.iter_rows(named=True):
        measured = row["score_standard_error"] is not None
        error = row["score_standard_error"] if measured else row["score_standard_error_approximate"]
        cells = [
            _figure(row[name], best=row["is_comparable"] and row[name] is not None and row[name] == best[name])
            for name in shown
        ]
        rows.append(
            (
                _text(row["model_id"], note="" if row["status_reason"] is None else "incomplete"),
                _text(words.short_size_group(row["size_group"] or "–"), sort=row["size_group"]),
                *cells,
                _figure(error, 2, prefix="" if measured or error is None else "≈ "),
            )
        )
    return Table(
        name=name,
        title=f"{words.objective(objective)}: accuracy by category",
        caption=(
            "Share of RewardBench pairs in which the chosen answer got the higher reward, in percent; the "
            "score is the mean of the four categories. ± is the standard error of the score in points; ≈ "
            "marks a binomial approximation from the category sizes. The best value of each column is in "
            f"bold. n = {words.plural(frame.height, 'model')}."
        ),
        columns=(
            Column("Base model"),
            Column("Size group", hint="billions of parameters"),
            *(Column(words.TARGETS[column], numeric=True, hint="percent") for column in shown),
            Column("±", numeric=True, hint="standard error of the score, points"),
        ),
        rows=tuple(rows),
        empty=f"The study holds no {words.objective(objective)} results, so there is no table.",
    )


def changes_from_base(frame: pl.DataFrame, name: str) -> Table:
    """One row per model of marts.post_training_stages: each accuracy, under it the change from the base
    (Table 1).
    """
    return _stages(
        frame,
        name,
        title="Each stage against the base",
        caption="Accuracy in percent; under it the change from the base in points, and in percent of it.",
        value="value",
        points="change_points",
        percent="change_percent",
    )


def changes_from_parent(frame: pl.DataFrame, name: str) -> Table:
    """One row per model: change of each accuracy from the preceding stage, in both units."""
    return _stages(
        frame.filter(pl.col("parent_model_id").is_not_null()),
        name,
        title="Each stage against the one before it",
        caption="Change from the preceding stage in points; under it in percent of that stage's value.",
        value="change_from_parent_points",
        points=None,
        percent="change_from_parent_percent",
    )


def _stages(
    frame: pl.DataFrame, name: str, *, title: str, caption: str, value: str, points: str | None, percent: str
) -> Table:
    # The table against the base shows the values themselves, the other one the changes from a stage it names.
    unit = "percent" if points else "percentage points"
    rows = []
    for model, part in parts(frame, "model_id"):
        first = part.row(0, named=True)
        by_category = {row["category"]: row for row in part.iter_rows(named=True)}
        cells = []
        for category in words.TARGETS:
            row = by_category.get(category)
            if row is None:
                cells.append(Cell("–"))
                continue
            note = f"{words.number(row[percent], signed=True)} %"
            if points:
                note = f"{words.number(row[points], signed=True)} ({note})"
            text = words.number(row[value], signed=not points)
            cells.append(Cell(text, row[value], note="" if row[percent] is None else note))
        parent = () if points else (_text(first["parent_model_id"] or "–"),)
        rows.append((_text(model), _text(words.stage(first["stage"])), *parent, *cells))
    return Table(
        name=name,
        title=title,
        caption=caption,
        columns=(
            Column("Model"),
            Column("Last stage"),
            *(() if points else (Column("Preceding stage"),)),
            *(Column(text, numeric=True, hint=unit) for text in words.TARGETS.values()),
        ),
        rows=tuple(rows),
        empty="The study holds no post-training stages, so there is no table.",
    )


def benchmarks(frame: pl.DataFrame, name: str) -> Table:
    """For how many models each benchmark has a value, and how well that value's set-up matches."""
    rows = tuple(
        (
            _text(row["benchmark"]),
            _text(row["topic"] or "–"),
            _text(row["framework"] or "–"),
            _text(row["shots"] or "–"),
            *(_figure(row[column], 0) for column in ("n_models", "n_exact", "n_close", "n_loose")),
            _text(row["citation"] or "–"),
        )
        for row in frame.iter_rows(named=True)
    )
    return Table(
        name=name,
        title="Benchmarks and how many models have a value",
        caption=(
            "One value per model and benchmark is used: an exact match of the benchmark's set-up before a "
            "close one (other shots or metric). Loose matches come from another evaluation pipeline; they "
            "are counted but not used, unless the study says so."
        ),
        columns=(
            Column("Benchmark"),
            Column("Topic"),
            Column("Framework"),
            Column("Shots"),
            Column("Models used", numeric=True),
            Column("Exact", numeric=True),
            Column("Close", numeric=True),
            Column("Loose", numeric=True),
            Column("Citation"),
        ),
        rows=rows,
        empty="The study holds no benchmark values, so there is no table.",
    )


def _decimals(value: float | None, usual: int) -> int:
    """The usual decimals, or as many as a small value needs for two digits that count."""
    if not value or value >= 10**-usual:
        return usual
    return 1 - math.floor(math.log10(value))


def base_models(frame: pl.DataFrame, name: str) -> Table:
    """The compared models, the defaults marked in words; models only used for post-training come last."""
    rows = tuple(
        (
            _text(row["model_id"]),
            _text(row["hub_id"] or "–"),
            _text(row["publisher"] or "–"),
            _figure(row["params_b"], _decimals(row["params_b"], 2)),
            _figure(row["tokens_t"], _decimals(row["tokens_t"], 1)),
            _text(row["release_month"] or "–", sort=_month(row["release_month"])),
            _text(words.stage(row["stage"]) if row["stage"] else "–"),
            _text(_role(row)),
        )
        for row in frame.iter_rows(named=True)
    )
    return Table(
        name=name,
        title="Models",
        caption="Parameters in billions, pre-training tokens in trillions as the publishers state them.",
        columns=(
            Column("Base model"),
            Column("Hub id"),
            Column("Publisher"),
            Column("Parameters (B)", numeric=True),
            Column("Tokens (T)", numeric=True),
            Column("Released"),
            Column("Last stage"),
            Column("Size group"),
        ),
        rows=rows,
        empty="The study holds no models, so there is no table.",
    )


def errors(frame: pl.DataFrame, comparison: pl.DataFrame, name: str, objective: str) -> Table:
    """Out-of-fold error, coverage and regret of every predictor beside its in-sample error, smallest error first.

    frame: rows of performance_marts.scores of `leave_publisher_out` with `in_sample_mae`; comparison:
    verdict.against_size of the same objective.
    """
    against = {row["predictor"]: row for row in comparison.iter_rows(named=True)}
    best = {column: (frame[column].min(), frame[column].max()) for column in frame.columns}
    rows = []
    for row in frame.iter_rows(named=True):
        size = against.get(row["predictor"], {})
        is_size = row["predictor"] == "log10_params"
        difference = None if is_size else size.get("difference")
        low, high = size.get("difference_low"), size.get("difference_high")
        baseline = "baseline" if row["predictor"] in words.BASELINES else ""
        label = words.predictor(row["predictor"])
        rows.append(
            (
                Cell(label, label, note=baseline),
                Cell(
                    words.number(row["mae"]),
                    row["mae"],
                    row["mae"] == best["mae"][0],
                    words.interval(row["mae_low"], row["mae_high"]),
                ),
                Cell(
                    words.number(difference, signed=True),
                    difference,
                    note="" if difference is None else words.interval(low, high, signed=True),
                ),
                _figure(row["in_sample_mae"]),
                *(
                    Cell(words.percent(row[column]), row[column], bool(row[column]) and row[column] == best[column][1])
                    for column in ("coverage_at_5", "coverage_at_10")
                ),
                *(
                    _figure(row[column], best=row[column] is not None and row[column] == best[column][0])
                    for column in ("regret_at_1", "regret_at_5")
                ),
            )
        )
    n = max(frame["n"].to_list(), default=0)
    return Table(
        name=name,
        title=f"{words.objective(objective)}: all predictors, publisher left out",
        caption=(
            "Every figure but the in-sample error is for models of a publisher that the predictor never saw. Error: "
            "mean absolute error of the predicted score in points, under it the 95 % interval with publishers "
            "resampled. Against size: the error minus the error of size alone, below zero is better. In-sample: the "
            "same error for the very models that were fitted to. Cov (coverage): share of the true k best among the k "
            f"best predicted (chance: {words.percent(5 / n if n else None)} and "
            f"{words.percent(10 / n if n else None)}). Regret: score of the best minus the best score among the k "
            f"picked. n = {words.plural(n, 'model')}."
        ),
        columns=(
            Column("Predictor"),
            Column("Error", numeric=True, hint="mean absolute error, points, publisher left out"),
            Column("Against size", numeric=True, hint="error minus that of size alone, points"),
            Column("In-sample", numeric=True, hint="the same error for the models that it was fitted to, points"),
            Column("Cov@5", numeric=True, hint="coverage of the 5 best"),
            Column("Cov@10", numeric=True, hint="coverage of the 10 best"),
            Column("Regret@1", numeric=True, hint="points"),
            Column("Regret@5", numeric=True, hint="points"),
        ),
        rows=tuple(rows),
        empty=f"There are no errors of prediction for {words.objective(objective)}.",
    )


def excluded_features(frame: pl.DataFrame, name: str, n_objectives: int) -> Table:
    """Features that the performance model leaves out, and why; the objective is named where it is not for all."""
    rows = []
    for row in frame.iter_rows(named=True):
        some = len(row["objectives"]) < n_objectives
        only = f" ({words.listing([words.objective(item) for item in row['objectives']])} only)" if some else ""
        rows.append(
            (
                _text(words.feature(row["feature"]) + only),
                Cell(words.percent(row["share_of_models"]), row["share_of_models"]),
                _text(words.sentence(row["reason"])),
            )
        )
    return Table(
        name=name,
        title="Features that the performance model leaves out",
        caption="A feature enters only if enough models have a value for it; missing values of the others are imputed "
        "within each fold.",
        columns=(
            Column("Feature"),
            Column("Models with a value", numeric=True, hint="share of the models with a reward model"),
            Column("Why it is left out", prose=True),
        ),
        rows=tuple(rows),
        empty="No feature was left out of the performance model.",
    )


def recommendations(frame: pl.DataFrame, name: str, objective: str) -> Table:
    """The best few models of each size limit; frame: ranked rows of performance_marts.recommendations."""
    rows = []
    for row in frame.iter_rows(named=True):
        limit = row["size_limit_b"]
        rows.append(
            (
                _text(words.size_limit(limit), sort="no limit" if limit is None else f"{limit:g}"),
                _figure(row["rank"], 0),
                Cell(row["model_id"], row["model_id"], note=words.BASES.get(row["basis"], row["basis"])),
                Cell(
                    words.number(row["expected_score"]),
                    row["expected_score"],
                    row["rank"] == 1,
                    words.interval(row["interval_low"], row["interval_high"]),
                ),
                _figure(row["gain_points_over_default"], signed=True),
                Cell(words.percent(row["probability_best"]), row["probability_best"]),
                _text(words.sentence(row["reason"])),
            )
        )
    return Table(
        name=name,
        title=f"{words.objective(objective)}: what to take under each size limit",
        caption=(
            "The first three models of at most so many billion parameters. Under each name: whether its score is "
            "measured, or predicted because no reward model was trained on it. Under the score: its 90 % interval. "
            "Gain: points over the default of the model's own size group. Best: share of draws within the known errors "
            "in which the model is the best of its limit; the luck of a training run is not among these errors."
        ),
        columns=(
            Column("Size limit", hint="billions of parameters, inclusive"),
            Column("Rank", numeric=True),
            Column("Base model"),
            Column("Score", numeric=True, hint="expected score, 0-100"),
            Column("Gain", numeric=True, hint="points over the default of the model's size group"),
            Column("Best", numeric=True, hint="probability of being the best within the limit"),
            Column("Why", prose=True),
        ),
        rows=tuple(rows),
        empty=f"No base model can be recommended for {words.objective(objective)}.",
    )


def not_recommended(frame: pl.DataFrame, name: str) -> Table:
    """Models without a recommendation, and why; frame: model_id, objectives (list), reason."""
    rows = tuple(
        (
            _text(row["model_id"]),
            _text(words.listing([words.objective(item) for item in row["objectives"]])),
            _text(words.sentence(row["reason"])),
        )
        for row in frame.iter_rows(named=True)
    )
    return Table(
        name=name,
        title="No recommendation, and why",
        caption="Models without a comparable result for which no prediction is made: an abstention, not a low score.",
        columns=(Column("Base model"), Column("Objective"), Column("Why", prose=True)),
        rows=rows,
        empty="There is no model without a recommendation.",
    )


def _role(row: dict[str, object]) -> str:
    if not row["is_compared"]:
        return "post-training comparison only"
    group = words.short_size_group(str(row["size_group"]))
    return f"{group}, the default" if row["is_default"] else group


def _month(text: str | None) -> str | None:
    """'09/2024' sorts as '2024-09'; any other text as it is."""
    parts = (text or "").split("/")
    return f"{parts[1]}-{parts[0]}" if len(parts) == 2 else text
