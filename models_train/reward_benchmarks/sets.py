"""Benchmarks that a study names: RewardBench, RewardBench 2, RewardMATH, RM-Bench, JudgeBench, pairs, best of k."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models_train.data.conversations import compared, messages, plain_or_turns, text_or_messages, with_response
from models_train.data.forms import PREFERENCES, TEST_PAIRS, item_id
from models_train.data.helpsteer import preference_files
from models_train.data.records import Prompt
from models_train.data.rewardbench import filtered_files, load_test_pairs
from models_train.data.rows import Column, Form, LeftOut, Row, Values, checked_records, filled_text, text
from models_train.data.sources import END_OF_WORD, Source, below, data_of, file_label, open_source
from models_train.errors import Problems, UserError, close_match
from models_train.parts import content_hash
from models_train.reward_benchmarks.items import (
    TIES,
    Benchmark,
    Item,
    as_pair,
    completions,
    of_test_set,
    user_turn,
)
from models_train.reward_benchmarks.records import as_list, read_records, record_files, texts
from models_train.study.fingerprints import source_name
from models_train.study.reward_benchmarks import BenchmarkSet
from models_train.study.settings import shown
from models_train.study.study import Study
from warehouse.contracts.scores import REWARDBENCH

STYLES = ("concise", "detailed", "markdown")
"""Styles of RM-Bench's completions, in their order."""
RM_BENCH_DOMAINS = {
    "chat": "chat",
    "code": "code",
    "math": "math",
    "safety-refuse": "safety",
    "safety-response": "safety",
    "safety": "safety",
}
"""Domain of RM-Bench's rows and the category that pools them."""
RIGHT_BY = "human"
"""Beginning of RewardMATH's author of the right answer."""
OWN_IDS = ("id", "item_id", "pair_id")
"""Columns of the id of a pair; without one its content is its id."""
LABELS = {"A>B": True, "B>A": False}
"""JudgeBench's labels -> whether the response A is the right one."""


def at_commits(study: Study, path: Path, home: Path, *, with_test_set: bool = True) -> Study:
    """The study with the commits of its benchmarks on a hub, which are kept. path: the study file.

    Raises UserError where the hub does not know one of them.
    """
    changed: dict[str, Any] = {"benchmark_sets": tuple(data_of(one, path, home) for one in study.benchmark_sets)}
    if study.training is not None and study.training.test_set is not None and with_test_set:
        test_set = data_of(study.training.test_set, path, home)
        changed["training"] = study.training.model_copy(update={"test_set": test_set})
    return study.model_copy(update=changed)


def load_named(study: Study, name: str, study_folder: Path) -> Benchmark:
    """The items of one of the study's benchmarks: the test set of training, which is RewardBench, or a set.

    Raises as `load_benchmark`.
    """
    if study.test_set is not None and name == REWARDBENCH:
        return of_test_set(load_test_pairs(study.test_set, study_folder), source_name(study.test_set, study_folder))
    return load_benchmark(next(one for one in study.benchmark_sets if one.name == name), study_folder)


def load_benchmark(one: BenchmarkSet, study_folder: Path) -> Benchmark:
    """The items of a benchmark set, in the order of their rows.

    Ties and rows without two comparable completions are left out and counted, and a pair without an id that occurs
    twice counts once. Raises UserError for rows that cannot be used, an id that a subset has twice, and where there is
    no item; LocationError where the place is missing.
    """
    source = open_source(one, study_folder)
    kind = _KINDS[one.rows_kind]
    counts: Counter[str] = Counter()
    rows = []
    for row in _rows_of_set(one, source, kind):
        if row.left_out:
            counts[f"rows left out, because {row.left_out}"] += 1
        else:
            rows.append(row)
    items: dict[tuple[str, str], Item] = {}
    for item, row in kind.items(rows, one.name):
        if item.key not in items:
            items[item.key] = item
        elif kind is _PAIRS and not any(row.values[name] for name in OWN_IDS):
            counts["repeated rows, counted once"] += 1
        else:
            _refuse_repeated(items[item.key], item, row)
    if not items:
        what = "; ".join(f"{n:,} {reason}" for reason, n in counts.items())
        raise UserError(f"{source.label}: no item can be used{f' ({what})' if what else ''}; give rows of {one.name}")
    notes = tuple(f"{one.name}: {reason}: {n:,}" for reason, n in counts.items())
    return Benchmark(one.name, items, source_name(one, study_folder), notes)


def _refuse_repeated(known: Item, item: Item, row: Row) -> None:
    problems = Problems(row.file)
    problems.add(
        f"the subset {item.subset} has {item.item_id!r} already in {known.place}; keep one, or give each its own id",
        row.number,
    )
    problems.raise_any()


def _rows_of_set(one: BenchmarkSet, source: Source, kind: _Kind) -> list[Row]:
    """The rows of the files that count, or of a split."""
    files = kind.files(record_files(source))
    named = _of_split(files, one.split) if one.split else []
    rows = []
    for name in named or files:
        label = file_label(source, name)
        found = checked_records(read_records(source.fetch(name), label), label, kind.forms)
        rows += [replace(row, name=name) for row in found]
    return _with_split(rows, one.split, source.label) if one.split and not named else rows


def _of_split(files: list[str], split: str) -> list[str]:
    """Files of a split by their names, or by a folder's."""
    named = [name for name in files if re.match(rf"{re.escape(split)}{END_OF_WORD}", name.rpartition("/")[2])]
    return sorted({*named, *below(split, files)})


def _with_split(rows: list[Row], split: str, label: str) -> list[Row]:
    found = [row for row in rows if row.left_out or row.values.get("split") == split]
    if not any(row.values for row in found):
        known = sorted({row.values["split"] for row in rows if row.values.get("split")})
        hint = close_match(split, known, "the column split has") if known else "the rows have no column split"
        raise UserError(f"{label}: no file, folder or row is of the split {split!r}; {hint}: correct the setting")
    return found


def _place(row: Row) -> str:
    return f"row {row.number} of {row.file}"


Items = Iterator[tuple[Item, Row]]


@dataclass(frozen=True)
class _Kind:
    """Forms of a kind's rows, the items that they make for a benchmark of some name, and the files that are read."""

    forms: tuple[Form, ...]
    items: Callable[[Sequence[Row], str], Items]
    files: Callable[[list[str]], list[str]] = list


_SPLIT = {"split": Column(text, is_optional=True)}


def _each(make: Callable[[Values, str], Item]) -> Callable[[Sequence[Row], str], Items]:
    """Items of rows that hold one each. make: an item of a row's values; name: of the benchmark."""

    def items(rows: Sequence[Row], name: str) -> Items:
        for row in rows:
            yield replace(make(row.values | {"file": row.name}, name), place=_place(row)), row

    return items


def _of_rewardbench(values: Values, name: str) -> Item:
    pair = as_pair(
        completions([values["chosen"]], [values["rejected"]], [values["chosen_model"], values["rejected_model"]])
    )
    return Item(name, values["subset"], values["id"], pair, prompt=values["prompt"])


def _of_rewardbench2(values: Values, name: str) -> Item:
    right, wrong = values["chosen"], values["rejected"]
    subset = rewardbench2_subset(values["subset"])
    made_by = values["models"] if len(values["models"] or ()) == len(right) + len(wrong) else ()
    found = completions(right, wrong, made_by)
    return Item(name, subset, values["id"], found, category=subset, prompt=values["prompt"])


def rewardbench2_subset(subset: str) -> str:
    """A subset of RewardBench 2; that of ties is written in two ways."""
    return TIES if subset.lower() == TIES.lower() else subset


def _best_of_4(values: Values) -> Values:
    right, wrong, n_correct = values["chosen"], values["rejected"], values["num_correct"]
    if not right or not wrong:
        raise UserError("chosen and rejected need one completion each at least; correct the row, or remove it")
    if n_correct is not None and n_correct != len(right):
        raise UserError(f"num_correct is {n_correct}, but chosen has {len(right)}; correct the row, or remove it")
    if rewardbench2_subset(values["subset"]) == TIES:
        refuse_other_ties(values["id"])
    return values


def refuse_other_ties(name: str) -> None:
    """Raise UserError for the id of a tie that is of neither kind: `ref:` and `tied:` prompts are compared by ID."""
    if not re.fullmatch(r"(ref|tied):.+", name):
        raise UserError(f"{shown(name)} is no id of the subset {TIES}, which are ref:<ID> and tied:<ID>; correct it")


def _of_rm_bench(values: Values, name: str) -> Item:
    domain = rm_bench_domain(values["domain"], values["file"])
    found = completions(values["chosen"], values["rejected"], styles=STYLES)
    return Item(name, domain, values["id"], found, category=RM_BENCH_DOMAINS[domain], prompt=values["prompt"])


def rm_bench_domain(stated: str | None, file: str) -> str:
    """Domain of a row of RM-Bench, from the row or, where its files have none, the beginning of the file's name."""
    if stated:
        return stated
    named = [domain for domain in RM_BENCH_DOMAINS if file.rpartition("/")[2].startswith(domain)]
    if not named:
        raise UserError(
            f"{file}: its rows have no domain, and its name does not begin with one ({', '.join(RM_BENCH_DOMAINS)}); "
            "rename the file as in RM-Bench's repository, or add a column domain"
        )
    return named[0]


def domain_name(value: Any) -> str:
    """A domain of RM-Bench."""
    if value not in RM_BENCH_DOMAINS:
        raise UserError(f"{shown(value)} is no domain of RM-Bench, which has {', '.join(RM_BENCH_DOMAINS)}; correct it")
    return str(value)


def three(value: Any) -> list[str]:
    """RM-Bench's completions of one kind."""
    found: list[str] = texts(value)
    if len(found) != len(STYLES):
        raise UserError(f"has {len(found)} completions, not 3 ({', '.join(STYLES)}); correct the row, or remove it")
    return found


def judgebench_label(value: Any) -> bool:
    """True where the response A is the right one."""
    if value not in LABELS:
        raise UserError(f"{shown(value)} is no label; it is A>B or B>A: correct the row, or remove it")
    return LABELS[value]


def judgebench_item(values: Values, name: str) -> Item:
    """A pair of JudgeBench; its completions are those of the label, the right one first."""
    answers = [values["response_A"], values["response_B"]]
    right, wrong = answers if values["label"] else reversed(answers)
    found = completions([right], [wrong], [values["response_model"]] * 2)
    source = values["source"]
    category = next((one for one in ("mmlu-pro", "livebench-reasoning", "livebench-math", "livecodebench")
                     if source.startswith(one)), source)  # fmt: skip
    prompt = None if values["question"] is None else user_turn(values["question"])
    return Item(name, source, values["pair_id"], found, category=category, prompt=prompt)


def steps(value: Any) -> str:
    """RewardMATH's solution: a list of steps, one per line, or text."""
    if isinstance(value, str) and not value.strip().startswith("["):
        return text(value)
    return "\n".join(texts(value))


def _of_rewardmath(rows: Sequence[Row], name: str) -> Items:
    """Items of rows that hold one completion each, by problem."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.values["problem_id"] or row.values["problem"], []).append(row)
    problems: dict[str, Problems] = {}
    for group in groups.values():
        first = group[0]
        right, wrong = ([row for row in group if _is_right(row.values) is wanted] for wanted in (True, False))
        here = problems.setdefault(first.file, Problems(first.file))
        if len(right) != 1 or not wrong:
            here.add(
                f"the problem has {len(right)} right and {len(wrong)} wrong solutions; it needs one right one and some "
                "wrong ones: complete it, or remove its rows",
                first.number,
            )
            continue
        if any(row.values["problem"] != first.values["problem"] for row in group):
            here.add("rows of this problem_id have different problems; give each problem its own", first.number)
            continue
        ordered = [*right, *wrong]
        found = completions(
            [row.values["eval_solution"] for row in right],
            [row.values["eval_solution"] for row in wrong],
            [row.values["solution_reference"] for row in ordered],
        )
        prompt = user_turn(first.values["problem"])
        item = Item(name, name, first.values["problem_id"] or "", found, prompt=prompt, place=_place(first))
        yield replace(item, item_id=item.item_id or str(item.prompt_hash)), first
    for one in problems.values():
        one.raise_any()


def _is_right(values: Values) -> bool:
    if values["solution_type"] is not None:
        return bool(values["solution_type"] == "chosen")
    return str(values["solution_reference"]).startswith(RIGHT_BY)


def _kind_of_solution(value: Any) -> str:
    if value not in ("chosen", "rejected"):
        raise UserError(f"{shown(value)} is neither chosen nor rejected; correct the row, or remove it")
    return str(value)


def _of_pairs(values: Values, name: str) -> Item:
    right, wrong, prompt = values["right"], values["wrong"], values["prompt"]
    own = next((values[one] for one in OWN_IDS if values[one]), None)
    content = content_hash([[[turn.role, turn.text] for turn in prompt], right, wrong], 16)
    subset = values["subset"] or values["domain"]
    made_by = [values["chosen_model"], values["rejected_model"]] if len(right) == len(wrong) == 1 else ()
    found = completions(right, wrong, made_by)
    return Item(name, subset or name, own or content, found, values["category"] or values["domain"], prompt)


def _from_literal(value: Any) -> Any:
    """Messages that are written as text, in JSON or as a Python literal; any other value as it is."""
    if isinstance(value, str) and re.match(r"\[\s*\{", value):
        try:
            found = as_list(value)
        except UserError:
            return value
        are_turns = all(isinstance(one, dict) and {"role", "from"} & one.keys() for one in found)
        return found if are_turns else value
    return value


def _prompt(value: Any) -> str | Prompt:
    return text_or_messages(_from_literal(value))


def _one_or_more(value: Any) -> Any:
    """A completion as text or messages, or a list of them."""
    value = _from_literal(value)
    if isinstance(value, str):
        return text(value)
    if not isinstance(value, list) or not value:
        raise UserError(
            f"{shown(value)} is neither text nor a list of turns or of texts; correct it, or remove the row"
        )
    if all(isinstance(one, str) for one in value):
        return [text(one) for one in value]
    return [messages(one) for one in value] if all(isinstance(one, list) for one in value) else messages(value)


def _label(value: Any) -> str | None:
    """A name or number; empty text is none."""
    return None if value == "" else item_id(value)


_PAIR = PREFERENCES[2]
_FURTHER = {
    **{name: Column(item_id, is_optional=True) for name in OWN_IDS},
    **{
        name: Column(_label, is_optional=True)
        for name in ("subset", "domain", "category", "chosen_model", "rejected_model")
    },
    **_SPLIT,
}
"""Columns that a file of pairs may have beside those of its form."""


def _with_pair(values: Values, form: Form) -> Values:
    pair = form.values(values)
    if not pair["strength"]:
        raise LeftOut("they are ties (strength 0, equal scores or equal responses)")
    return values | {"prompt": pair["prompt"], "right": [pair["chosen"]], "wrong": [pair["rejected"]]}


def _with_list(values: Values, form: Form) -> Values:
    """Values of one or several right and wrong completions."""
    sides = [one if isinstance(one, list) else [one] for one in (values["chosen"], values["rejected"])]
    if [len(side) for side in sides] == [1, 1]:
        return _with_pair(values | {"chosen": sides[0][0], "rejected": sides[1][0]}, form)
    if values["prompt"] is None:
        raise UserError("several completions need a column prompt; add it")
    prompt: Prompt = values["prompt"] if isinstance(values["prompt"], tuple) else user_turn(values["prompt"])
    first = with_response(prompt, sides[0][0])
    found = [[compared(first, with_response(prompt, one)) for one in side] for side in sides]
    if {one[2] for one in found[0]} & {one[2] for one in found[1]}:
        raise LeftOut("a text is both chosen and rejected")
    answers = {name: [one[2] for one in side] for name, side in zip(("right", "wrong"), found, strict=True)}
    return values | answers | {"prompt": found[0][0][0]}


def _pair_form(form: Form, make: Callable[[Values, Form], Values] = _with_pair) -> Form:
    return Form({**form.columns, **_FURTHER}, lambda values: make(values, form))


_LISTS = replace(
    _PAIR,
    columns={
        **_PAIR.columns,
        "prompt": Column(_prompt, is_optional=True),
        "chosen": Column(_one_or_more),
        "rejected": Column(_one_or_more),
    },
)


def _of_texts(values: Values) -> Values:
    """Values of conversations that are named text_chosen and text_rejected."""
    pair = {"chosen": values["text_chosen"], "rejected": values["text_rejected"]}
    return _with_list(dict.fromkeys(_PAIR.columns) | values | pair, _PAIR)


_TEXTS = Form(
    {
        "text_chosen": Column(_one_or_more),
        "text_rejected": Column(_one_or_more),
        "prompt": Column(plain_or_turns, is_optional=True),
        **_FURTHER,
    },
    _of_texts,
)
_PAIRS = _Kind(
    (
        _pair_form(PREFERENCES[0]),
        _pair_form(PREFERENCES[1]),
        _pair_form(_LISTS, _with_list),
        _TEXTS,
        _pair_form(PREFERENCES[3]),
    ),
    _each(_of_pairs),
    preference_files,
)
_REWARDBENCH = _Kind(
    tuple(
        replace(
            form,
            columns={
                **form.columns,
                **{name: Column(_label, is_optional=True) for name in ("chosen_model", "rejected_model")},
                **_SPLIT,
            },
        )
        for form in TEST_PAIRS
    ),
    _each(_of_rewardbench),
    filtered_files,
)


def count(value: Any) -> int:
    """A whole number from 1; 3.0 is one."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value % 1 or value < 1:
        raise UserError(f"{shown(value)} is not a whole number from 1; correct it, or remove the row")
    return int(value)


_KINDS: Mapping[str | None, _Kind] = {
    "rewardbench": _REWARDBENCH,
    "rewardbench2": _Kind(
        (
            Form(
                {
                    "id": Column(item_id),
                    "prompt": Column(plain_or_turns),
                    "chosen": Column(texts),
                    "rejected": Column(texts),
                    "subset": Column(filled_text),
                    "num_correct": Column(count, is_optional=True),
                    "models": Column(texts, is_optional=True),
                    **_SPLIT,
                },
                _best_of_4,
            ),
        ),
        _each(_of_rewardbench2),
    ),
    "rewardmath": _Kind(
        (
            Form(
                {
                    "problem": Column(filled_text),
                    "eval_solution": Column(steps),
                    "solution_reference": Column(text),
                    "solution_type": Column(_kind_of_solution, is_optional=True),
                    "problem_id": Column(item_id, is_optional=True),
                    **_SPLIT,
                }
            ),
        ),
        _of_rewardmath,
    ),
    "rm_bench": _Kind(
        (
            Form(
                {
                    "id": Column(item_id),
                    "prompt": Column(plain_or_turns),
                    "chosen": Column(three),
                    "rejected": Column(three),
                    "domain": Column(domain_name, is_optional=True),
                    **_SPLIT,
                }
            ),
        ),
        _each(_of_rm_bench),
    ),
    "judgebench": _Kind(
        (
            Form(
                {
                    "pair_id": Column(item_id),
                    "source": Column(filled_text),
                    "question": Column(filled_text),
                    "response_A": Column(text),
                    "response_B": Column(text),
                    "label": Column(judgebench_label),
                    "response_model": Column(text, is_optional=True),
                    **_SPLIT,
                }
            ),
        ),
        _each(judgebench_item),
    ),
    "pairs": _PAIRS,
    "best_of_k": _PAIRS,
    None: _PAIRS,
}
"""Forms and items by kind."""
