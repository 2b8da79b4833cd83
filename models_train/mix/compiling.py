"""How the loops of this package are compiled: without Python's lock, once per machine, kept beside the source."""

from __future__ import annotations

from typing import Any

COMPILED: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}
ANY_ORDER = frozenset({"reassoc", "contract", "nsz"})
"""What lets sums run in vector registers; nothing that says there is no NaN, which has to come through."""
