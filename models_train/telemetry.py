"""Disable telemetry of third-party libraries. Import this before them: some read the variables at import."""

from __future__ import annotations

import os

OFF = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Environment variables of the hub's client, Ray and vLLM."""


def switch_off() -> None:
    """Put OFF into the environment of this process and its children; variables that are set stay as they are."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
