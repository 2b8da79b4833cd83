"""Benchmarks use the same helpers as the unit tests of what they measure."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS_TRAIN = HERE.parent / "models_train"
sys.path[:0] = [str(HERE), str(MODELS_TRAIN), str(MODELS_TRAIN / "selection"), str(HERE.parent / "warehouse")]
