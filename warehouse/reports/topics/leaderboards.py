"""What the entries of leaderboards of reward models are built on (Figure 1 of the paper)."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.tables import COUNT, MODEL, POINTS, SHARE, TEXT, Col, Row, Table

OTHERS = {"judge": "judges (no such base)", "unknown": "unknown base"}
BESIDE = {"judges": "judges", "unknown": "of unknown base"}
MOST_FAMILIES = 12
"""Most families that a panel draws; the others are in the table."""
NOT_THE_FIGURE = (
    "The paper's Figure 1 shows RewardBench's leaderboard of December 2024. No public file that this project could "
    "find holds that state, so it is not shown again here. The nearest that is printed is Table 3 of "
    "RewardBench 2, of June 2025 (study rewardbench2)."
)


def section(study: Study) -> Section | None:
    """Sentences, one panel per leaderboard and number of best entries, and the table; None without entries."""
    frame = leaderboard_bases(study)
    if not frame.height:
        return None
    whole = frame.filter(top_k="all")
    said = [_sentence(part) for _, part in whole.group_by("leaderboard", "snapshot_date", maintain_order=True)]
    return Section(
        "leaderboards",
        "What leaderboards are built on",
        (" ".join(said), NOT_THE_FIGURE, *_caution(whole)),
        items=(_figure(frame, study), _table(frame, study), _entries(study)),
    )


def leaderboard_bases(study: Study) -> pl.DataFrame:
    """One row per leaderboard, number of best entries and family, most entries first, judges and unknown ones last."""
    frame = study.read(
        "fct_leaderboard_bases",
        "leaderboard, snapshot_date, top_k, family, n, n_by_name, n_entries, judges, unknown, share, share_of_known, "
        "low, high",
        "leaderboard, snapshot_date, list_position(['10', '30', '100', 'all'], top_k), "
        f"list_contains({list(OTHERS)}, family), n desc, family",
        optional=True,
    )
    return frame.with_columns(pl.col("family").replace(OTHERS).alias("family_text")) if frame.height else frame


def _of(row: Row) -> str:
    return f"{row['leaderboard']} ({row['snapshot_date']:%Y-%m-%d})"


def _count(n: float) -> str:
    """Entries, whole where no merge is among them."""
    return labels.number(n, 0 if n == round(n) else 1)


def _sentence(part: pl.DataFrame) -> str:
    """What one leaderboard is built on, all entries; part: its rows, most entries first."""
    first = part.row(0, named=True)
    known = first["n_entries"] - first["judges"] - first["unknown"]
    if first["share_of_known"] is None:
        return f"Of the {first['n_entries']} entries of {_of(first)} no base model is known."
    rest = [f"{_count(first[name])} {text}" for name, text in BESIDE.items() if first[name]]
    beside = f"; the entries include {labels.listing(rest)}" if rest else ""
    return (
        f"Of the {first['n_entries']} entries of {_of(first)}, {_count(first['n'])} "
        f"{'is' if first['n'] == 1 else 'are'} built on {first['family']} "
        f"({labels.number(100 * first['share'])} %, 95 % interval {labels.number(100 * first['low'])} to "
        f"{labels.number(100 * first['high'])}): {labels.number(100 * first['share_of_known'])} % of the "
        f"{_count(known)} reward model{'' if known == 1 else 's'} of known base{beside}."
    )


def _caution(whole: pl.DataFrame) -> tuple[str, ...]:
    by_name = whole.filter(~pl.col("family").is_in(list(OTHERS)))["n_by_name"].sum()
    if not by_name:
        return ()
    return (
        f"The base of {labels.plural(round(by_name), 'entry', 'entries')} is read from the name alone. A leaderboard "
        "is no sample: its entries are those that somebody chose to train and to submit, so a share says what people "
        "build on, not what is best to build on.",
    )


def base_bars(frame: pl.DataFrame) -> alt.LayerChart:
    """Bars of the shares of families with Wilson's interval; frame: rows of `leaderboard_bases` of one panel."""
    frame = charts.ranked(frame, "family_text").with_columns(
        charts.named("share", lambda share: f"{100 * share:.0f} %", "share_text"),
        (~pl.col("family").is_in(list(OTHERS))).alias("is_base"),
    )
    tips = (
        ("family_text:N", "Base"),
        ("n:Q", "Entries", ".1f"),
        ("n_by_name:Q", "Of these, by the name alone", ".1f"),
        ("share:Q", "Share", ".1%"),
        ("share_of_known:Q", "Of reward models of known base", ".1%"),
    )
    base = charts.row_chart(frame, "family_text", tips)
    x = charts.across("share", "Share of the entries", (0.0, 1.15), values=[0, 0.25, 0.5, 0.75, 1], format="%")
    layers = [
        *charts.bars(base, x, {"datum.is_base": "gain", "!datum.is_base": "hollow"}),
        charts.whisker(base, "low", "high"),
        charts.value_at_right(base, "share_text:N"),
    ]
    return charts.layered(layers, 26 * frame.height)


def _figure(frame: pl.DataFrame, study: Study) -> Figure:
    panels = []
    for _, part in frame.group_by("leaderboard", "snapshot_date", "top_k", maintain_order=True):
        first, shown = part.row(0, named=True), part.head(MOST_FAMILIES)
        best = "all" if first["top_k"] == "all" else f"the best {first['top_k']}"
        said = [f"{row['family_text']} {_count(row['n'])}" for row in shown.to_dicts()]
        panels.append(
            Panel(
                title=f"{_of(first)}: {best} (n = {first['n_entries']})",
                label=f"Bar chart: entries of {_of(first)}, {best}, by base model: {labels.listing(said)}.",
                chart=base_bars(shown),
            )
        )
    return Figure(
        name=study.name("leaderboard_bases"),
        title="Base models of the entries",
        caption=(
            "Share of the entries by family of the base model; lines are Wilson's 95 % intervals. A merge counts for "
            "each of its bases by equal shares. Outlined: entries without a base model that is known."
        ),
        panels=tuple(panels),
        key="Share of the entries; lines: 95 % intervals (Wilson)",
        columns=2,
        panel_width=420,
    )


def _table(frame: pl.DataFrame, study: Study) -> Table:
    return Table(
        name=study.name("leaderboard_bases_table"),
        title="All families",
        caption=(
            "Entries by family of their base model, from a table, the card on the hub followed to its root, the "
            "configuration, or else the name."
        ),
        rows=frame.to_dicts(),
        columns=[
            Col("Leaderboard", _of),
            Col("Best", "top_k", TEXT),
            Col("Base", "family_text", TEXT),
            Col("Entries", "n", POINTS),
            Col("By name alone", "n_by_name", POINTS),
            Col("Share", "share", SHARE),
            Col("from", "low", SHARE, "95 % interval (Wilson)"),
            Col("to", "high", SHARE),
            Col("Of known bases", "share_of_known", SHARE),
        ],
    )


def _entries(study: Study) -> Table:
    rows = study.read(
        "fct_leaderboard_entries",
        "leaderboard, snapshot_date, place, entry, score, kind, base_model, base_family, base_source",
        "leaderboard, snapshot_date, place",
        optional=True,
    ).to_dicts()
    return Table(
        name=study.name("leaderboard_entries"),
        title="All entries",
        caption=(
            "Base by: table, looked up; card, of the hub; config, architecture and sizes; name, a guess. "
            "Cards are followed to the root."
        ),
        rows=rows,
        columns=[
            Col("Leaderboard", _of),
            Col("Place", "place", COUNT),
            Col("Entry", "entry", TEXT),
            Col("Score", "score", POINTS, "percent"),
            Col("Kind", "kind", TEXT),
            Col("Base model", "base_model", MODEL),
            Col("Family", "base_family", TEXT),
            Col("Base by", "base_source", TEXT),
        ],
    )
