"""Benchmarks use the same frames as the unit tests of what they measure."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models_train" / "selection"))
