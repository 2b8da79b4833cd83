"""Figures as files and as text for the page: Vega-Lite specifications, SVG, PNG, JSON inside a script."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from models_train import files
from warehouse.reports import theme
from warehouse.reports.elements import Figure

PNG_SCALE = 2.0
# vl-convert names Vega-Lite by major and minor, Altair by the full version ('v6.4.1').
VEGA_LITE = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])


def panel_specs(figure: Figure) -> list[dict[str, Any]]:
    """The Vega-Lite specification of every panel, without a width, without colours, with no URL but the schema."""
    # Without this Altair writes the active theme's config into every specification. The charts are validated as they
    # are put together, so a second validation would only take its time again.
    with alt.theme.enable("none"):
        return [panel.chart.to_dict(validate=False) | {"description": panel.label} for panel in figure.panels]


def page_spec(spec: dict[str, Any]) -> dict[str, Any]:
    """A panel's specification for the page: as wide as its box."""
    return spec | {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}


def picture_spec(figure: Figure, specs: list[dict[str, Any]]) -> dict[str, Any]:
    """One specification of the whole figure with fixed widths and headings, for the exported pictures.

    specs: of panel_specs; a figure whose panels are alternatives (`choice`) is pictured by its first panel.
    """
    heading = {"text": figure.title, "subtitle": figure.key, "fontSize": 16, "offset": 16}
    if figure.choice or len(specs) == 1:
        return specs[0] | {"title": heading, "width": figure.panel_width}
    datasets: dict[str, Any] = {}
    views = []
    for panel, spec in zip(figure.panels, specs, strict=True):
        datasets |= spec.get("datasets", {})
        view = {key: value for key, value in spec.items() if key not in ("$schema", "datasets", "config")}
        views.append(view | {"title": panel.title, "width": figure.panel_width})
    return {
        "$schema": specs[0]["$schema"],
        "datasets": datasets,
        "title": heading,
        "columns": figure.columns,
        "spacing": 28,
        "concat": views,
    }


def write_pictures(figure: Figure, specs: list[dict[str, Any]], folder: Path) -> tuple[Path, Path]:
    """Write `<name>.svg` and `<name>.png` (light theme, scale 2) into folder and return both paths."""
    spec = picture_spec(figure, specs)
    options: dict[str, Any] = {
        "vl_version": VEGA_LITE,
        "config": theme.config("light"),
        "allowed_base_urls": [],
    }
    svg, png = (folder / f"{figure.name}.{kind}" for kind in ("svg", "png"))
    drawing = vl_convert.vegalite_to_svg(spec, **options)
    files.write_text(svg, drawing)
    # From the drawing: half the time of a second run from the specification.
    with files.atomic_path(png) as beside:
        beside.write_bytes(vl_convert.svg_to_png(drawing, scale=PNG_SCALE))
    return svg, png


def script_json(value: Any) -> str:
    """value as JSON that is safe inside a script element: nothing in it can end the element or start another.

    ASCII only, so U+2028 and U+2029 are escaped too; NaN and infinity are refused with ValueError.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from vl-convert itself: the page loads nothing."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE).replace(
        "</script", "<\\/script"
    )
