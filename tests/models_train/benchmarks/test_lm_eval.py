"""Runs of lm_eval against log-likelihoods by plain Transformers, question by question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from models_train.benchmarks.lm_eval import CountedModel, load, run_benchmarks
from models_train.benchmarks.results import Result
from models_train.errors import UserError
from models_train.modeling.base_models import ModelSource
from models_train.parts import content_hash
from models_train.study.benchmarks import Benchmark
from tests.support.tiny_models import FAMILIES, write_base

CPU = torch.device("cpu")
QUESTIONS = [
    {"context": "the way of", "choices": [" all", " a long number", " it"], "answer": 1},
    {"context": "x = 1\ny =", "choices": [" x + 1", " 2", " the"], "answer": 0},
    {"context": "and it is", "choices": [" café", " 中文", " no"], "answer": 2},
    {"context": "one two three", "choices": [" four", " 4444", " five six"], "answer": 0},
    {"context": "A", "choices": ["B", "C", "D"], "answer": 1},
    {"context": "the end", "choices": [".", "!", " of the way"], "answer": 0},
] * 2


def write_task(folder: Path, name: str, questions: Sequence[dict[str, Any]] = QUESTIONS, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}},
        "test_split": "test",
        "fewshot_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{context}}",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    } | more
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    return folder


def benchmark(name: str, folder: Path, **more: Any) -> Benchmark:
    return Benchmark(name=name, folder=str(folder), topic="Test", **more)


def run(model: Path, tasks: Sequence[Benchmark], cache: Path, name: str = "tiny") -> tuple[list[Result], int]:
    """Results, and tokens counted."""
    source = ModelSource(name, str(model), content="0123456789abcdef")
    counter = SimpleNamespace(advance=lambda n: None)

    def loaded() -> CountedModel:
        return CountedModel(*load(source, torch.float32, CPU), 4, lambda _: nullcontext(counter))

    def kept(together: Sequence[Benchmark]) -> Path:
        identity = [(task.lm_eval_task, task.few_shot, task.limit, name) for task in together]
        return cache / "kept" / f"{content_hash(identity)}.json"

    results, costs = run_benchmarks(loaded, source, tasks, cache, cache / "data", kept)
    return results, costs.n_tokens


def plain_accuracies(folder: Path, questions: Sequence[dict[str, Any]] = QUESTIONS) -> tuple[float, float, int]:
    """Share of questions whose right choice is the likeliest (whole, per character), and tokens of single passes."""
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    hits, norm_hits, passes = 0, 0, set()
    for row in questions:
        sums = []
        for choice in row["choices"]:
            context = tokenizer(row["context"])["input_ids"]
            ids = tokenizer(row["context"] + choice)["input_ids"]
            with torch.no_grad():
                log_probs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
            sums.append(sum(log_probs[place - 1, ids[place]].item() for place in range(len(context), len(ids))))
            passes.add(tuple(ids[:-1]))
        hits += max(range(3), key=lambda n: sums[n]) == row["answer"]
        norm_hits += max(range(3), key=lambda n: sums[n] / len(row["choices"][n])) == row["answer"]
    return 100 * hits / len(questions), 100 * norm_hits / len(questions), sum(map(len, passes))


@pytest.mark.parametrize("family", ["llama3", "gemma2"])
def test_values_are_those_of_plain_transformers(tmp_path: Path, family: str) -> None:
    """gemma2 caps its attention logits, which Transformers' default attention passes over."""
    folder = write_task(tmp_path / "tasks", "choose")
    model = write_base(tmp_path / "model", FAMILIES[family]())
    tasks = [benchmark("choose", folder), benchmark("by length", folder, task="choose", metric="acc_norm")]
    (acc, acc_norm), n_tokens = run(model, tasks, tmp_path)
    expected, expected_norm, expected_tokens = plain_accuracies(model)
    assert (acc.value, acc_norm.value) == (pytest.approx(expected), pytest.approx(expected_norm))
    assert n_tokens == expected_tokens
    assert (acc.metric, acc_norm.metric) == ("acc_pct", "acc_norm_pct")
    assert (acc.model_id, acc.shots, acc.match, acc.n_examples) == ("tiny", "0", "exact", len(QUESTIONS))
    share, n = expected / 100, len(QUESTIONS)
    assert acc.standard_error == pytest.approx(100 * (share * (1 - share) / (n - 1)) ** 0.5)
    assert acc.source.startswith("lm_eval 0.4") and acc.source.endswith("on 0123456789ab")


def test_shots_and_limits_are_kept_apart(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "tasks", "choose")
    model = write_base(tmp_path / "model")
    tasks = [
        benchmark("one shot", folder, task="choose", few_shot=1),
        benchmark("plain", folder, task="choose"),
        benchmark("part", folder, task="choose", limit=4),
    ]
    results, _ = run(model, tasks, tmp_path)
    assert [(result.benchmark, result.shots, result.n_examples) for result in results] == [
        ("one shot", "1", 12),
        ("plain", "0", 12),
        ("part", "0", 4),
    ]
    assert results[2].value == pytest.approx(plain_accuracies(model, QUESTIONS[:4])[0])


def test_what_cannot_be_run_is_named(tmp_path: Path) -> None:
    model = write_base(tmp_path / "model")
    folder = write_task(tmp_path / "tasks", "choose", num_fewshot=0)
    with pytest.raises(UserError, match=r"there is no task chose; .*the folder .*tasks has choose"):
        run(model, [benchmark("chose", folder)], tmp_path)
    with pytest.raises(UserError, match="choose: the task sets num_fewshot to 0 itself"):
        run(model, [benchmark("choose", folder, few_shot=3)], tmp_path)
    with pytest.raises(UserError, match=r"tiny, choose: results\.choose: has no metric 'f1'.* acc, acc_norm"):
        run(model, [benchmark("choose", folder, metric="f1")], tmp_path)
    write_task(folder, "other", tag="both")
    with pytest.raises(UserError, match=r"both stands for several tasks .* list them one by one: other"):
        run(model, [benchmark("both", folder)], tmp_path)
    (folder / "group.yaml").write_text(yaml.safe_dump({"group": "all", "task": ["choose", "other"]}))
    with pytest.raises(UserError, match=r"all stands for several tasks .*: choose, other"):
        run(model, [benchmark("all", folder)], tmp_path)
    write_task(folder, "lost")
    (folder / "lost.jsonl").unlink()
    with pytest.raises(UserError, match=r"tiny: lm_eval stopped in lost: .*correct the task's file"):
        run(model, [benchmark("lost", folder)], tmp_path)


def test_a_library_that_a_task_needs_is_named(tmp_path: Path) -> None:
    model = write_base(tmp_path / "model")
    folder = write_task(tmp_path / "tasks", "choose")
    with open(folder / "choose.yaml", "a") as file:
        file.write("process_docs: !function helper.clean\n")
    (folder / "helper.py").write_text("from no_such_library.parts import one\n")
    with pytest.raises(UserError, match=r"tiny: .* choose: .*needs the library no_such_library, .*pip install no_such"):
        run(model, [benchmark("choose", folder)], tmp_path)


def test_shots_and_examples_of_a_group_are_those_of_its_tasks(tmp_path: Path) -> None:
    folder = write_task(write_task(tmp_path / "tasks", "one"), "two")
    group = {"group": "both", "task": ["one", "two"], "aggregate_metric_list": [{"metric": "acc"}]}
    (folder / "both.yaml").write_text(yaml.safe_dump(group))
    results, _ = run(write_base(tmp_path / "model"), [benchmark("both", folder, few_shot=2)], tmp_path)
    assert [(one.shots, one.match, one.n_examples) for one in results] == [("2", "exact", 2 * len(QUESTIONS))]


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    model = write_base(tmp_path / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(UserError, match="save the model as safetensors"):
        load(ModelSource("tiny", str(model)), torch.float32, CPU)
