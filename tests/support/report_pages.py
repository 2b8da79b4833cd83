"""A page of the report as text, read back."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

SPECIFICATION = re.compile(r'<script type="application/gzip" id="([^"]+)">([^<]*)</script>')


def specifications(page: str) -> dict[str, dict[str, Any]]:
    """The Vega-Lite specification of each panel by its id, as the page's script unpacks it."""
    return {name: json.loads(gzip.decompress(base64.b64decode(text))) for name, text in SPECIFICATION.findall(page)}
