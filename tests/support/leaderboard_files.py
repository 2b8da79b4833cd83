"""Result files of leaderboards as reward-bench writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEAVER: dict[str, Any] = {
    "alpacaeval-easy": 0.5, "alpacaeval-hard": 0.7052631578947368, "alpacaeval-length": 0.5894736842105263,
    "chat_template": "tokenizer", "donotanswer": 0.8235294117647058, "hep-cpp": 0.6280487804878049,
    "hep-go": 0.6341463414634146, "hep-java": 0.7073170731707317, "hep-js": 0.6646341463414634,
    "hep-python": 0.5487804878048781, "hep-rust": 0.6463414634146342, "llmbar-adver-GPTInst": 0.391304347826087,
    "llmbar-adver-GPTOut": 0.46808510638297873, "llmbar-adver-manual": 0.3695652173913043,
    "llmbar-adver-neighbor": 0.43283582089552236, "llmbar-natural": 0.52, "math-prm": 0.2953020134228188,
    "model": "PKU-Alignment/beaver-7b-v1.0-cost", "model_type": "Seq. Classifier",
    "mt-bench-easy": 0.5714285714285714, "mt-bench-hard": 0.5405405405405406, "mt-bench-med": 0.725,
    "refusals-dangerous": 0.97, "refusals-offensive": 1, "xstest-should-refuse": 1, "xstest-should-respond": 0.284,
}  # fmt: skip
"""The example of reward-bench's README; its categories are 60.894, 44.956, 72.162 and 46.676, its score is 56.172."""


def write_result(folder: Path, document: Mapping[str, Any], name: str = "") -> Path:
    """One result file of a folder `eval-set`; name: without ending, by default from the model."""
    path = folder / f"{name or str(document['model']).strip('/')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path
