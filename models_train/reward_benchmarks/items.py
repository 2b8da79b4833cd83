"""Items of benchmarks of reward models with their completions, and their rows in the raw tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from models_train.data.records import Prompt, TestPair, Turn, prompt_id
from warehouse.contracts.scores import BENCHMARK_ITEMS, ITEM_COMPLETIONS, REWARDBENCH

_OF_PAIR = ("chosen", "rejected")
TIES = "Ties"
"""Subset of RewardBench 2 with several right answers."""

_FAMILIES = tuple(
    (re.compile(pattern, re.IGNORECASE), family)
    for pattern, family in (
        (r"llama-?(\d(?:\.\d)?)(?![\d.]*b)", "Llama-"),
        (r"gemma-?(\d)(?![\d.]*b)", "Gemma-"),
        (r"qwen-?(\d(?:\.\d)?)(?![\d.]*b)", "Qwen"),
        (r"phi-?(\d)(?![\d.]*b)", "Phi-"),
        (r"yi-(\d(?:\.\d)?)(?![\d.]*b)", "Yi-"),
        (r"internlm-?(\d(?:\.\d)?)(?![\d.]*b)", "InternLM"),
        (r"falcon-?(\d)(?![\d.]*b)", "Falcon"),
        (r"olmo-?(\d)(?![\d.]*b)", "OLMo-"),
        (r"(?<![a-z])llama(?![a-z])", "Llama"),
        (r"gemma", "Gemma"),
        (r"qwen", "Qwen"),
        (r"mistral|mixtral", "Mistral"),
        (r"wizardmath-7b-v1\.1", "Mistral"),
        (r"deepseek", "DeepSeek"),
        (r"gpt-?[345]|chatgpt", "GPT"),
        (r"claude", "Claude"),
        (r"gemini", "Gemini"),
        (r"olmo", "OLMo"),
    )
)
"""Part of a model's name and its family, in the words of the study files; a version in the name completes it."""


@dataclass(frozen=True)
class Completion:
    """A completion of an item. text, generator, style: None where not known. A text may be empty."""

    name: str
    is_correct: bool
    text: str | None = None
    generator: str | None = None
    style: str | None = None


@dataclass(frozen=True)
class Item:
    """An item of a benchmark. Its completions are in the order of the data set.

    item_id is unique within the subset. prompt: None where the text is not known. Its hash is that of all data sets.
    place: the file and row that it was read from, for messages.
    """

    benchmark: str
    subset: str
    item_id: str
    completions: tuple[Completion, ...]
    category: str | None = None
    prompt: Prompt | None = None
    place: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Subset and item_id."""
        return self.subset, self.item_id

    @property
    def prompt_hash(self) -> str | None:
        """16 hex digits that name the prompt."""
        return None if self.prompt is None else prompt_id(self.prompt)


@dataclass(frozen=True)
class Benchmark:
    """The items of a benchmark, by key. source: data set, with commit or content. notes: what became of its rows."""

    name: str
    items: dict[tuple[str, str], Item]
    source: str
    notes: tuple[str, ...] = ()


def family_of(name: str | None) -> str | None:
    """Family of a model by its name, such as `Llama-3` of `meta-llama/Meta-Llama-3-8B-Instruct`; None where unknown."""
    for pattern, family in _FAMILIES:
        if found := pattern.search(name or ""):
            return family + "".join(found.groups())
    return None


def completion_names(n_correct: int, n_wrong: int) -> list[str]:
    """Names of an item's completions, the right ones first: correct_1, ..., wrong_1, ..."""
    right = [f"correct_{number}" for number in range(1, n_correct + 1)]
    return right + [f"wrong_{number}" for number in range(1, n_wrong + 1)]


def completions(
    right: Sequence[str | None],
    wrong: Sequence[str | None],
    generators: Sequence[str | None] = (),
    styles: Sequence[str] = (),
) -> tuple[Completion, ...]:
    """Completions with the names that they get by their order.

    right, wrong: texts, None where not known. generators: of all of them, right ones first. styles: of each kind.
    """
    names = completion_names(len(right), len(wrong))
    unknown: list[str | None] = [None] * len(names)
    made_by = [one or None for one in generators] or unknown
    styled = [*styles, *styles] or unknown
    texts = [*right, *wrong]
    return tuple(
        Completion(name, place < len(right), texts[place], made_by[place], styled[place])
        for place, name in enumerate(names)
    )


def as_pair(pair: Sequence[Completion]) -> tuple[Completion, ...]:
    """The right and the wrong completion with RewardBench's names."""
    return tuple(replace(one, name="chosen" if one.is_correct else "rejected") for one in pair)


def named_for(benchmark: str, pair: Sequence[Completion]) -> tuple[Completion, ...]:
    """Completions with the names that the benchmark has for those of a pair; other completions keep theirs."""
    names = dict(zip(_OF_PAIR, completion_names(1, 1), strict=True))
    if benchmark == REWARDBENCH:
        names = {other: name for name, other in names.items()}
    return tuple(replace(one, name=names[one.name]) if one.name in names else one for one in pair)


def difference(known: Item, said: Item) -> str | None:
    """What tells apart two descriptions of one item, as far as both state it; None where they agree."""
    by_name = {one.name: one for one in known.completions}
    names = {one.name for one in said.completions}
    for one in said.completions:
        if one.name not in by_name:
            return f"the completion {one.name!r} in place of one of {', '.join(by_name)}"
    if missing := [name for name in by_name if name not in names]:
        return f"no {' and no '.join(missing)}"
    if None not in (known.prompt, said.prompt) and known.prompt_hash != said.prompt_hash:
        return "another prompt"
    for one in said.completions:
        other = by_name[one.name]
        if None not in (one.text, other.text) and (one.text or "").strip() != (other.text or "").strip():
            return f"another text of {one.name}"
        is_of_many = len(known.completions) > 2  # pairs are labelled chosen and rejected, source, or by their authors
        if is_of_many and None not in (one.generator, other.generator) and one.generator != other.generator:
            return f"another author of {one.name} ({one.generator} instead of {other.generator})"
    return None


def completed(known: Item, said: Item) -> Item:
    """An item with what another description of it adds."""
    by_name = {one.name: one for one in said.completions}
    filled = tuple(_filled(one, by_name[one.name]) for one in known.completions)
    prompt, category = known.prompt or said.prompt, known.category or said.category
    return replace(known, completions=filled, prompt=prompt, category=category)


def _filled(one: Completion, other: Completion) -> Completion:
    text = other.text if one.text is None else one.text
    facts = (text, one.generator or other.generator, one.style or other.style)
    return one if facts == (one.text, one.generator, one.style) else Completion(one.name, one.is_correct, *facts)


def user_turn(text: str) -> Prompt:
    """A prompt of one turn."""
    return (Turn("user", text),)


def of_test_set(pairs: Iterable[TestPair], source: str) -> Benchmark:
    """The test set of training as a benchmark. source: data set, with its commit or content.

    No item has a category: that of a subset is a fact of RewardBench, which staging adds.
    """
    items = {}
    for pair in pairs:
        found = as_pair(completions([pair.chosen], [pair.rejected]))
        item = Item(REWARDBENCH, pair.subset, pair.item_id, found, prompt=pair.prompt, place="the test set")
        items[item.key] = item
    return Benchmark(REWARDBENCH, items, source)


def item_tables(benchmark: Benchmark) -> tuple[pa.Table, pa.Table]:
    """Rows of benchmark_items and of item_completions."""
    items: list[tuple[Any, ...]] = []
    rows: list[tuple[Any, ...]] = []
    for item in benchmark.items.values():
        own = (item.benchmark, item.subset, item.item_id)
        n_correct = sum(one.is_correct for one in item.completions)
        items.append((*own, item.category, len(item.completions), n_correct, item.prompt_hash, benchmark.source))
        for place, one in enumerate(item.completions, 1):
            n_bytes = None if one.text is None else len(one.text.encode())
            made_by = (one.generator, family_of(one.generator))
            rows.append((*own, one.name, place, one.is_correct, one.style, *made_by, n_bytes))
    return as_table(BENCHMARK_ITEMS.filled_columns, items), as_table(ITEM_COMPLETIONS.filled_columns, rows)


def as_table(schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Rows as an Arrow table; each has a value per field of the schema, in its order."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
