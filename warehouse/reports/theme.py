"""Appearance of the charts: one Vega-Lite configuration for light pages and print, one for dark pages.

The charts name no colour. They name *styles* (`gain`, `loss`, `whisker`, …) and the standard colour ranges, which the
configuration fills in, so one specification serves both. Colours are from Okabe and Ito's palette (blue and vermilion
differ in every common colour blindness), lightened for the dark page. Fonts are those of the system.
"""

from __future__ import annotations

from typing import Any

import altair as alt

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_LIGHT = {
    "background": "#ffffff",
    "text": "#1c2128",
    "muted": "#59636e",
    "grid": "#e4e8ec",
    "axis": "#8c959f",
    "blue": "#0072b2",
    "blue_soft": "#7fb8d8",
    "orange": "#d55e00",
    "orange_soft": "#e8a87c",
    "green": "#00795a",
    "on_strong": "#ffffff",
}
_DARK = {
    "background": "#161b22",
    "text": "#e6edf3",
    "muted": "#a3adb8",
    "grid": "#2b323b",
    "axis": "#6e7781",
    "blue": "#56b4e9",
    "blue_soft": "#2f6f99",
    "orange": "#f08a3c",
    "orange_soft": "#a85a24",
    "green": "#3fcf9f",
    "on_strong": "#0d1117",
}
# Vermilion - neutral - blue, for correlations from -1 to 1; the middle is the page's own neutral tone.
_DIVERGING = {
    "light": ["#b34a00", "#e08a4a", "#f6d3b8", "#f1f3f5", "#b7d7ea", "#5aa5d0", "#00588c"],
    "dark": ["#ff9a4d", "#a35620", "#5a3a25", "#262d36", "#23465c", "#25699a", "#7fd0fa"],
}


def config(theme: str) -> dict[str, Any]:
    """The Vega-Lite configuration of a theme, 'light' or 'dark'. Raises ValueError for another name."""
    if theme not in _DIVERGING:
        raise ValueError(f"unknown theme {theme!r}: choose 'light' or 'dark'")
    colours = _LIGHT if theme == "light" else _DARK
    text = {
        "labelColor": colours["text"],
        "titleColor": colours["muted"],
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    axis = text | {
        "titlePadding": 8,
        "domainColor": colours["axis"],
        "tickColor": colours["axis"],
        "gridColor": colours["grid"],
        "labelPadding": 5,
    }
    return {
        "background": colours["background"],
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None, "continuousWidth": 420, "continuousHeight": 260},
        "title": {
            "color": colours["text"],
            "fontSize": 13,
            "fontWeight": 600,
            "anchor": "start",
            "offset": 10,
            "subtitleColor": colours["muted"],
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
        },
        "axis": axis,
        "axisX": {"labelFlush": False},
        "axisY": {"domain": False, "ticks": False, "labelLimit": 230},
        "legend": text | {"orient": "top", "symbolStrokeWidth": 3, "labelLimit": 260},
        "range": {
            "category": [colours["blue"], colours["orange"], colours["green"], colours["muted"]],
            "diverging": _DIVERGING[theme],
            "ramp": _DIVERGING[theme][len(_DIVERGING[theme]) // 2 :],
        },
        "style": _styles(colours),
    }


def _styles(colours: dict[str, str]) -> dict[str, dict[str, Any]]:
    # `color`, not `fill` or `stroke`: these would be overridden by Vega-Lite's own default colour.
    return {
        "best": {"color": colours["blue"]},
        "gain": {"color": colours["blue_soft"]},
        "loss": {"color": colours["orange_soft"]},
        "strong-gain": {"color": colours["blue"]},
        "strong-loss": {"color": colours["orange"]},
        "gain-line": {"color": colours["blue"], "strokeWidth": 2.5},
        "loss-line": {"color": colours["orange"], "strokeWidth": 2.5},
        "whisker": {"color": colours["text"], "strokeWidth": 1.2, "strokeOpacity": 0.75},
        "zero": {"color": colours["axis"], "strokeWidth": 1.2},
        "default-mark": {"color": colours["background"], "stroke": colours["text"], "strokeWidth": 1.6},
        "hollow": {"color": colours["background"], "stroke": colours["muted"], "strokeWidth": 1.6},
        "value": {"color": colours["text"], "fontSize": 11.5},
        "value-strong": {"color": colours["text"], "fontSize": 12, "fontWeight": 700},
        "note": {"color": colours["muted"], "fontSize": 11},
        "cell": {"stroke": colours["background"], "strokeWidth": 1.5},
        "own-family": {"color": colours["text"], "strokeWidth": 1.6},
        "cell-strong": {"color": colours["on_strong"], "fontSize": 11, "fontWeight": 600},
        "cell-weak": {"color": colours["text"], "fontSize": 11, "fontWeight": 600},
        "cell-strong-thin": {"color": colours["on_strong"], "fontSize": 11},
        "cell-weak-thin": {"color": colours["text"], "fontSize": 11},
        "coverage": {"color": colours["blue"], "strokeWidth": 2.4},
        "coverage-point": {"color": colours["blue"]},
        "chance": {"color": colours["muted"], "strokeWidth": 1.6, "strokeDash": [2, 3]},
        "size": {"color": colours["orange"], "strokeWidth": 1.8, "strokeDash": [7, 3]},
        # Not over the figures in front: many intervals beside and through each other.
        "faint-whisker": {"color": colours["blue_soft"], "strokeWidth": 1.2, "strokeOpacity": 0.8},
        "faint-loss": {"color": colours["orange_soft"], "strokeWidth": 1.2, "strokeOpacity": 0.8},
        "outside": {"color": colours["background"], "stroke": colours["orange"], "strokeWidth": 1.6},
        "behind": {"color": colours["axis"], "strokeWidth": 0.9, "strokeOpacity": 0.6},
        "critical": {"color": colours["muted"]},
        "density": {"color": colours["blue"], "strokeWidth": 1.3},
        "chance-ring": {"color": colours["text"], "strokeWidth": 1.1},
        "estimate": {"color": colours["text"], "stroke": colours["background"], "strokeWidth": 1},
        # Equal room for the labels of stacked panels, so that their zero lines are aligned.
        "aligned-axis": {"minExtent": 215},
        "heat-axis": {"labelAngle": 0, "domain": False, "ticks": False},
    }


@alt.theme.register("rewardbase", enable=False)
def rewardbase() -> alt.theme.ThemeConfig:
    """The light theme under Altair's own name, for a notebook: `alt.theme.enable('rewardbase')`."""
    return {"config": config("light")}  # type: ignore[typeddict-item]
