"""Figures as text for the page and as files: Vega-Lite specifications, SVG, PNG, JSON inside a script."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from models_train import files
from warehouse.checksums import write_checksums
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


def write_specs(figures: Iterable[Figure], specs: Mapping[str, list[dict[str, Any]]], folder: Path) -> list[Path]:
    """Write `<name>.json`, the Vega-Lite specification of each figure's picture, and remove the files of others.

    specs: of panel_specs, by figure name.
    """
    written = []
    for figure in figures:
        path = folder / f"{figure.name}.json"
        spec = picture_spec(figure, specs[figure.name]) | {"config": theme.config("light")}
        files.write_text(path, json.dumps(spec, allow_nan=False))
        written.append(path)
    names = {path.stem for path in written}
    for path in folder.glob("*"):
        if path.suffix in (".json", ".svg", ".png") and path.stem not in names:
            path.unlink()
    return written


def draw_pictures(folder: Path) -> list[Path]:
    """Draw every specification of write_specs in folder as SVG and PNG, with checksums; the paths of the PNG files."""
    pictures = [draw_picture(spec) for spec in sorted(folder.glob("*.json"))]
    write_checksums(folder, [*pictures, *(picture.with_suffix(".svg") for picture in pictures)])
    return pictures


def draw_picture(spec: Path) -> Path:
    """Write `<name>.svg` and `<name>.png` (light theme, scale 2) beside `<name>.json`; returns the path of the PNG."""
    svg, png = spec.with_suffix(".svg"), spec.with_suffix(".png")
    drawing = vl_convert.vegalite_to_svg(spec.read_text(encoding="utf-8"), vl_version=VEGA_LITE, allowed_base_urls=[])
    files.write_text(svg, drawing)
    # From the drawing: half the time of a second run from the specification.
    with files.atomic_path(png) as beside:
        beside.write_bytes(vl_convert.svg_to_png(drawing, scale=PNG_SCALE))
    return png


def script_json(value: Any) -> str:
    """value as JSON that is safe inside a script element: nothing in it can end the element or start another.

    ASCII only, so U+2028 and U+2029 are escaped too; NaN and infinity are refused with ValueError.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def script_gzip(value: Any) -> str:
    """value as JSON, packed by gzip and written in base64: a tenth of its size, and safe inside a script element.

    Equal values make equal text; NaN and infinity are refused with ValueError.
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from vl-convert itself: the page loads nothing."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE).replace(
        "</script", "<\\/script"
    )
