"""IFEval's 541 prompts and IFBench's 444 pairs through the checkers, without network: time, and which could not run."""

from __future__ import annotations

import json
import resource
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from models_train.checks.instructions import Instructions
from models_train.jobs.text_checks import Asked, TextChecks
from models_train.policies.prompts import load_prompts
from models_train.reward_benchmarks.instructions import IFEVAL
from models_train.reward_benchmarks.sets import load_benchmark
from models_train.study.agentic import INSTRUCTION_KINDS, Check
from models_train.study.reward_benchmarks import BenchmarkSet
from models_train.study.study import load_study
from tests.support.real_data import IFBENCH, IFEVAL_PROMPTS
from tests.support.score_files import study_with

pytestmark = [pytest.mark.bench, pytest.mark.real_data]

ANSWERS = 16
FORM = ("not_empty", "no_open_thought", "ends_with_stop")


def test_bench_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = load_benchmark(BenchmarkSet(name="ifbench", path=str(IFBENCH)), tmp_path)
    texts = [str(one.text) for item in pairs.items.values() for one in item.completions]
    assert len(pairs.items) == 444 and len(texts) == 888
    policy = {"policy_id": "p", "model_id": "tiny"}
    prompts = {"path": str(IFEVAL_PROMPTS), "measure": 541}
    study = load_study(study_with(tmp_path, teachers={"prompts": prompts, "policies": [policy]}))
    found = load_prompts(study, tmp_path).prompts
    assert len(found) == 541 and {one.gold_kind for one in found} == {IFEVAL}
    # Made up: answers of other prompts.
    asked = [
        Asked(texts[(ANSWERS * place + number) % len(texts)], one.gold_kind, one.gold)
        for place, one in enumerate(found)
        for number in range(ANSWERS)
    ]
    of_pairs = [Asked(text) for text in texts]
    with TextChecks() as checks, Instructions() as first:
        first.check("It loads.", json.dumps({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}))
        began = time.monotonic()
        verdicts = checks.checked([Check(name=name) for name in INSTRUCTION_KINDS], asked)
        form = checks.checked([Check(name=name) for name in (*FORM, *INSTRUCTION_KINDS)], of_pairs)
        wall = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    statuses = Counter(one.status for one in verdicts["ifeval_strict"])
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for one in verdicts["ifeval_strict"]:
        for part in (one.detail or "").split("; ") if one.status not in ("ok", "not_applicable") else ():
            name, _, status = part.rpartition(": ") if part.count(": ") < 2 else part.partition(": ")
            if status not in ("followed", "not"):
                reasons[name][status] += 1
    with capsys.disabled():
        print(f"\n{len(asked):,} answers and {len(texts)} completions of pairs: {wall:.1f} s, "
              f"{used.ru_utime + used.ru_stime:.1f} s of processor in workers")  # fmt: skip
        for status, n in statuses.most_common():
            print(f"  {n:6,} {status}")
        for name, counts in sorted(reasons.items()):
            print(f"  {name}: {dict(counts)}")
        for name in FORM:
            print(f"  {name}: {sum(one.value or 0 for one in form[name]) / len(texts):.3f} of the completions")
    assert not [status for status in statuses if status == "timeout" or "ended its process" in status]
    assert {one.status for one in form["ifeval_strict"]} == {"not_applicable"}
