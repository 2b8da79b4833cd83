"""The pre-training text: scores of documents of known domains, for studies that scored some (paper,
Section 5.2; Figures 7 and 8).

Scores are natural logarithms per token, distances lie between 0 and 1.
"""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.contracts.leads import LEAD_REACH
from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import BY_DOMAIN, parts
from warehouse.reports.tables import COUNT, LIST, MODEL, Col, Table

EVERY_DOMAIN = "all"
MOST_MODELS = 40
"""Most models drawn in the distribution chart: with 100 bins each they stay below 5,000 rows."""
MOST_NUMBERS = 16
"""Most models of a heat map with numbers: with more, its cells are too small for them."""
SCORE = {"score_kind": "presence_score", "binning": "quantile"}
"""The score and the bins that the report draws; the database has the others."""
ROW_HEIGHT = 26
CELL_HEIGHT = 22
_ABOUT_SETS = "Scores of this kind are evidence about sets of documents, never about a single one."
_BITS_TOOLTIP: charts.Tooltip = (
    ("model_id:N", "Base model"),
    ("mean_bits_per_byte:Q", "Bits per byte, mean of documents", ".3f"),
    ("standard_error_bits_per_byte:Q", "Its standard error", ".3f"),
    ("total_bits_per_byte:Q", "Bits per byte of the whole text", ".3f"),
    ("mean_presence_score:Q", "Mean presence score", ".3f"),
    ("n_documents:Q", "Documents", ","),
    ("n_errors:Q", "Not scored", ","),
)
_DISTANCE_TOOLTIP: charts.Tooltip = (
    ("model_a:N", "Base model"),
    ("model_b:N", "Against"),
    ("distance:Q", "Distance", ".3f"),
    ("null_floor:Q", "Null floor (chance)", ".3f"),
    ("distance_corrected:Q", "Distance without its bias", ".3f"),
    ("distance_low:Q", "95 % interval of that, low", ".3f"),
    ("distance_high:Q", "95 % interval of that, high", ".3f"),
    ("told_apart_text:N", "Told apart"),
    ("mean_domain_distance_corrected:Q", "Mean of the domains, without bias", ".3f"),
    ("wasserstein_1:Q", "Wasserstein-1", ".3f"),
    ("spearman:Q", "Spearman, document by document", "+.2f"),
    ("n_shared:Q", "Documents of both", ","),
)


def section(study: Study) -> Section | None:
    """Bits per byte, distributions, distances, and which models share scores; None for a study without scores."""
    presence = presence_by_domain(study)
    if not presence.height:
        return None
    models = scored_models(presence)
    corpus, n_documents = models["corpus"][0], max(models["n_documents"].to_list())
    introduction = (
        f"{labels.plural(models.height, 'base model')} read the same sample of documents ({corpus}, {n_documents:,} "
        "documents) and every token was scored by its log-probability. Text of a kind that was frequent in a model's "
        f"pre-training tends to score high. {_ABOUT_SETS} A high score may come from such text, from text that is easy "
        "to predict, or from a larger model."
    )
    items = (
        _bits_figure(own_scores(presence), study),
        _distribution_figure(distributions(study, presence), study),
        _distance_figure(distances(study), study),
        _model_table(models, study),
    )
    paragraphs = (introduction, *_shared(models), *_failures(models))
    return Section("documents", "What the pre-training text looks like", paragraphs, items=items)


def presence_by_domain(study: Study) -> pl.DataFrame:
    """One row per domain (all first) and model, by bits per byte over all documents, lowest first."""
    overall = "max(mean_bits_per_byte) filter (where domain = 'all') over (partition by model_id)"
    return study.read(
        "fct_presence_by_domain",
        "domain, model_id, donor_model_id, engine, corpus, n_documents, n_errors, n_truncated, mean_presence_score, "
        "standard_error_presence_score, mean_bits_per_byte, standard_error_bits_per_byte, total_bits_per_byte",
        f"{BY_DOMAIN}, {overall} nulls last, model_id",
        optional=True,
    )


def own_scores(presence: pl.DataFrame) -> pl.DataFrame:
    """The rows of models that were scored themselves."""
    return presence.filter(pl.col("model_id") == pl.col("donor_model_id"))


def scored_models(presence: pl.DataFrame) -> pl.DataFrame:
    """One row per model that was scored itself: engine, corpus, documents, and the models that share its scores."""
    whole = presence.filter(domain=EVERY_DOMAIN).sort("donor_model_id", "model_id")
    constants = pl.col("corpus", "engine", "n_documents", "n_errors", "n_truncated").first()
    others = pl.col("model_id").filter(pl.col("model_id") != pl.col("donor_model_id")).alias("shared_by")
    scored = whole.group_by("donor_model_id", maintain_order=True).agg(constants, others)
    return scored.rename({"donor_model_id": "model_id"})


def distributions(study: Study, presence: pl.DataFrame) -> pl.DataFrame:
    """One row per domain (all first), model and bin of the presence score, by mean score over all, highest first.

    Only models with scores of their own, at most MOST_MODELS of them (n_models is the number of all), and without the
    outermost bins, which are wide and nearly empty. density: share of the documents per unit of the score; a bin
    without width has none and is left out. is_median: the bin that the median lies in.
    """
    within = "partition by domain, model_id"
    frame = study.read(
        "fct_presence_score_distributions",
        "domain, model_id, bin, bin_low, bin_high, n, share, share / nullif(bin_high - bin_low, 0) as density, "
        f"sum(n) over ({within})::bigint as n_documents, max(bin) over ({within}) as last_bin, "
        f"sum(share) over ({within} order by bin) between 0.5 and 0.5 + share - 1e-12 as is_median",
        f"{BY_DOMAIN}, bin",
        SCORE,
        optional=True,
    )
    if not frame.height:
        return frame
    whole = own_scores(presence).filter(pl.col("mean_presence_score").is_not_null(), domain=EVERY_DOMAIN)
    places = whole.sort("mean_presence_score", "model_id", descending=[True, False]).select(
        "model_id", place=pl.int_range(pl.len()), n_models=pl.len()
    )
    drawn = frame.filter(
        pl.col("bin") > 1, pl.col("bin") < pl.col("last_bin"), pl.col("bin_high") > pl.col("bin_low")
    ).join(places.filter(pl.col("place") < MOST_MODELS), on="model_id")
    is_part = pl.col("domain") != EVERY_DOMAIN
    return drawn.sort(is_part, "domain", "place", "bin").drop("place", "last_bin", "bin")


def distances(study: Study) -> pl.DataFrame:
    """One row per domain (all first) and pair of models, by name: distance of the presence scores, floor, interval.

    The mean of the domains' distances is in the rows of all documents.
    """
    return study.read(
        "fct_jensen_shannon_distances",
        "domain, model_a, model_b, distance, null_floor, distance_corrected, distance_low, distance_high, "
        "is_told_apart, mean_domain_distance_corrected, wasserstein_1, spearman, n_shared",
        f"{BY_DOMAIN}, model_a, model_b",
        SCORE,
        optional=True,
    )


def bits_range(frame: pl.DataFrame) -> charts.Range:
    """One x range (bits per byte) for the panels of all domains, with room for the numbers at the right."""
    low, high = charts.padded(frame["mean_bits_per_byte"], 0.06, 0.006, 4)
    return max(0.0, low), high


def bits_dots(frame: pl.DataFrame, domain: charts.Range) -> alt.LayerChart:
    """Mean bits per byte of each model with its 95 % interval, in the frame's order; smaller is better predicted.

    frame: rows of `own_scores` of one domain.
    """
    mean, margin = pl.col("mean_bits_per_byte"), LEAD_REACH * pl.col("standard_error_bits_per_byte")
    frame = charts.ranked(frame.filter(mean.is_not_null()), "model_id").with_columns(
        (mean - margin).alias("low"), (mean + margin).alias("high")
    )
    base = charts.row_chart(frame, "model_id", _BITS_TOOLTIP)
    layers = [
        charts.whisker(base, "low", "high"),
        charts.dots(base, charts.across("mean_bits_per_byte", "Bits per byte", domain, tickCount=6), "best"),
        charts.value_at_right(base, "mean_bits_per_byte:Q", ".2f"),
    ]
    return charts.layered(layers, 22 * max(frame.height, 1))


def density_lines(frame: pl.DataFrame) -> alt.LayerChart:
    """One row per model, a line of steps in each: the density of its scores; the dot is the median.

    frame: rows of `distributions` of one domain. All rows share the scale of the score and of the density.
    """
    tips = (
        ("model_id:N", "Base model"),
        ("bin_low:Q", "Presence score from", ".2f"),
        ("bin_high:Q", "to", ".2f"),
        ("share:Q", "Share of the documents", ".1%"),
        ("n_documents:Q", "Documents", ","),
    )
    # A line stays within its row: up from the bottom of the row by at most nine tenths of its height.
    top, scores = max([*frame["density"], 1e-12]), frame["bin_low"].to_list()
    offset = ROW_HEIGHT * (0.45 - 0.9 * pl.col("density") / top)
    # Thousands of rows: only what is drawn, in as many digits as a pixel shows.
    frame = charts.ranked(frame, "model_id").select(
        "row_position",
        "model_id",
        "n_documents",
        "is_median",
        pl.col("bin_low", "bin_high", "share").round(4),
        offset.round(2).alias("offset"),
    )
    x = charts.across("bin_low", "Presence score", (min(scores), max(scores)), tickCount=6)
    base = charts.row_chart(frame, "model_id", tips, alt.Axis(grid=True)).encode(x=x)
    scale = alt.Scale(domain=[-ROW_HEIGHT / 2, ROW_HEIGHT / 2], range=[0, ROW_HEIGHT])
    lines = base.mark_line(style="density", interpolate="step-after").encode(
        yOffset=alt.YOffset("offset:Q", scale=scale), detail="model_id:N", order="bin_low:Q"
    )
    medians = base.transform_filter("datum.is_median").mark_point(
        style="best", filled=True, size=34, opacity=1, yOffset=0.45 * ROW_HEIGHT
    )
    return charts.layered([lines, medians], ROW_HEIGHT * frame["model_id"].n_unique())


def distance_map(frame: pl.DataFrame) -> alt.LayerChart:
    """Model x model, colour and number = distance; a ring marks a pair that is not told apart.

    frame: rows of `distances` of one domain. Both halves are drawn; the diagonal is left empty.
    """
    top = max(0.1, *frame["distance"].to_list())
    frame = frame.with_columns(pl.col(pl.Float64).round(4))
    swapped = frame.rename({"model_a": "model_b", "model_b": "model_a"}).select(frame.columns)
    whole = pl.concat([frame, swapped]).sort("model_a", "model_b")
    names = sorted(set(whole["model_a"]))
    number = charts.two_digits("distance") if len(names) <= MOST_NUMBERS else pl.lit("")
    places = {name: place for place, name in enumerate(names)}
    whole = charts.ranked(whole, "model_a").with_columns(
        number.alias("text"),
        (pl.col("distance") >= 0.78 * top).alias("is_strong"),
        pl.when("is_told_apart")
        .then(pl.lit("yes"))
        .otherwise(pl.lit("no: chance explains it"))
        .alias("told_apart_text"),
        pl.col("model_b").replace_strict(places, return_dtype=pl.Int32).alias("column_position"),
    )
    axis = alt.Axis(orient="top", labelAngle=-90, domain=False)
    base = charts.row_chart(whole, "model_a", _DISTANCE_TOOLTIP).encode(
        x=alt.X("model_b:N", sort=charts.by_rank("column_position"), title=None, axis=axis)
    )
    color = charts.heat_color("distance", "Jensen-Shannon distance", (0, top), "ramp", ".2f")
    styles = {"datum.is_strong": "cell-strong-thin", "!datum.is_strong": "cell-weak-thin"}
    cells, *texts = charts.heat_map(base, color, styles)
    rings = base.transform_filter("!datum.is_told_apart").mark_point(style="chance-ring", shape="circle", size=150)
    return charts.layered([cells, rings, *texts], CELL_HEIGHT * len(names))


def _shared(models: pl.DataFrame) -> tuple[str, ...]:
    lent = [
        f"{labels.listing(row['shared_by'])} with {row['model_id']}" for row in models.to_dicts() if row["shared_by"]
    ]
    if not lent:
        return ()
    return (
        "Models of one family with the same number of pre-training tokens share the scores of the largest that was "
        f"scored, as in the paper: {'; '.join(lent)}. The figures show the models that were scored.",
    )


def _failures(models: pl.DataFrame) -> tuple[str, ...]:
    counts = [f"{row['model_id']} {row['n_errors']:,}" for row in models.to_dicts() if row["n_errors"] > 0]
    if not counts:
        return ()
    return (f"Documents that could not be scored are left out of every figure: {labels.listing(counts)}.",)


def _domain(name: str) -> str:
    return "all documents" if name == EVERY_DOMAIN else name


def _bits_figure(presence: pl.DataFrame, study: Study) -> Figure:
    domain, panels = bits_range(presence), []
    for name, rows in parts(presence.filter(pl.col("mean_bits_per_byte").is_not_null()), "domain"):
        best = rows.sort("mean_bits_per_byte", "model_id").row(0, named=True)
        panels.append(
            Panel(
                title=_domain(name),
                label=(
                    f"Bits per byte of {labels.plural(rows.height, 'base model')}, {_domain(name)}. Lowest: "
                    f"{best['model_id']}, {labels.number(best['mean_bits_per_byte'], 2)}."
                ),
                chart=bits_dots(rows, domain),
            )
        )
    return Figure(
        name=study.name("bits_per_byte"),
        title="Bits per byte by domain",
        caption=(
            "Mean over documents of the bits that a model needs per byte of text: comparable between models with "
            "different tokenizers, and the smaller, the better the text is predicted. Lines are 95 % intervals over "
            "documents; all documents have the same weight, so in the panel of all documents a domain weighs as much "
            f"as it has documents. Models are in the order of that panel. {_ABOUT_SETS}"
        ),
        panels=tuple(panels),
        empty="No bits per byte are stored.",
        key="Smaller: better predicted; lines: 95 % intervals over documents",
        columns=3,
        panel_width=300,
    )


def _distribution_figure(frame: pl.DataFrame, study: Study) -> Figure:
    panels, left_out = [], 0
    for name, rows in parts(frame, "domain"):
        shown = rows["model_id"].n_unique()
        left_out = rows["n_models"][0] - shown
        low, high = (labels.number(value, 1) for value in (rows["bin_low"].min(), rows["bin_high"].max()))  # type: ignore[arg-type]
        panels.append(
            Panel(
                title=_domain(name),
                label=(
                    f"Distribution of the presence scores of {labels.plural(shown, 'base model')}, {_domain(name)}, "
                    f"between {low} and {high}."
                ),
                chart=density_lines(rows),
            )
        )
    more = f" {left_out} further models are in the database." if left_out else ""
    return Figure(
        name=study.name("presence_scores"),
        title="Distribution of presence scores by domain",
        caption=(
            "Each row is a base model: the density of the mean log-probability of a token over its documents, on bins "
            "that are the same for all models of a panel; the dot is the median, and the height is to the same scale "
            "within a panel. The outermost hundredth of all documents on either side is not drawn. Presence scores are "
            f"per token, so they compare less well between tokenizers than bits per byte do. {_ABOUT_SETS} Compare "
            f"Figure 7 of the paper.{more}"
        ),
        panels=tuple(panels),
        empty="No distributions are stored.",
        key="Rows: base models; height: density of documents; dot: median",
        columns=3,
        panel_width=300,
    )


def _distance_figure(frame: pl.DataFrame, study: Study) -> Figure:
    panels = []
    for name, rows in parts(frame, "domain"):
        panels.append(
            Panel(
                title=_domain(name),
                label=(
                    f"Heat map of the Jensen-Shannon distances of {labels.plural(rows.height, 'pair')} of base models, "
                    f"{_domain(name)}. {_extremes(rows)}"
                ),
                chart=distance_map(rows),
            )
        )
    return Figure(
        name=study.name("distances"),
        title="Distance between base models",
        caption=(
            "Square root of the Jensen-Shannon divergence (base 2) between two models' presence scores of the same "
            f"documents: 0 is equal, 1 has nothing in common. {_noise(frame)} {_domain_means(frame)} Distances follow "
            "how large a model is and how long it was trained at least as much as its pre-training mix, and tokenizers "
            f"differ, too. {_ABOUT_SETS} Compare Figure 8 of the paper. Choose a domain above; the exported picture "
            "shows all documents."
        ),
        panels=tuple(panels),
        empty="Only one base model was scored, so there is no distance to show.",
        key="0: equal; ring: not told apart",
        panel_width=620,
        choice=True,
        choice_label="Domain",
    )


def _extremes(rows: pl.DataFrame) -> str:
    """The nearest and the farthest pair of those that are told apart, and how many are not, in a sentence or two."""
    apart = rows.filter("is_told_apart").sort("distance_corrected", "model_a", "model_b")
    found = []
    if apart.height:
        near, far = (
            f"{row['model_a']} and {row['model_b']} {labels.number(row['distance'], 3)} (floor "
            f"{labels.number(row['null_floor'], 3)})"
            for row in (apart.row(place, named=True) for place in (0, -1))
        )
        found.append(f"Smallest of those told apart: {near}; largest: {far}.")
    if apart.height < rows.height:
        found.append(f"Not told apart: {labels.plural(rows.height - apart.height, 'pair')}.")
    return " ".join(found)


def _noise(distances: pl.DataFrame) -> str:
    """What chance alone gives, and how many pairs it explains; empty without pairs."""
    if not distances.height:
        return ""
    whole, single = distances.filter(domain=EVERY_DOMAIN), distances.filter(pl.col("domain") != EVERY_DOMAIN)
    low, high = (labels.number(value, 3) for value in (whole["null_floor"].min(), whole["null_floor"].max()))  # type: ignore[arg-type]
    spread = low if low == high else f"{low} to {high}"
    counts = [
        f"{rows.filter(~pl.col('is_told_apart')).height} of {labels.plural(rows.height, 'pair')} {where}"
        for rows, where in ((whole, "over all documents"), (single, "in single domains"))
        if rows.height
    ]
    return (
        f"Two samples of one distribution would already show {spread} over all documents (null floor), more in a "
        "single domain; each pair is compared with its own floor. A ring marks a pair that is not told apart: the "
        "interval of its distance, corrected for that bias, reaches zero "
        f"({' and '.join(counts)}). Such pairs have no rank."
    )


def _domain_means(distances: pl.DataFrame) -> str:
    """Range of the distances over all documents and of the domain means beside it; empty where there are none."""
    whole = distances.drop_nulls("mean_domain_distance_corrected") if distances.height else distances
    if not whole.height:
        return ""
    ends = [
        " to ".join(labels.number(value, 2) for value in (whole[name].min(), whole[name].max()))  # type: ignore[arg-type]
        for name in ("distance_corrected", "mean_domain_distance_corrected")
    ]
    return (
        "One histogram over all documents forgets which domain a document is of: corrected for bias, it gives "
        f"{ends[0]}, and the mean of the distances within the domains {ends[1]} (in the tooltip)."
    )


def _model_table(models: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("scored_models"),
        title="Models that were scored, and which models share their scores",
        caption="One engine per model; documents beyond the token limit are scored up to it.",
        rows=models.to_dicts(),
        columns=[
            Col("Base model", "model_id", MODEL),
            Col("Its scores also represent", lambda row: labels.listing(row["shared_by"]), LIST),
            Col("Engine", "engine"),
            Col("Documents", "n_documents", COUNT),
            Col("Not scored", "n_errors", COUNT),
            Col("Cut at the limit", "n_truncated", COUNT),
        ],
    )
