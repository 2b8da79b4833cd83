"""Scores of reward models that ran elsewhere, matched with the items of their benchmarks.

Everything is read and checked before anything is returned: a file that does not fit leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from models_train.data.rows import WrongForm
from models_train.data.sources import file_label, open_source
from models_train.errors import Problems, UserError, close_match
from models_train.reward_benchmarks.items import (
    Benchmark,
    Item,
    as_table,
    completed,
    completion_names,
    difference,
    family_of,
    named_for,
)
from models_train.reward_benchmarks.records import read_records, record_files
from models_train.reward_benchmarks.score_files import READERS, Scored, ScoreFile
from models_train.reward_benchmarks.sets import load_named
from models_train.study.fingerprints import content_of
from models_train.study.reward_benchmarks import FACTS, PUBLISHED, ScoreImport
from models_train.study.study import Study
from models_train.study.training import DataSource
from warehouse.contracts.scores import COMPLETION_REWARDS, REWARDBENCH

REWARD = "reward"
"""Attribute of an imported reward."""
OK = "ok"
MOST_TEXTS = 0.5
"""Largest share of a file's texts that may differ from the set's: chat templates change some, another version most."""

Key = tuple[str, str]
"""Subset and item_id."""


@dataclass(frozen=True)
class _Reward:
    """The rewards of an item's completions, by name. source: the file, with its commit or content."""

    values: Mapping[str, float]
    place: str
    source: str


@dataclass
class Imported:
    """What a study's score files hold: rewards by reward_id and benchmark, and the items of benchmarks without a set.

    n_files were read. notes: sentences on what became of rows.
    """

    sets: Mapping[str, Benchmark]
    rewards: dict[tuple[str, str], dict[Key, _Reward]] = field(default_factory=dict)
    items: dict[str, dict[Key, Item]] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    n_files: int = 0

    def benchmark(self, name: str) -> Benchmark:
        """A benchmark of a set, or of the score files."""
        if name in self.sets:
            return self.sets[name]
        first, *others = self.sources[name]
        more = f" and {len(others)} more score file{'s' if len(others) > 1 else ''}" if others else ""
        return Benchmark(name, self.items[name], first + more)

    @property
    def of_files(self) -> list[Benchmark]:
        """Benchmarks whose items only the score files state."""
        return [self.benchmark(name) for name in self.items]

    def rows(self, reward_id: str, benchmark: str) -> pa.Table:
        """Rows of completion_rewards."""
        found = self.rewards[reward_id, benchmark]
        order = [key for key in self.benchmark(benchmark).items if key in found]
        rows = (
            (reward_id, benchmark, *key, name, REWARD, value, None, False, OK, found[key].source)
            for key in order
            for name, value in found[key].values.items()
        )
        return as_table(COMPLETION_REWARDS.filled_columns, rows)


def load_sets(study: Study, study_folder: Path) -> dict[str, Benchmark]:
    """The benchmarks that a study names, by name; the test set of training is RewardBench.

    Raises UserError, LocationError.
    """
    sets = [one.name for one in study.benchmark_sets]
    if study.test_set is not None and any(one.may_be_of_test_set for one in study.score_imports):
        sets.append(REWARDBENCH)
    return {name: load_named(study, name, study_folder) for name in sets}


def import_scores(study: Study, sets: Mapping[str, Benchmark], study_folder: Path) -> Imported:
    """All scores of the study's imports. Raises UserError; LocationError where a path is not there."""
    found = Imported(sets)
    for entry in study.score_imports:
        source = open_source(DataSource(path=entry.path), study_folder)
        for name in record_files(source):
            _import_file(entry, source.fetch(name), file_label(source, name), found)
            found.n_files += 1
    for (reward_id, benchmark), rewards in found.rewards.items():
        _refuse_missing(reward_id, found.benchmark(benchmark), rewards, is_set=benchmark in sets)
    return found


def _import_file(entry: ScoreImport, path: Path, name: str, found: Imported) -> None:
    of_format, read = READERS[entry.format]
    file = ScoreFile(name, entry.reward_id, entry.benchmark or of_format)
    rows = list(read(file, read_records(path, name)))
    if not rows:
        raise UserError(f"{name}: holds no row; take it out of the import, or make it again")
    source = f"{name.rpartition('/')[2]}@{entry.commit or content_of(path)[:12]}"
    groups: dict[str, list[Scored]] = {}
    for one in rows:
        groups.setdefault(one.item.benchmark or _only_set(name, found), []).append(one)
    for benchmark, scored in groups.items():
        found.sources.setdefault(benchmark, []).append(source)
        _match(entry.reward_id, benchmark, scored, source, found, Problems(name))
    if file.n_repeated:
        found.notes.append(
            f"{entry.reward_id}: {name}: {len(rows) + file.n_repeated:,} rows, {len(rows):,} of them distinct; a "
            "problem that is repeated with the same scores counts once"
        )
    found.notes += [f"{entry.reward_id}: {name}: {what}: {n:,}" for what, n in file.counts.items()]


def _only_set(name: str, found: Imported) -> str:
    """The benchmark of rows that name none: the only set of the study."""
    if len(found.sets) == 1:
        return next(iter(found.sets))
    raise UserError(
        f"{name}: its rows have no column benchmark, and the study has {len(found.sets)} benchmark sets; set benchmark "
        "in the entry of score_imports"
    )


def _match(
    reward_id: str, benchmark: str, scored: Sequence[Scored], source: str, found: Imported, problems: Problems
) -> None:
    """Add the rewards of a file on a benchmark. Raises UserError for all rows that do not fit, together."""
    known = found.sets.get(benchmark)
    if known is None and benchmark not in PUBLISHED:
        names = [*dict.fromkeys([*found.sets, *PUBLISHED])]
        problems.add(
            f"the benchmark {benchmark!r} is not under benchmark_sets; {close_match(benchmark, names)}",
            scored[0].row,
            "benchmark",
        )
        problems.raise_any()
    finder = _Finder(known, benchmark, scored) if known else None
    items = found.items.setdefault(benchmark, {}) if known is None else {}
    rewards = found.rewards.setdefault((reward_id, benchmark), {})
    for one in scored:
        try:
            said = _named(one.item, benchmark)
            item = finder.item(said, one) if finder else _of_file(said, items)
            _refuse_twice(reward_id, item, rewards)
        except WrongForm as error:
            raise UserError(f"{one.file}, row {one.row}: {error}") from None  # other rows will be the same
        except UserError as error:
            problems.add(str(error), one.row)
            continue
        values = dict(zip((each.name for each in said.completions), one.rewards, strict=True))
        ordered = {each.name: values[each.name] for each in item.completions}
        rewards[item.key] = _Reward(ordered, one.item.place, source)
    problems.raise_any()
    if finder:
        finder.refuse_other_texts(scored[0].file)
        if not any(one.item.item_id or one.item.prompt for one in scored):
            found.notes.append(f"{reward_id}: {scored[0].file}: rows have no ids, and were matched by their order")


def _named(item: Item, benchmark: str) -> Item:
    """An item of a score file with the benchmark's names of completions."""
    named = named_for(benchmark, item.completions)
    return Item(benchmark, item.subset, item.item_id, named, item.category, item.prompt, item.place)


def _refuse_twice(reward_id: str, item: Item, rewards: Mapping[Key, _Reward]) -> None:
    if item.key in rewards:
        raise UserError(
            f"the item {item.item_id!r} of {item.subset} has a reward of {reward_id} already in "
            f"{rewards[item.key].place}; keep one of them, or give each reward model its own reward_id"
        )


def _of_file(said: Item, items: dict[Key, Item]) -> Item:
    """The item that the score files describe together."""
    n_correct = sum(one.is_correct for one in said.completions)
    names = completion_names(n_correct, len(said.completions) - n_correct)
    if said.benchmark == REWARDBENCH:
        names = ["chosen", "rejected"]
    if not said.item_id and said.prompt is None:
        raise WrongForm(
            f"has no id; add {said.benchmark} to benchmark_sets, so that the rows can be matched with it by their order"
        )
    if sorted(names) != sorted(one.name for one in said.completions) or not 0 < n_correct < len(names):
        wanted = "chosen and rejected" if said.benchmark == REWARDBENCH else "correct_1, ... and wrong_1, ..."
        raise UserError(
            f"the item {said.item_id!r} has rewards of {', '.join(one.name for one in said.completions)}; without a "
            f"benchmark set it needs rewards of {wanted}"
        )
    by_name = {one.name: one for one in said.completions}
    item = Item(
        said.benchmark,
        said.subset or said.benchmark,
        said.item_id or str(said.prompt_hash),
        tuple(by_name[name] for name in names),
        said.category,
        said.prompt,
        said.place,
    )
    known = items.setdefault(item.key, item)
    if told := difference(known, item):
        raise UserError(
            f"the item {item.item_id!r} of {item.subset} has {told}, unlike in {known.place}; some scores are missing, "
            "or the files are of different versions of the benchmark: keep those of one version"
        )
    items[item.key] = completed(known, item)
    return items[item.key]


class _Finder:
    """Finds the items of a set that the rows of a score file are about."""

    def __init__(self, benchmark: Benchmark, name: str, scored: Sequence[Scored]) -> None:
        self._benchmark = benchmark
        self._by_id: dict[str, list[Item]] = {}
        self._by_prompt: dict[str, list[Item]] = {}
        for item in benchmark.items.values():
            self._by_id.setdefault(item.item_id, []).append(item)
            if item.prompt_hash is not None:
                self._by_prompt.setdefault(item.prompt_hash, []).append(item)
        self._in_order = list(benchmark.items.values())
        self._places = {id(one): place for place, one in enumerate(scored)}
        self._n_texts = self._n_other_texts = 0

    def item(self, said: Item, one: Scored) -> Item:
        """The item of a row. Raises UserError where the set has none, or another one of this name."""
        item = self._found(said, one)
        if told := difference(item, said):
            raise UserError(
                f"the item {item.item_id!r} of {item.subset} has {told}, unlike in {self._benchmark.source}; some "
                "scores are missing, or of another version: score the item again, or name the set of that version"
            )
        self._compare_texts(item, said, one)
        return item

    def _found(self, said: Item, one: Scored) -> Item:
        if said.item_id:
            candidates, what = self._by_id.get(said.item_id, []), f"the item {said.item_id!r}"
        elif said.prompt_hash is not None:
            candidates, what = self._by_prompt.get(said.prompt_hash, []), "an item with this prompt"
        else:
            return self._at_place(one)
        in_subset = [item for item in candidates if item.subset == said.subset]
        if said.subset and (in_subset or said.item_id):
            candidates, what = in_subset, f"{what} in the subset {said.subset}"
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            subsets = ", ".join(item.subset for item in candidates)
            raise UserError(f"{what} is in several subsets ({subsets}); add a column subset")
        raise UserError(
            f"{self._benchmark.name} ({self._benchmark.source}) does not have {what}; the scores are of another "
            "version of the benchmark or of another one: correct benchmark_sets, or take the row out"
        )

    def _at_place(self, one: Scored) -> Item:
        if len(self._places) != len(self._in_order):
            raise WrongForm(
                f"the {len(self._places):,} rows have no ids, and {self._benchmark.name} ({self._benchmark.source}) "
                f"has {len(self._in_order):,} items, so they cannot be matched by order; import a file with ids"
            )
        return self._in_order[self._places[id(one)]]

    def _compare_texts(self, item: Item, said: Item, one: Scored) -> None:
        by_name = {each.name: each.text for each in item.completions}
        if len(one.texts) == len(said.completions):
            for each, scored in zip(said.completions, one.texts, strict=True):
                wanted = by_name[each.name]
                if wanted is not None:
                    self._n_texts += 1
                    self._n_other_texts += " ".join(wanted.split()) not in " ".join(scored.split())

    def refuse_other_texts(self, file: str) -> None:
        """Raise UserError where most texts that were scored are not those of the set."""
        if self._n_other_texts > MOST_TEXTS * self._n_texts:
            raise UserError(
                f"{file}: {self._n_other_texts:,} of its {self._n_texts:,} texts do not hold the completions that "
                f"{self._benchmark.source} has; the scores are of another version of {self._benchmark.name}, or in "
                "another order: correct benchmark_sets, or take the file out"
            )


def _refuse_missing(reward_id: str, benchmark: Benchmark, rewards: Mapping[Key, _Reward], is_set: bool) -> None:
    """Of a subset that has scores all items need one: left out ones may be those that a reward model fails on."""
    scored = {subset for subset, _ in rewards}
    missing = [item for key, item in benchmark.items.items() if key[0] in scored and key not in rewards]
    if missing:
        files = ", ".join(dict.fromkeys(one.source.partition("@")[0] for one in rewards.values()))
        names = ", ".join(f"{item.item_id!r} ({item.place})" for item in missing[:3])
        otherwise = "" if is_set else f"; where files name items differently, add {benchmark.name} to benchmark_sets"
        raise UserError(
            f"{files}: {len(missing):,} items of {benchmark.name} have no reward of {reward_id}, in subsets of which "
            f"others have one: {names}{', ...' if len(missing) > 3 else ''}; score them, too, or take these subsets out"
            f"{otherwise}"
        )


def reward_sources(study: Study) -> Iterator[dict[str, Any]]:
    """Rows of reward_sources, one per reward_id of the score imports."""
    by_name: dict[str, list[ScoreImport]] = {}
    for entry in study.score_imports:
        by_name.setdefault(entry.reward_id, []).append(entry)
    for reward_id, entries in by_name.items():
        facts = {name: next((v for one in entries if (v := getattr(one, name)) is not None), None) for name in FACTS}
        base = facts["base_model"]
        models = [model for model in study.by_id.values() if base in (model.model_id, model.hub_id)]
        model = models[0] if base is not None and len(models) == 1 else None
        yield {
            **facts,
            "reward_id": reward_id,
            "kind": "hub" if facts["hub_id"] else "imported",
            "model_id": model.model_id if model else None,
            "seed": None,
            "family": facts["family"] or (model.family if model else family_of(base)),
            "params_b": facts["params_b"] or (model.params_b if model else None),
        }
