"""Libraries that would tell their makers of every use, kept quiet. Imports nothing: it comes before all of them."""

from __future__ import annotations

import os

OFF = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
"""Variables of the environment that the hub's client, Ray and vLLM look at, some of them once, while imported."""


def switch_off() -> None:
    """Put OFF into this process's environment, and so into that of what it starts; what is set there stays."""
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
