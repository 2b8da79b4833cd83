"""Can the result be predicted? Errors in-sample and out of fold, the verdict on size, predicted against observed."""

from __future__ import annotations

from typing import Any

import polars as pl

from warehouse.reports import tables, words
from warehouse.reports.charts import prediction as charts
from warehouse.reports.frames import parts
from warehouse.reports.pieces import Figure, Panel, Section, Table, TrustCard, TrustFigure
from warehouse.reports.verdict import OUT_OF_FOLD, against_size, mix_sentence, verdict

IN_SAMPLE = "paper_in_sample"
MODEL = "elastic_net"
"""The predictor of the paper, which the figures by protocol show."""
_FIGURES = (
    (MODEL, IN_SAMPLE, "in-sample"),
    (MODEL, "paper_10_fold", "out-of-fold"),
    (MODEL, OUT_OF_FOLD, "out-of-fold"),
    ("mean", OUT_OF_FOLD, "baseline"),
    ("log10_params", OUT_OF_FOLD, "baseline"),
    ("params_and_tokens", OUT_OF_FOLD, "baseline"),
)


def absence(scores: pl.DataFrame, abstentions: pl.DataFrame) -> str:
    """Why a study has no performance model, in one sentence; empty if it has one.

    From performance_marts.scores and .abstentions; a frame without columns is a mart that was not built.
    """
    if scores.height:
        return ""
    begin = "There is no performance model for this study"
    if abstentions.height:
        reasons = abstentions.filter(target="score")["reason"].unique(maintain_order=True).to_list()
        return words.sentence(f"{begin}: {'; '.join(reasons or abstentions['reason'].unique(maintain_order=True))}")
    if not scores.columns:
        return f"{begin}: none has been fitted in this warehouse."
    return f"{begin}: the marts hold no errors of prediction for it, and no reason is recorded."


def abstention_sentences(abstentions: pl.DataFrame) -> tuple[str, ...]:
    """One sentence per objective and target without a performance model, where others have one."""
    return tuple(
        words.sentence(
            f"No performance model for {words.TARGETS.get(row['target'], row['target'])} under "
            f"{words.objective(row['objective'])}: {row['reason']}"
        )
        for row in abstentions.iter_rows(named=True)
    )


def section(
    scores: pl.DataFrame,
    predictions: pl.DataFrame,
    abstentions: pl.DataFrame,
    excluded: pl.DataFrame,
    slug: str,
) -> Section:
    """Trust, errors of all predictors, and predicted against observed; the frames are of performance_marts."""
    title = "Can the result be predicted?"
    missing = absence(scores, abstentions)
    if missing:
        return Section("prediction", title, (missing,))
    cards, dots, lists, clouds = [], [], [], []
    domain = charts.error_range(scores.filter(protocol=OUT_OF_FOLD))
    for name, part in parts(scores, "objective"):
        mine = predictions.filter(objective=name) if predictions.height else predictions
        comparison = against_size(mine) if mine.height else pl.DataFrame(schema={"predictor": pl.String})
        cards.append(_card(name, part, mine, comparison))
        outside = _with_in_sample(part)
        if outside.height:
            dots.append(_error_panel(name, outside, domain))
            lists.append(tables.errors(outside, comparison, f"{slug}_errors_{words.slug(name)}", name))
        clouds.append(_clouds(mine, slug, name))
    items: list[Figure | Table] = [_error_figure(dots, slug), *lists, *clouds]
    objectives = scores["objective"].n_unique()
    if excluded.height:
        items.append(tables.excluded_features(excluded, f"{slug}_excluded_features", objectives))
    paragraphs = (_introduction(), *abstention_sentences(abstentions), *_left_out(excluded))
    return Section("prediction", title, paragraphs, items=tuple(items), trust=tuple(cards))


def _introduction() -> str:
    return (
        "A performance model predicts the score of a reward model from benchmark values, size and pre-training tokens "
        "of its base, before anything is trained. In-sample figures are for the very models that it was fitted to, as "
        "in the paper, and flatter it. What counts for a new base is the error with its whole publisher left out of "
        "the fit, of the imputation and of every choice: that is what “publisher left out” means."
    )


def _left_out(excluded: pl.DataFrame) -> tuple[str, ...]:
    if not excluded.height:
        return ()
    names = [words.feature(name) for name in excluded["feature"].unique(maintain_order=True)]
    count = f"{words.plural(len(names), 'feature')} {'is' if len(names) == 1 else 'are'} left out of the model"
    return (f"{count}, for the reasons in the table below: {words.listing(names)}.",)


def _card(name: str, scores: pl.DataFrame, predictions: pl.DataFrame, comparison: pl.DataFrame) -> TrustCard:
    found = {(row["predictor"], row["protocol"]): row for row in scores.iter_rows(named=True)}
    figures = []
    for predictor, protocol, kind in _FIGURES:
        row = found.get((predictor, protocol))
        if row is not None:
            label, way = words.predictor(predictor), words.protocol(protocol)
            interval = words.interval(row["mae_low"], row["mae_high"])
            figures.append(TrustFigure(label, way, words.number(row["mae"]), interval, kind))
    judged = verdict(comparison)
    mix = mix_sentence(predictions) if predictions.height else ""
    details = [judged.detail, mix, _picks(found.get((MODEL, OUT_OF_FOLD))), _intervals_held(predictions)]
    return TrustCard(
        objective=words.objective(name),
        level=judged.level,
        verdict=judged.headline,
        figures=tuple(figures),
        details=tuple(text for text in details if text),
    )


def _picks(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    sentences = []
    if row["regret_at_1"] is not None:
        lost = words.number(row["regret_at_1"])
        sentences.append(f"Taking the one base that the {words.predictor(MODEL)} puts first would cost {lost} points.")
    found = [
        f"{words.percent(row[f'coverage_at_{k}'])} of the {k} best (chance {words.percent(k / row['n'])})"
        for k in (5, 10)
        if row[f"coverage_at_{k}"] is not None
    ]
    if found:
        sentences.append(f"Among as many picks it finds {words.listing(found)}.")
    return " ".join(sentences)


def _intervals_held(predictions: pl.DataFrame) -> str:
    if not predictions.height:
        return ""
    mine = predictions.filter(predictor=MODEL, protocol=OUT_OF_FOLD)
    if not mine.height:
        return ""
    outside = mine.filter(~pl.col("in_hull")).height
    text = f"{_held(mine)} {outside} of the {words.plural(mine.height, 'model')} lie outside the range"
    return f"{text} of the features that the model was trained on."


def _held(frame: pl.DataFrame) -> str:
    known = frame.filter(pl.any_horizontal(pl.col("interval_low", "interval_high").is_not_null()))
    inside = known.filter(
        pl.col("observed").ge(pl.col("interval_low")).fill_null(True)
        & pl.col("observed").le(pl.col("interval_high")).fill_null(True)
    )
    if not known.height:
        return "There are no intervals."
    return f"Its 90 % intervals hold the observed score of {inside.height} of {words.plural(known.height, 'model')}."


def _with_in_sample(scores: pl.DataFrame) -> pl.DataFrame:
    in_sample = scores.filter(protocol=IN_SAMPLE).select("predictor", in_sample_mae="mae")
    outside = scores.filter(protocol=OUT_OF_FOLD)
    return outside.join(in_sample, on="predictor", how="left", maintain_order="left")


def _error_panel(name: str, frame: pl.DataFrame, domain: tuple[float, float]) -> Panel:
    values = ", ".join(
        f"{words.predictor(row['predictor'])} {words.number(row['mae'])}" for row in frame.iter_rows(named=True)
    )
    return Panel(
        title=f"{words.objective(name)} (n\u00a0=\u00a0{max(frame['n'])})",
        label=f"Mean absolute error of prediction with the publisher left out, {words.objective(name)}: {values}.",
        chart=charts.error_dots(frame, domain),
    )


def _error_figure(panels: list[Panel], slug: str) -> Figure:
    baselines = words.listing([words.predictor(name) for name in words.BASELINES])
    return Figure(
        name=f"{slug}_prediction_errors",
        title="Error of every predictor for a publisher never seen",
        caption=(
            "Dots are the mean absolute error of the predicted score with the model's publisher left out, smallest "
            f"first; lines are 95 % intervals with publishers resampled. Hollow dots are baselines ({baselines}); the "
            "diamond is nested selection, which picks among the others within each fold. The dashed upright is size "
            "alone. The small upright is the same predictor's error in-sample: the way between the two is optimism. "
            "Errors of two predictors are of the same models, so overlapping lines do not settle which is better; the "
            "table below compares them model by model."
        ),
        panels=tuple(panels),
        empty="There are no errors with a publisher left out.",
        key="Hollow: baselines; diamond: nested selection; small upright: in-sample; dashed: size alone",
        columns=2,
        panel_width=430,
    )


def _clouds(predictions: pl.DataFrame, slug: str, name: str) -> Figure:
    mine = predictions.filter(predictor=MODEL) if predictions.height else predictions
    panels = []
    for protocol, part in parts(mine, "protocol") if mine.height else ():
        error = words.number((part["predicted"] - part["observed"]).abs().mean())  # type: ignore[arg-type]
        text = words.protocol(protocol)
        panels.append(
            Panel(
                title=f"{text[:1].upper()}{text[1:]}, error {error}",
                label=(
                    f"Predicted against observed score of {words.plural(part.height, 'base model')}, "
                    f"{words.objective(name)}, {text}; mean absolute error {error} points. {_held(part)}"
                ),
                chart=charts.predicted_against_observed(part, charts.prediction_ranges(mine)),
            )
        )
    return Figure(
        name=f"{slug}_predicted_{words.slug(name)}",
        title=f"{words.objective(name)}: predicted against observed score, {words.predictor(MODEL)}",
        caption=(
            "A dot on the dotted line is predicted exactly; lines are 90 % intervals; the error above a panel is the "
            "mean absolute one, in points. In-sample: every model was fitted to, and its interval comes from these "
            "same residuals, so both flatter. Ten folds: relatives of a model, of the same publisher, stay in the fit. "
            "Publisher left out: its interval is by grouped CV+. Hollow dots lie outside the range of the features of "
            "the models that were fitted to: there the model extrapolates. "
            f"n = {words.plural(mine['model_id'].n_unique() if mine.height else 0, 'model')}."
        ),
        panels=tuple(panels),
        empty=f"{words.objective(name)}: there are no predictions of the {words.predictor(MODEL)}.",
        key="Lines: 90 % intervals; hollow: outside the range of the training features; dotted: exact",
        columns=3,
        panel_width=300,
    )
