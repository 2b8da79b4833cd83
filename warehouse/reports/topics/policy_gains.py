"""What training a policy by each reward gains: curves of gold and teacher over the distance, and a table."""

from __future__ import annotations

import altair as alt
import polars as pl

from warehouse.reports import charts, labels
from warehouse.reports.elements import Figure, Panel, Section, Study
from warehouse.reports.queries import MOST_DRAWN, parts
from warehouse.reports.tables import COUNT, MODEL, PROSE, TEXT, Col, Row, Table, decimals

METHODS = {"rloo": "RLOO", "grpo": "GRPO", "best_of_n_distill": "fine-tuning on the best of n"}
MUCH = 0.25
"""Share of the length by which responses of another policy are said to be much longer or shorter."""
FEWER = 0.1
"""Fall of the share of finished responses that is said."""
_TWO, _SIGNED = decimals(2), decimals(2, signed=True)
KEY = ("policy_id", "prompt_set", "reward_id", "method", "gold_id")
CELL = "policy_id || ', ' || prompt_set || ', gold: ' || gold_id as cell"
ORDER = "policy_id, prompt_set, gold_id, method"
SIDES = (("gold", "gold_gain", "gain-line", "strong-gain"), ("teacher", "proxy_gain", "loss-line", "strong-loss"))


def section(study: Study) -> Section | None:
    """Sentences, curves and a table; None for a study that trained no policy."""
    curves, failures = policy_gain_curves(study), failed_runs(study)
    if not curves.height and not failures.height:
        return None
    ends = curves.filter(pl.col("share_done") == 1)
    return Section(
        "policy-gains",
        "What training gains",
        (SUMMARY, *_clear(ends), *_changed(ends), *_failed(failures)),
        items=(_curves(curves, study), *_table(ends, study)),
    )


SUMMARY = (
    "Policies that were trained by a reward, and what the gold reward says of them, which is taken for the truth. "
    "Gains are over the initial policy on the same prompts, in standard deviations of the reward over the initial "
    "policy's responses. A policy that gains by the reward that taught it and not by the gold has learned the reward's "
    "errors."
)


def policy_gain_curves(study: Study) -> pl.DataFrame:
    """One row per policy, prompt set, gold, method, reward and saved step, over all seeds."""
    frame = study.read(
        "fct_policy_gain_curves",
        f"{CELL}, {', '.join(KEY)}, n_seeds, step, share_done, proxy_gain, proxy_gain_low, proxy_gain_high, gold_gain, "
        "gold_gain_low, gold_gain_high, kl, kl_low, kl_high, length_change, length_before, share_finished, "
        "share_finished_before, n_prompts, status",
        f"{ORDER}, reward_id, step",
        {"scope": "pooled"},
        optional=True,
    )
    at_distance = study.read(
        "fct_policy_gains",
        f"{', '.join(KEY)}, common_kl, gold_at_common_kl, gold_at_common_kl_low, gold_at_common_kl_high",
        f"{ORDER}, reward_id",
        {"scope": "pooled"},
        optional=True,
    )
    return frame.join(at_distance, on=KEY, how="left", maintain_order="left") if frame.height else frame


def failed_runs(study: Study) -> pl.DataFrame:
    """One row per run that could not go on."""
    runs = study.read(
        "fct_policy_gains",
        "policy_id, reward_id, method, seed, status",
        "policy_id, reward_id, method, seed",
        {"scope": "run"},
        optional=True,
    )
    return runs.filter(pl.col("status").str.starts_with("failed")) if runs.height else runs


def _clear(ends: pl.DataFrame) -> tuple[str, ...]:
    """By which rewards the gold rises, by which it falls, and where neither is clear; none of them is ranked."""
    said = []
    for cell, of_cell in parts(ends, "cell"):
        for method, part in parts(of_cell, "method"):
            rows = part.filter(pl.col("gold_gain").is_not_null()).to_dicts()
            name = f"{cell}, {METHODS.get(method, method)}"
            if not rows:
                said.append(f"{name}: no gold reward of what was trained.")
                continue
            rises = [_by(row) for row in rows if row["gold_gain_low"] is not None and row["gold_gain_low"] > 0]
            falls = [_by(row) for row in rows if row["gold_gain_high"] is not None and row["gold_gain_high"] < 0]
            open_ones = len(rows) - len(rises) - len(falls)
            found = [f"the gold rises by {labels.listing(rises, 6)}"] if rises else []
            found += [f"it falls by {labels.listing(falls, 6)}"] if falls else []
            found += [f"neither is clear for {labels.plural(open_ones, 'teacher')}"] if open_ones else []
            said.append(f"{name}: {'; '.join(found)}.")
    return tuple(said)


def _by(row: Row) -> str:
    ends = labels.interval(row["gold_gain_low"], row["gold_gain_high"], 2, signed=True)
    return f"{row['reward_id']} ({labels.number(row['gold_gain'], 2, signed=True)}, {ends})"


def _changed(ends: pl.DataFrame) -> tuple[str, ...]:
    """A sentence on policies that answer in another way than before, which a gain may be made of."""
    found = [f"{row['policy_id']} by {row['reward_id']}" for row in ends.to_dicts() if change(row)]
    named = labels.listing(list(dict.fromkeys(found)), labels.MOST_NAMED)
    if not named:
        return ()
    return (f"Look at the responses before trusting the gains of {named}: length or ending of the responses changed.",)


def change(row: Row) -> str:
    """What became of the length of the responses and of their end, where it is much; empty otherwise."""
    words = []
    if row["length_before"] and row["length_change"] is not None:
        share = row["length_change"] / row["length_before"]
        if abs(share) >= MUCH:
            words.append(f"{labels.percent(abs(share))} {'longer' if share > 0 else 'shorter'}")
    before, after = row["share_finished_before"], row["share_finished"]
    if before is not None and after is not None and before - after >= FEWER:
        words.append(f"{labels.percent(after)} finished, {labels.percent(before)} before")
    return "; ".join(words)


def _failed(failures: pl.DataFrame) -> tuple[str, ...]:
    return tuple(
        f"{row['policy_id']} by {row['reward_id']}, {METHODS.get(row['method'], row['method'])}, seed {row['seed']}: "
        f"{row['status']}."
        for row in failures.to_dicts()[: labels.MOST_NAMED]
    )


def curve_chart(frame: pl.DataFrame, distances: charts.Range, gains: charts.Range) -> alt.LayerChart:
    """Gains against the distance; frame: rows of one teacher from `_long`. distances, gains: the ranges of the axes."""
    tips: charts.Tooltip = (
        ("side:N", "Measured by"),
        ("step:Q", "Step"),
        ("kl:Q", "Distance (nats)", ".2f"),
        ("gain:Q", "Gain (standard deviations)", "+.2f"),
        ("low:Q", "95 % interval, low", "+.2f"),
        ("high:Q", "95 % interval, high", "+.2f"),
    )
    y = alt.Y(
        "gain:Q",
        title="Gain (standard deviations)",
        scale=alt.Scale(domain=list(gains), nice=False, zero=False),
        axis=alt.Axis(tickCount=5),
    )
    x = charts.across("kl", "KL divergence from the initial policy (nats)", distances, tickCount=5, grid=False)
    base = alt.Chart(frame).encode(x=x, y=y, tooltip=charts.tooltip(tips))
    layers = [alt.Chart(frame.head(1)).mark_rule(style="zero").encode(y=alt.datum(0))]
    for side, _, line, dot in SIDES:
        mine = base.transform_filter(f"datum.side === '{side}'")
        known = mine.transform_filter("isValid(datum.low)")
        layers += [
            known.mark_rule(style=line, strokeWidth=1.2, opacity=0.6).encode(y=alt.Y("low:Q"), y2="high:Q"),
            mine.mark_line(style=line).encode(order="step:Q"),
            mine.mark_point(style=dot, filled=True, size=36, opacity=1),
        ]
    return charts.layered(layers, 200)


def _long(frame: pl.DataFrame) -> pl.DataFrame:
    """A row per saved step and side, the initial policy's among them: side, step, kl, gain, low, high."""
    begin = {"step": 0, "kl": 0.0, "gain": 0.0, "low": None, "high": None}
    sides = []
    for side, column, *_ in SIDES:
        names = {column: "gain", f"{column}_low": "low", f"{column}_high": "high"}
        own = frame.select("step", "kl", *(pl.col(old).alias(new) for old, new in names.items()))
        sides.append(pl.concat([pl.DataFrame([begin], schema=own.schema), own]).with_columns(side=pl.lit(side)))
    return pl.concat(sides).filter(pl.col("gain").is_not_null())


def _curves(curves: pl.DataFrame, study: Study) -> Figure:
    panels = []
    for cell, of_cell in parts(curves, "cell"):
        for method, part in parts(of_cell, "method"):
            ends = [name + end for name in ("gold_gain", "proxy_gain") for end in ("", "_low", "_high")]
            gains = charts.padded([0.0, *(value for name in ends for value in part[name].to_list())], 0.05, 0.05)
            distances = charts.padded([0.0, *part["kl"].to_list()], 0.03, 0.01)
            for reward_id, mine in parts(part, "reward_id"):
                *_, last = mine.to_dicts()
                text = (
                    f"Line chart: gains over the distance, taught by {reward_id}. At the end the gold gains "
                    f"{labels.number(last['gold_gain'], 2, signed=True)} and the teacher "
                    f"{labels.number(last['proxy_gain'], 2, signed=True)} at {labels.number(last['kl'], 2)} nats."
                )
                title = f"{reward_id}: {METHODS.get(method, method)}, {cell}"
                panels.append(Panel(title, text, curve_chart(_long(mine), distances, gains)))
    return Figure(
        name=study.name("policy_gains"),
        title="What the gold and the teacher say of the trained policy",
        caption=(
            "Blue: gain under the gold reward; orange: under the reward that taught; each in standard deviations over "
            "the initial policy's responses. Points: saved steps, from the initial policy at 0; upright lines: 95 % "
            "intervals over seeds and prompts. The axes of a policy and method are shared. Blue that stays behind or "
            "falls while orange rises: the policy learns the teacher's errors."
        ),
        panels=tuple(panels[:MOST_DRAWN]),
        empty="No policy run came to its end, so there is no curve.",
        columns=2,
        panel_width=420,
        key="Blue: gold, orange: the reward that taught; lines: 95 % intervals",
    )


def _with_interval(heading: str, name: str, hint: str = "") -> Col:
    return Col(
        heading,
        name,
        _SIGNED,
        hint,
        note=lambda row: labels.interval(row[f"{name}_low"], row[f"{name}_high"], 2, signed=True),
    )


def _table(ends: pl.DataFrame, study: Study) -> tuple[Table, ...]:
    if not ends.height:
        return ()
    return (
        Table(
            study.name("policy_gain_values"),
            "Gains by teacher and method",
            "At the end of the runs, over their seeds. Second lines: 95 % intervals over seeds and prompts. At equal "
            "distance: where the policy had moved as far as all others of its method came.",
            ends.to_dicts(),
            [
                Col("Teacher", "reward_id", MODEL),
                Col("Method", lambda row: METHODS.get(row["method"], row["method"]), TEXT),
                Col("Policy", "cell"),
                Col("Seeds", "n_seeds", COUNT),
                _with_interval("Gold gain", "gold_gain"),
                _with_interval("At equal distance", "gold_at_common_kl", "gold gain at the distance that all came to"),
                _with_interval("Teacher's gain", "proxy_gain", "by the reward that taught"),
                Col("Distance", "kl", _TWO, "KL divergence from the initial policy, in nats"),
                Col("Length", "length_change", decimals(1, signed=True), "change of the mean tokens of a response"),
                Col(
                    "Finished",
                    lambda row: " → ".join(labels.percent(row[f"share_finished{when}"]) for when in ("_before", "")),
                    TEXT,
                    "share of the responses that end by themselves, before and after",
                ),
                Col("Change", lambda row: change(row) or None, PROSE),
                Col("Remark", lambda row: None if row["status"] == "ok" else row["status"], PROSE),
            ],
        ),
    )
