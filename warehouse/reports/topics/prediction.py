"""Errors of the prediction: in-sample and out of fold, comparison with size, predicted against observed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study, TrustCard, TrustFigure
from warehouse.reports.queries import BY_OBJECTIVE, BY_PROTOCOL, parts
from warehouse.reports.tables import POINTS, PROSE, SHARE, SIGNED, Col, Row, Table, extreme

TITLE = "Can the result be predicted?"
PREDICTED_TITLE = "Predicted against observed scores"
TARGET = {"target": "score"}
IN_SAMPLE, OUT_OF_FOLD = "paper_in_sample", "leave_publisher_out"
MODEL = "elastic_net"
"""The predictor of the paper, which the figures by protocol show."""
ANSWER, SIZE, SELECTED = "average", "log10_params", "selected"
"""What answers: verdict, forecasts and recommendations; the baseline; and the choice by inner errors."""
WITH_MIX, PLACEBO = "elastic_net_with_mix", "placebo"
_VARIANTS = (WITH_MIX, "average_without_shrinkage")
"""Not predictors of their own."""
_COMBINED = (ANSWER, "average_without_shrinkage", SELECTED)
_TRUST = (
    (ANSWER, OUT_OF_FOLD, "out-of-fold"),
    (MODEL, IN_SAMPLE, "in-sample"),
    (MODEL, "paper_10_fold", "out-of-fold"),
    (MODEL, OUT_OF_FOLD, "out-of-fold"),
    ("mean", OUT_OF_FOLD, "baseline"),
    (SIZE, OUT_OF_FOLD, "baseline"),
    ("params_and_tokens", OUT_OF_FOLD, "baseline"),
)


def section(study: Study) -> Section:
    """Trust cards and errors of all predictors, in a figure and as tables."""
    scores = prediction_errors(study)
    missing = absence(study, scores)
    if missing:
        return Section("prediction", TITLE, (missing,))
    predictions, comparisons, cards, dots = predicted(study), comparisons_of(study), [], []
    tables: list[Table] = []
    domain = _error_range(scores.filter(protocol=OUT_OF_FOLD))
    for objective, part in parts(scores, "objective"):
        mine = predictions.filter(objective=objective) if predictions.height else predictions
        compared = comparisons.filter(objective=objective) if comparisons.height else comparisons
        cards.append(_card(objective, part, mine, compared))
        outside = _with_in_sample(part)
        if outside.height:
            dots.append(_error_panel(objective, outside, domain))
            tables.append(_error_table(outside, compared, objective, study))
    items: tuple[Figure | Table, ...] = (_error_figure(dots, study), *tables)
    paragraphs = (
        _INTRODUCTION,
        *_other_studies(other_studies(study)),
        *_together(predictions),
        *_abstentions(abstentions(study)),
    )
    return Section("prediction", TITLE, paragraphs, items=items, trust=tuple(cards))


def predicted_section(study: Study) -> Section:
    """Predicted against observed scores, and the features that the performance model leaves out."""
    scores, predictions, excluded = prediction_errors(study), predicted(study), excluded_features(study)
    missing = absence(study, scores)
    if missing:
        return Section("predicted", PREDICTED_TITLE, (missing,))
    items: list[Figure | Table] = []
    for objective in scores["objective"].unique(maintain_order=True):
        mine = predictions.filter(objective=objective) if predictions.height else predictions
        items.append(_clouds(mine, objective, study))
    if excluded.height:
        items.append(_excluded_table(excluded, scores["objective"].n_unique(), study))
    text = (
        f"Every score as the {labels.predictor(MODEL)} predicts it, beside the score that was observed, under each "
        "protocol: fitted to the model itself, to other models of its publisher, and without its publisher."
    )
    return Section("predicted", PREDICTED_TITLE, (text, *_left_out(excluded)), items=tuple(items))


def prediction_errors(study: Study) -> pl.DataFrame:
    """One row per objective, protocol and predictor: MAE with its 95 % interval, coverage, regret."""
    columns = (
        "objective, protocol, predictor, mae, mae_low, mae_high, coverage_at_5, coverage_at_10, regret_at_1, "
        "regret_at_5, coverage_at_5_chance, coverage_at_10_chance, regret_at_1_chance, n"
    )
    order = f"{BY_OBJECTIVE}, {BY_PROTOCOL}, mae, predictor"
    return study.read("fct_performance_scores", columns, order, TARGET, optional=True)


def predicted(study: Study) -> pl.DataFrame:
    """One row per objective, protocol, predictor and model: predicted score, 90 % interval, observed score."""
    columns = (
        "objective, protocol, predictor, model_id, predicted, interval_low, interval_high, observed, is_supported, fold"
    )
    order = f"{BY_OBJECTIVE}, {BY_PROTOCOL}, predictor, model_id"
    return study.read("fct_performance_predictions", columns, order, TARGET, optional=True)


def comparisons_of(study: Study) -> pl.DataFrame:
    """One row per objective, predictor and reference: errors with the publisher left out, compared model by model."""
    columns = (
        "objective, predictor, reference, mae, reference_mae, difference, difference_low, difference_high, "
        "publisher_difference, publisher_difference_low, publisher_difference_high"
    )
    order = f"{BY_OBJECTIVE}, reference, mae, predictor"
    where = {**TARGET, "protocol": OUT_OF_FOLD}
    return study.read("fct_performance_comparisons", columns, order, where, optional=True)


def abstentions(study: Study) -> pl.DataFrame:
    """One row per objective and target without a performance model, with the reason; the score first."""
    order = f"{BY_OBJECTIVE}, target <> 'score', target, reason"
    return study.read("fct_performance_abstentions", "objective, target, reason", order, optional=True)


def excluded_features(study: Study) -> pl.DataFrame:
    """One row per feature that the performance model leaves out and reason, with the objectives."""
    order = f"share_of_models desc, feature, reason, {BY_OBJECTIVE}"
    columns = "feature, share_of_models, reason, objective"
    frame = study.read("fct_performance_excluded_features", columns, order, TARGET, optional=True)
    if not frame.height:
        return frame
    within = ["feature", "share_of_models", "reason"]
    return frame.group_by(within, maintain_order=True).agg(pl.col("objective").alias("objectives"))


def other_studies(study: Study) -> pl.DataFrame:
    """One row per objective and other study that the prediction of the score learned from, too."""
    columns = "objective, other_study_id, n_models, recipe_effect, recipe_effect_error, shrunk_effect, share"
    order = f"{BY_OBJECTIVE}, other_study_id"
    return study.read("fct_performance_other_studies", columns, order, TARGET, optional=True)


def absence(study: Study, scores: pl.DataFrame) -> str:
    """The reason why a study has no performance model, in one sentence; empty if it has one.

    scores: of `prediction_errors`; a frame without columns is a mart that was not built.
    """
    if scores.height:
        return ""
    begin, refused = "There is no performance model for this study", abstentions(study)
    if refused.height:
        reasons = refused.filter(target="score")["reason"].unique(maintain_order=True).to_list()
        return labels.sentence(f"{begin}: {'; '.join(reasons or refused['reason'].unique(maintain_order=True))}")
    if not scores.columns:
        return f"{begin}: none has been fitted in this warehouse."
    return f"{begin} yet: it follows the first answer of `make run`."


def against(reference: str, comparisons: pl.DataFrame) -> list[dict[str, Any]]:
    """The predictors that were compared with a reference, smallest error first; comparisons: of one objective."""
    if not comparisons.height:
        return []
    return comparisons.filter(pl.col("predictor") != reference, reference=reference).to_dicts()


def verdict(comparisons: pl.DataFrame) -> tuple[str, str, str]:
    """Whether anything beats size alone for a publisher that was never seen: (level, headline, detail).

    comparisons: rows of `comparisons_of` of one objective. A predictor beats another if the 95 % interval of its error
    minus that of the other lies below zero. Only the average counts, of which nothing was chosen; a single predictor
    that would have won is known in hindsight only. level: `beaten` (by the average), `hindsight`, `none`, or `unknown`.
    """
    rows = {row["predictor"]: row for row in against(SIZE, comparisons) if row["predictor"] not in _VARIANTS}
    if not rows:
        return "unknown", "It is not known whether anything beats size alone out of fold.", ""
    chosen = rows.pop(ANSWER, None)
    winners = [labels.predictor(name) for name, row in rows.items() if row["difference_high"] < 0]
    # Without the average the smallest error is shown.
    detail = _detail(chosen or next(iter(rows.values())))
    if chosen and chosen["difference_high"] < 0:
        return "beaten", f"The {labels.predictor(ANSWER)} beats size alone out of fold.", detail
    if winners:
        names = labels.listing(winners)
        headline = f"The {labels.predictor(ANSWER)} does not beat size alone out of fold, although {names} would have."
        return "hindsight", headline, f"{detail} Which predictor would have won is known in hindsight only."
    from_mean = {row["predictor"]: row for row in against("mean", comparisons)}
    if SIZE in from_mean and all(row["difference_high"] >= 0 for row in from_mean.values()):
        row = from_mean[SIZE]
        reach = labels.number((row["difference_high"] - row["difference_low"]) / 2)
        return (
            "none",
            "Nothing, size included, is shown to predict better than the mean of the results.",
            f"{detail} Size alone differs from the mean by {_points(row)}: with so few publishers a difference below "
            f"about {reach} points cannot be seen. Predictions are therefore shrunk to the mean.",
        )
    return "none", "Nothing beats size alone out of fold.", detail


def _detail(row: dict[str, Any]) -> str:
    ends = (row["publisher_difference_low"], row["publisher_difference_high"])
    average = labels.number(row["publisher_difference"], signed=True)
    name = f"{'the ' if row['predictor'] == ANSWER else ''}{labels.predictor(row['predictor'])}"
    return (
        f"For a publisher never seen, the mean absolute error is {labels.number(row['mae'])} points with "
        f"{name} and {labels.number(row['reference_mae'])} with size alone (difference "
        f"{_points(row)}; with every publisher weighing the same {average}, {labels.interval(*ends, signed=True)})."
    )


def _points(row: dict[str, Any]) -> str:
    """A difference with its 95 % interval."""
    difference = labels.number(row["difference"], signed=True)
    return f"{difference}, 95 % interval {labels.interval(row['difference_low'], row['difference_high'], signed=True)}"


def mix_sentence(comparisons: pl.DataFrame) -> str:
    """Whether the pre-training mix improves the elastic net by more than placebos; empty without a mix.

    comparisons: rows of `comparisons_of` of one objective.
    """
    found = [[row for row in against(name, comparisons) if row["predictor"] == WITH_MIX] for name in (MODEL, PLACEBO)]
    if not all(found):
        return ""
    without, placebo = (rows[0] for rows in found)
    text = "The pre-training mix improves the elastic net out of fold, and beats its placebos"
    if without["difference_high"] >= 0:
        text = "The pre-training mix does not improve the elastic net out of fold"
    elif placebo["difference_high"] >= 0:
        text = "The pre-training mix improves the elastic net out of fold, but no more than a placebo does"
    ends = labels.interval(placebo["difference_low"], placebo["difference_high"], signed=True)
    return (
        f"{text}: its error differs from that without the mix by {_points(without)}, and from that with a placebo, as "
        f"many random features that are constant within a family, by "
        f"{labels.number(placebo['difference'], signed=True)} ({ends} for nine of ten of 100 draws)."
    )


_INTRODUCTION = (
    "A performance model predicts the score of a reward model from benchmark values, size and pre-training tokens of "
    "its base, before anything is trained. In-sample errors are for the models that it was fitted to, as in the paper, "
    "and are optimistic. What counts for a new base is the error with its whole publisher left out of the fit, of the "
    "imputation and of every choice: “publisher left out”. The average of all predictors but the mean answers; its "
    "deviation from the mean of the results is shrunk by the factor from 0 to 1 that held-out results inside a fold "
    "fit best, so that it falls back on the mean where nothing is known to be better."
)


def _together(predictions: pl.DataFrame) -> tuple[str, ...]:
    """Which publishers share a fold: those with a lineage in common, where the study says so, or many small ones."""
    left_out = predictions.filter(protocol=OUT_OF_FOLD)["fold"] if predictions.height else pl.Series(dtype=pl.String)
    shared = sorted(fold for fold in left_out.unique() if " + " in fold)
    return (f"Publishers that are left out together: {'; '.join(shared)}.",) if shared else ()


def _other_studies(frame: pl.DataFrame) -> tuple[str, ...]:
    """Per objective and other study, how many reward models were learned from, and the effect of their recipe."""
    return tuple(
        f"{labels.objective(row['objective'])}: learned from {labels.plural(row['n_models'], 'reward model')} of the "
        f"study “{row['other_study_id']}”, too, with a mean share of {labels.percent(row['share'])} in the "
        f"predictions. Their training recipe moves results by {labels.number(row['recipe_effect'], signed=True)} ± "
        f"{labels.number(row['recipe_effect_error'])} points; after shrinkage they were corrected by "
        f"{labels.number(row['shrunk_effect'], signed=True)}. No figure here judges them."
        for row in frame.to_dicts()
    )


def _abstentions(frame: pl.DataFrame) -> tuple[str, ...]:
    """One sentence per objective and target without a performance model, where others have one."""
    return tuple(
        labels.sentence(
            f"No performance model for {labels.target(row['target'])} under "
            f"{labels.objective(row['objective'])}: {row['reason']}"
        )
        for row in frame.to_dicts()
    )


def _left_out(excluded: pl.DataFrame) -> tuple[str, ...]:
    if not excluded.height:
        return ()
    names = [labels.feature(name) for name in excluded["feature"].unique(maintain_order=True)]
    count = f"{labels.plural(len(names), 'feature')} {'is' if len(names) == 1 else 'are'} left out of the model"
    return (f"{count}, for the reasons in the table below: {labels.listing(names)}.",)


def _card(objective: str, scores: pl.DataFrame, predictions: pl.DataFrame, comparisons: pl.DataFrame) -> TrustCard:
    found = {(row["predictor"], row["protocol"]): row for row in scores.to_dicts()}
    figures = [
        TrustFigure(
            labels.predictor(predictor),
            labels.protocol(protocol),
            labels.number(row["mae"]),
            labels.interval(row["mae_low"], row["mae_high"]),
            kind,
        )
        for predictor, protocol, kind in _TRUST
        if (row := found.get((predictor, protocol)))
    ]
    level, headline, detail = verdict(comparisons)
    details = [
        detail,
        mix_sentence(comparisons),
        _picks(found.get((ANSWER, OUT_OF_FOLD))),
        _intervals_held(predictions),
    ]
    return TrustCard(
        labels.objective(objective), level, headline, tuple(figures), tuple(text for text in details if text)
    )


def _picks(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    sentences = []
    if row["regret_at_1"] is not None:
        lost, chance = labels.number(row["regret_at_1"]), labels.number(row["regret_at_1_chance"])
        sentences.append(
            f"Choosing the base that the {labels.predictor(ANSWER)} ranks first would cost {lost} points ({chance} "
            "without skill under this protocol)."
        )
    found = [
        f"{labels.percent(row[f'coverage_at_{k}'])} of the {k} best ({labels.percent(row[f'coverage_at_{k}_chance'])} "
        "without skill)"
        for k in (5, 10)
        if row[f"coverage_at_{k}"] is not None
    ]
    if found:
        sentences.append(f"Among as many picks it finds {labels.listing(found)}.")
    return " ".join(sentences)


def _intervals_held(predictions: pl.DataFrame) -> str:
    left_out = predictions.filter(protocol=OUT_OF_FOLD) if predictions.height else predictions
    mine = left_out.filter(predictor=ANSWER) if left_out.height else left_out
    if not mine.height:
        return ""
    far = mine.filter(~pl.col("is_supported"))
    near = mine.filter("is_supported")
    text = _held(mine, f"The 90 % intervals of the {labels.predictor(ANSWER)}, which forecasts use,")
    if not far.height or not near.height:
        return text
    errors = [
        labels.number((part["predicted"] - part["observed"]).abs().mean())  # type: ignore[arg-type]
        for part in (far, near)
    ]
    return (
        f"{text} {far.height} of the {labels.plural(mine.height, 'model')} lie so far from the models of other "
        f"publishers that no prediction would be made: their error is {errors[0]} points, that of the others "
        f"{errors[1]}."
    )


def _held(frame: pl.DataFrame, whose: str = "Its 90 % intervals") -> str:
    known = frame.filter(pl.any_horizontal(pl.col("interval_low", "interval_high").is_not_null()))
    inside = known.filter(
        pl.col("observed").ge(pl.col("interval_low")).fill_null(True)
        & pl.col("observed").le(pl.col("interval_high")).fill_null(True)
    )
    if not known.height:
        return "There are no intervals."
    return f"{whose} hold the observed score of {inside.height} of {labels.plural(known.height, 'model')}."


def _with_in_sample(scores: pl.DataFrame) -> pl.DataFrame:
    in_sample = scores.filter(protocol=IN_SAMPLE).select("predictor", in_sample_mae="mae")
    outside = scores.filter(protocol=OUT_OF_FOLD)
    return outside.join(in_sample, on="predictor", how="left", maintain_order="left")


def _error_panel(objective: str, frame: pl.DataFrame, domain: charts.Range) -> Panel:
    values = ", ".join(f"{labels.predictor(row['predictor'])} {labels.number(row['mae'])}" for row in frame.to_dicts())
    return Panel(
        title=f"{labels.objective(objective)} (n\u00a0=\u00a0{max(frame['n'])})",
        label=f"Mean absolute error of prediction, publisher left out, {labels.objective(objective)}: {values}.",
        chart=error_dots(frame, domain),
    )


def _error_figure(panels: list[Panel], study: Study) -> Figure:
    baselines = labels.listing([labels.predictor(name) for name in labels.BASELINES])
    return Figure(
        name=study.name("prediction_errors"),
        title="Error of every predictor for a publisher never seen",
        caption=(
            "Dots are the mean absolute error of the predicted score with the model's publisher left out, smallest "
            "first; lines are 95 % intervals by the jackknife over publishers. Hollow dots are baselines "
            f"({baselines}); diamonds are made of the others within each fold: their average, with and without "
            "shrinkage to the mean of the results, and nested selection, which picks one. The dashed upright line is "
            "size alone. The small upright mark is the same predictor's error in-sample: the distance between the two "
            "is optimism. Errors of two predictors are of the same models, so overlapping lines do not decide which is "
            "better; the table below compares them model by model."
        ),
        panels=tuple(panels),
        empty="There are no errors with a publisher left out.",
        key="Hollow: baselines; diamonds: made of the others; small upright mark: in-sample; dashed: size alone",
        columns=2,
        panel_width=430,
    )


def _error_range(frame: pl.DataFrame) -> charts.Range:
    """One x range (points, from 0) for the panels of all objectives, with room for the numbers at the right."""
    return 0.0, 1.2 * max(1.0, *frame["mae_high"].drop_nulls(), *frame["mae"].drop_nulls())


def error_dots(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """Out-of-fold error of each predictor with its interval, smallest first, for one objective.

    frame: rows of `prediction_errors` with the publisher left out, and the error of the same predictor in-sample as
    `in_sample_mae`. Baselines are hollow, what is made of others is a diamond; the dashed upright line is size alone.
    """
    tips = (
        ("predictor_text:N", "Predictor"),
        ("kind:N", "Kind"),
        ("n:Q", "Models (n)"),
        ("mae:Q", "Mean absolute error, publisher left out", ".2f"),
        ("mae_low:Q", "95 % interval, low", ".2f"),
        ("mae_high:Q", "95 % interval, high", ".2f"),
        ("in_sample_mae:Q", "The same error in-sample", ".2f"),
        ("coverage_at_10:Q", "Coverage at 10", ".0%"),
        ("regret_at_1:Q", "Regret of the first pick (points)", ".1f"),
    )
    frame = charts.ranked(frame, "predictor").with_columns(
        charts.named("predictor", labels.predictor, "predictor_text"),
        pl.when(pl.col("predictor").is_in(labels.BASELINES))
        .then(pl.lit("baseline"))
        .when(pl.col("predictor").is_in(_COMBINED))
        .then(pl.lit("made of others"))
        .otherwise(pl.lit("model"))
        .alias("kind"),
    )
    base = charts.row_chart(frame, "predictor_text", tips)
    x = charts.across("mae", "Mean absolute error (points)", domain, tickCount=6)
    size = base.transform_filter(f"datum.predictor === '{SIZE}'").mark_rule(style="size")
    in_sample = base.transform_filter("isValid(datum.in_sample_mae)").mark_tick(style="critical", thickness=2, size=14)
    marks = {"baseline": ("hollow", "circle"), "model": ("best", "circle"), "made of others": ("estimate", "diamond")}
    layers = [
        size.encode(x=x, y=alt.YValue(0), y2=alt.Y2Value("height")),
        charts.whisker(base, "mae_low", "mae_high"),
        in_sample.encode(x=alt.X("in_sample_mae:Q")),
        *(
            charts.dots(base.transform_filter(f"datum.kind === '{kind}'"), x, style, 95, shape)
            for kind, (style, shape) in marks.items()
        ),
        charts.value_at_right(base, "mae:Q", ".1f"),
    ]
    return charts.layered(layers, 26 * frame.height)


def _error_table(frame: pl.DataFrame, comparisons: pl.DataFrame, objective: str, study: Study) -> Table:
    rows = frame.to_dicts()
    for reference, name in ((SIZE, "difference"), ("mean", "from_mean")):
        by_predictor = {row["predictor"]: row for row in against(reference, comparisons)}
        for row in rows:
            found_row = by_predictor.get(row["predictor"], {})
            row |= {f"{name}{end}": found_row.get(f"difference{end}") for end in ("", "_low", "_high")}
    n = max(frame["n"].to_list(), default=0)

    def found(k: int) -> Callable[[Row], bool]:
        is_best = extreme(max, rows, f"coverage_at_{k}")
        return lambda row: bool(row[f"coverage_at_{k}"]) and is_best(row)

    def by_chance(k: int) -> Callable[[Row], str]:
        return lambda row: labels.percent(row[f"coverage_at_{k}_chance"])

    return Table(
        name=study.name("errors", objective),
        title=f"{labels.objective(objective)}: all predictors, publisher left out",
        caption=(
            "Every number but the in-sample error is for models of a publisher that the predictor never saw. Error: "
            "mean absolute error of the predicted score in points, under it the 95 % interval by the jackknife over "
            "publishers. Against size, against mean: the error minus that of size alone, and of no feature; below zero "
            "is better. In-sample: the same error for the models that were fitted to. Cov (coverage): share of the "
            "true k best among the k best predicted; under it the same without skill, from permuted results (below "
            "k/n: folds that are trained apart are no single ranking). Regret: score of the best minus the best score "
            f"among the k picked. n = {labels.plural(n, 'model')}."
        ),
        rows=rows,
        columns=[
            Col(
                "Predictor",
                lambda row: labels.predictor(row["predictor"]),
                note=lambda row: "baseline" if row["predictor"] in labels.BASELINES else "",
            ),
            Col(
                "Error",
                "mae",
                POINTS,
                "mean absolute error, points, publisher left out",
                note=lambda row: labels.interval(row["mae_low"], row["mae_high"]),
                best=extreme(min, rows, "mae"),
            ),
            Col(
                "Against size",
                "difference",
                SIGNED,
                "error minus that of size alone, points",
                note=lambda row: labels.interval(row["difference_low"], row["difference_high"], signed=True),
            ),
            Col(
                "Against mean",
                "from_mean",
                SIGNED,
                "error minus that of the mean of the results, points",
                note=lambda row: labels.interval(row["from_mean_low"], row["from_mean_high"], signed=True),
            ),
            Col("In-sample", "in_sample_mae", POINTS, "the same error for the models that it was fitted to, points"),
            *(
                Col(
                    f"Cov@{k}",
                    f"coverage_at_{k}",
                    SHARE,
                    f"coverage of the {k} best; under it without skill",
                    note=by_chance(k),
                    best=found(k),
                )
                for k in (5, 10)
            ),
            Col("Regret@1", "regret_at_1", POINTS, "points", best=extreme(min, rows, "regret_at_1")),
        ],
        empty=f"There are no errors of prediction for {labels.objective(objective)}.",
    )


def _clouds(predictions: pl.DataFrame, objective: str, study: Study) -> Figure:
    mine = predictions.filter(predictor=MODEL) if predictions.height else predictions
    panels = []
    for protocol, part in parts(mine, "protocol"):
        error = labels.number((part["predicted"] - part["observed"]).abs().mean())  # type: ignore[arg-type]
        text = labels.protocol(protocol)
        panels.append(
            Panel(
                title=f"{labels.capital(text)}, error {error}",
                label=(
                    f"Predicted against observed score of {labels.plural(part.height, 'base model')}, "
                    f"{labels.objective(objective)}, {text}; mean absolute error {error} points. {_held(part)}"
                ),
                chart=predicted_against_observed(part, prediction_ranges(mine)),
            )
        )
    n = mine["model_id"].n_unique() if mine.height else 0
    return Figure(
        name=study.name("predicted", objective),
        title=f"{labels.objective(objective)}: predicted against observed score, {labels.predictor(MODEL)}",
        caption=(
            "A dot on the dotted line is predicted exactly; lines are 90 % intervals; the error above a panel is the "
            "mean absolute error, in points. In-sample: every model was fitted to, and its interval comes from these "
            "same residuals, so both are optimistic. Ten folds: models of the same publisher stay in the fit. "
            "Publisher left out: its interval is by grouped CV+. Hollow dots lie so far from the models of other "
            f"publishers that no prediction would be made. n = {labels.plural(n, 'model')}."
        ),
        panels=tuple(panels),
        empty=f"{labels.objective(objective)}: there are no predictions of the {labels.predictor(MODEL)}.",
        key="Lines: 90 % intervals; hollow: too far from the training models; dotted: exact",
        columns=3,
        panel_width=300,
    )


def prediction_ranges(frame: pl.DataFrame) -> tuple[charts.Range, charts.Range]:
    """x (observed) and y (predicted) ranges in points, one pair for all protocols of an objective, within 0-100."""
    columns = ("predicted", "interval_low", "interval_high", "observed")
    found = (frame["observed"], pl.concat([frame[column].rename("value") for column in columns]))
    ranges = [charts.padded(values.drop_nulls().clip(0, 100).to_list() or [0.0, 100.0], 0.05, 1.0) for values in found]
    observed, shown = ((max(0.0, low), min(100.0, high)) for low, high in ranges)
    return observed, shown


def predicted_against_observed(frame: pl.DataFrame, ranges: tuple[charts.Range, charts.Range]) -> alt.LayerChart:
    """Predicted (upright, with its 90 % interval) against observed score, one protocol and predictor.

    frame: rows of `predicted`. Hollow: a model too far from its training models. An end of an
    interval that the data do not bound, or beyond the drawing, runs to its edge.
    """
    tips = (
        ("model_id:N", "Base model"),
        ("protocol_text:N", "Protocol"),
        ("fold:N", "Left out"),
        ("observed:Q", "Observed score", ".1f"),
        ("predicted:Q", "Predicted score", ".1f"),
        ("interval_low:Q", "90 % interval, low", ".1f"),
        ("interval_high:Q", "90 % interval, high", ".1f"),
        ("error:Q", "Predicted minus observed (points)", "+.1f"),
        ("support_text:N", "Distance from the training models"),
    )
    (left, right), (bottom, top) = ranges
    has_interval = pl.any_horizontal(pl.col("interval_low", "interval_high").is_not_null())
    frame = frame.with_columns(
        pl.when(has_interval).then(pl.col("interval_low").fill_null(bottom).clip(bottom, top)).alias("drawn_low"),
        pl.when(has_interval).then(pl.col("interval_high").fill_null(top).clip(bottom, top)).alias("drawn_high"),
        charts.named("protocol", labels.protocol, "protocol_text"),
        pl.col("is_supported")
        .replace_strict({True: "within reach", False: "too far"}, default="")
        .alias("support_text"),
        (pl.col("predicted") - pl.col("observed")).alias("error"),
    )
    x = charts.across("observed", "Observed score", (left, right))
    scale = alt.Scale(domain=[bottom, top], nice=False, zero=False)
    y = alt.Y("predicted:Q", title="Predicted score", scale=scale)
    base = alt.Chart(frame).encode(x=x, tooltip=charts.tooltip(tips))
    ends = [max(left, bottom), min(right, top)]
    diagonal = alt.Chart(pl.DataFrame({"observed": ends, "predicted": ends})).mark_line(style="chance")
    whiskers = base.transform_filter("isValid(datum.drawn_low)").mark_rule(style="faint-whisker")
    points = [
        base.transform_filter(condition).mark_point(style=style, filled=True, size=46, opacity=1).encode(y=y)
        for condition, style in (("datum.is_supported === false", "outside"), ("datum.is_supported !== false", "best"))
    ]
    layers = [diagonal.encode(x=x, y=y), whiskers.encode(y=alt.Y("drawn_low:Q"), y2="drawn_high:Q"), *points]
    return charts.layered(layers, 270)


def _excluded_table(frame: pl.DataFrame, n_objectives: int, study: Study) -> Table:
    def name(row: Row) -> str:
        objectives = [labels.objective(item) for item in row["objectives"]]
        only = f" ({labels.listing(objectives)} only)" if len(objectives) < n_objectives else ""
        return labels.feature(row["feature"]) + only

    return Table(
        name=study.name("excluded_features"),
        title="Features that the performance model leaves out",
        caption="A feature enters only if enough models have a value for it; missing values of the others are imputed "
        "within each fold.",
        rows=frame.to_dicts(),
        columns=[
            Col("Feature", name),
            Col("Models with a value", "share_of_models", SHARE, "share of the models with a reward model"),
            Col("Why it is left out", "reason", PROSE),
        ],
    )
