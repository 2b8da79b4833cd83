"""Third parties' data for the tests marked `real_data`: read from the folder that REWARDBASE_REAL_DATA names.

Without the setting these tests are deselected, and the paths below name nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

SETTING = "REWARDBASE_REAL_DATA"
FOLDER = Path(os.environ.get(SETTING) or f"({SETTING} is not set)").absolute()
IS_SET = bool(os.environ.get(SETTING))

PREFERENCES = FOLDER / "data" / "preferences" / "alpaca_eval.jsonl.gz"
"""789 pairs of AlpacaEval in HelpSteer2-Preference's columns."""
TEST_PAIRS = FOLDER / "data" / "rewardbench" / "filtered_part.jsonl.gz"
"""1,850 pairs of RewardBench: all of Reasoning, a part of Chat Hard."""
DOCUMENTS = FOLDER / "data" / "documents" / "slimpajama_like.jsonl.gz"
"""2,434 texts of five domains in SlimPajama's columns."""
REWARD_MATH = FOLDER / "data" / "rewardmath"
"""Scores of four reward models on the 483 items of RewardMATH, and of two on RewardBench's math-prm."""
STORIES = FOLDER / "models" / "stories260K"
"""A Llama of 260,000 parameters, trained on TinyStories."""


def missing() -> list[str]:
    """Files that the folder lacks."""
    return [str(path) for path in (PREFERENCES, TEST_PAIRS, DOCUMENTS, REWARD_MATH, STORIES) if not path.exists()]
