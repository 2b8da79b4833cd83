"""Policies, prompts and responses of a study, written as the jobs that sample and import them write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_train.data.records import prompt_id
from models_train.parts import content_hash, write_part
from models_train.reward_benchmarks.items import user_turn
from tests.support.data_files import write
from warehouse.contracts.responses import POLICIES, PROMPTS, RESPONSES

PROMPT_SET = "prompts"
NO_POLICY = dict.fromkeys(name for name in POLICIES.filled_columns.names if POLICIES.schema.field(name).nullable)


def write_prompts(
    home: Path, study_id: str, file: Path, prompts: Mapping[str, str], gold: Mapping[str, tuple[str, str]] | None = None
) -> None:
    """The data file of a study's prompts, by prompt_id, and their part. gold: kind and gold of some."""
    write(file, [{"prompt_id": name, "prompt": prompt} for name, prompt in prompts.items()])
    rows = []
    for number, (name, prompt) in enumerate(prompts.items(), 1):
        kind, answer = (gold or {}).get(name, (None, None))
        facts = {"content_hash": prompt_id(user_turn(prompt)), "source": file.name, "order_no": number}
        size = {"n_turns": 1, "n_bytes": len(prompt.encode()), "split": "measure"}
        rows.append({"prompt_set": PROMPT_SET, "prompt_id": name, "gold_kind": kind, "gold": answer} | facts | size)
    write_part(home / "parts", PROMPTS, rows, study_id=study_id, run_id=content_hash(rows))


def write_responses(
    home: Path, study_id: str, policy_id: str, texts: Mapping[str, Sequence[str]], kind: str = "sampled"
) -> str:
    """A policy and its responses by prompt_id; returns their run id."""
    rows: list[dict[str, Any]] = []
    for name, responses in texts.items():
        for number, text in enumerate(responses):
            key = {"policy_id": policy_id, "prompt_set": PROMPT_SET, "prompt_id": name, "response_no": number}
            size = {
                "n_tokens": len(text.split()),
                "n_bytes": len(text.encode()),
                "content_hash": content_hash(text, 16),
            }
            said = {"text": text, "content_hash": content_hash(text, 16), "finish_reason": "stop"}
            said |= {"logprob": -1.0, "reference_logprob": None}
            rows.append(key | size | said | {"status": "ok" if text.strip() else "empty"})
    run_id = content_hash([policy_id, rows])
    policy = NO_POLICY | {"policy_id": policy_id, "kind": kind}
    write_part(home / "parts", POLICIES, [policy], study_id=study_id, run_id=run_id)
    write_part(home / "parts", RESPONSES, rows, study_id=study_id, run_id=run_id)
    return run_id
