"""The prompts of a study: those that responses are compared on (measure), and those that policies are trained on
(teach).

They are rows of a data set, chosen by the hash of their content, or the lab's own. Of a data set that grows, most
prompts stay the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from models_train.data.conversations import plain_or_turns
from models_train.data.forms import SPLITS, item_id
from models_train.data.records import Prompt, prompt_id
from models_train.data.rows import Column, Form, Row, Values, text
from models_train.data.sources import data_of, open_data
from models_train.errors import Problems, UserError, close_match
from models_train.study.fingerprints import lab_run_id, source_name
from models_train.study.settings import LONGEST_NAME, shown
from models_train.study.study import Study
from models_train.study.teachers import LAB_PROMPTS, CheckName, Prompts
from models_train.synthetic.preferences import unseen_questions

PromptSplit: TypeAlias = Literal["measure", "teach"]
LAB_SIZES: Mapping[PromptSplit, int] = {"measure": 96, "teach": 256}
"""Prompts of the lab by split."""
LAB_GOLD = "lab"
"""gold_kind of the lab's prompts, whose gold is the JSON `{"dice": ...}` of the question (`asked_question`)."""
SPLIT_NAMES: Mapping[str, PromptSplit] = {
    "measure": "measure",
    "teach": "teach",
    **{name: "teach" if split == "train" else "measure" for name, split in SPLITS.items()},
}
"""Split by value of the column `split`, in small letters: policies are trained on the rows that train."""


@dataclass(frozen=True)
class PolicyPrompt:
    """A prompt of a set. gold: JSON text. order_no: its place in the set, from 1."""

    prompt_set: str
    prompt_id: str
    split: PromptSplit
    turns: Prompt
    source: str
    gold_kind: str | None = None
    gold: str | None = None
    order_no: int = 0

    @property
    def content_hash(self) -> str:
        """16 hex digits over the turns."""
        return prompt_id(self.turns)


@dataclass(frozen=True)
class PromptSet:
    """The chosen prompts, those of measure first. notes: what became of the rows."""

    prompts: tuple[PolicyPrompt, ...]
    notes: tuple[str, ...] = ()


def prompts_at_commit(study: Study, path: Path, home: Path) -> Study:
    """The study with the commit of its prompts. path: the study file. Raises as `data_of`."""
    teachers = study.teachers
    if teachers is None or teachers.prompts is None:
        return study
    prompts = data_of(teachers.prompts, path, home)
    return study.model_copy(update={"teachers": teachers.model_copy(update={"prompts": prompts})})


def load_prompts(study: Study, study_folder: Path) -> PromptSet:
    """The prompts that the study's policies are sampled on.

    Raises UserError for rows that cannot be used, too few of them, or a study without prompts; LocationError where
    the data set is not there.
    """
    if study.teachers is None or (study.teachers.prompts is None and study.lab is None):
        raise UserError(f"{study.study_id}: the study names no prompts; add `prompts` to the group teachers")
    if study.teachers.prompts is None:
        return PromptSet(_of_lab(study))
    return _of_rows(study.teachers.prompts, study_folder)


def prompt_rows(prompts: Iterable[PolicyPrompt]) -> list[dict[str, Any]]:
    """Rows of the raw table prompts."""
    return [
        {
            "prompt_set": one.prompt_set,
            "prompt_id": one.prompt_id,
            "split": one.split,
            "n_turns": len(one.turns),
            "n_bytes": sum(len(turn.text.encode()) for turn in one.turns),
            "content_hash": one.content_hash,
            "source": one.source,
            "gold_kind": one.gold_kind,
            "gold": one.gold,
            "order_no": one.order_no,
        }
        for one in prompts
    ]


def text_hash(text: str) -> str:
    """16 hex digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_lab(study: Study) -> tuple[PolicyPrompt, ...]:
    """Questions of the lab that no reward model trains on, and that neither split has twice."""
    assert study.lab is not None
    seen: set[str] = set()
    found = []
    for split, n in LAB_SIZES.items():
        for dice, question in unseen_questions(n, f"prompts/{split}/{study.lab.seed}", seen):
            turns = plain_or_turns(question.prompt)
            gold = json.dumps({"dice": dice})
            source = f"lab@{lab_run_id(study)}"
            found.append(PolicyPrompt(LAB_PROMPTS, prompt_id(turns), split, turns, source, LAB_GOLD, gold))
    return _in_order(found)


def stated_split(value: Any) -> PromptSplit | None:
    """The split that a row states, in any case; empty text is none."""
    word = text(value).strip().lower()
    if word and word not in SPLIT_NAMES:
        raise UserError(f"{shown(value)} is no split; it is measure or teach: correct or rename the column")
    return SPLIT_NAMES.get(word)


def stated_id(value: Any) -> str:
    """An id of a prompt, as text."""
    found = item_id(value)
    if len(found) > LONGEST_NAME:
        raise UserError(f"{shown(found)} is longer than {LONGEST_NAME} characters; give a shorter id")
    return found


def _gold_kind(value: Any) -> CheckName:
    for kind in get_args(CheckName):
        if value == kind:
            return kind
    raise UserError(f"{shown(value)} is no gold_kind; {close_match(str(value), get_args(CheckName), 'the kinds are')}")


def _with_gold(values: Values) -> Values:
    kind, gold = values["gold_kind"], values["gold"]
    if (kind is None) != (gold is None):
        given, missing = ("gold", "gold_kind") if kind is None else ("gold_kind", "gold")
        raise UserError(f"has {given}, but no {missing}; add it, or remove {given}")
    if gold is None:
        return values
    try:
        return values | {"gold": json.dumps(gold, ensure_ascii=False, sort_keys=True, allow_nan=False)}
    except (TypeError, ValueError) as error:
        raise UserError(f"gold cannot be written as JSON ({error}); correct it, or remove the row") from None


FORM = Form(
    {
        "prompt": Column(plain_or_turns),
        "prompt_id": Column(stated_id, is_optional=True),
        "split": Column(stated_split, is_optional=True),
        "gold_kind": Column(_gold_kind, is_optional=True),
        "gold": Column(lambda value: value, is_optional=True),
    },
    _with_gold,
)
"""Rows of prompts."""


def _of_rows(settings: Prompts, study_folder: Path) -> PromptSet:
    data = open_data(settings, study_folder)
    rows = list(data.rows((FORM,)))
    is_split = any(row.values["split"] for row in rows)
    notes = [f"{settings.name}: {len(rows):,} rows of {data.description}"]
    by_content = _distinct(rows, notes, settings.name)
    source = source_name(settings, study_folder)
    sizes: dict[PromptSplit, int] = {"measure": settings.measure, "teach": settings.teach}
    chosen: list[PolicyPrompt] = []
    left = sorted(by_content)  # the order of hashes
    for split, n in sizes.items():
        usable = [one for one in left if not is_split or by_content[one].values["split"] == split]
        if len(usable) < n:
            raise UserError(
                _too_few(data.source.label, sizes, len(by_content), split if is_split else None, len(usable))
            )
        for one in usable[:n]:
            values = by_content[one].values
            name = values["prompt_id"] or one
            gold = values["gold_kind"], values["gold"]
            chosen.append(PolicyPrompt(settings.name, name, split, values["prompt"], source, *gold))
        left = [one for one in left if one not in set(usable[:n])]
    return PromptSet(_in_order(chosen), tuple(notes))


def _distinct(rows: Sequence[Row], notes: list[str], name: str) -> dict[str, Row]:
    """The rows by the hash of their prompt, each prompt once. Raises UserError for ids and splits that contradict."""
    found: dict[str, Row] = {}
    names: dict[str, tuple[str, Row]] = {}
    problems = {row.file: Problems(row.file) for row in rows}
    n_repeated, both = 0, set()
    n_split = sum(row.values["split"] is not None for row in rows)
    for row in rows:
        one, stated = prompt_id(row.values["prompt"]), row.values["prompt_id"]
        if 0 < n_split < len(rows) and row.values["split"] is None:
            problems[row.file].add("missing, but other rows have it; give every row its split", row.number, "split")
        if stated is not None:
            known, first = names.setdefault(stated, (one, row))
            if known != one:
                where = f"row {first.number} of {first.file}"
                text_ = f"{shown(stated)} is also the id of another prompt, in {where}; give each prompt its own"
                problems[row.file].add(text_, row.number, "prompt_id")
        if one not in found:
            found[one] = row
            continue
        n_repeated += 1
        if found[one].values["split"] != row.values["split"]:
            both.add(one)
            # A prompt of both splits is measured on, and nothing is trained on it.
            found[one] = replace(found[one], values=found[one].values | {"split": "measure"})
    for of_file in problems.values():
        of_file.raise_any()
    if n_repeated:
        notes.append(f"{name}: {n_repeated:,} rows repeat a prompt, which counts once")
    if both:
        notes.append(f"{name}: {len(both):,} prompts are stated for both splits; they count as measure alone")
    return found


def _too_few(label: str, sizes: Mapping[PromptSplit, int], n_all: int, split: PromptSplit | None, n_usable: int) -> str:
    if split is not None:
        return (
            f"{label}: {n_usable:,} distinct prompts have the split {split}, and {sizes[split]:,} are asked for; lower "
            f"teachers.prompts.{split}, or give more rows"
        )
    asked = f"{sum(sizes.values()):,} are asked for (measure {sizes['measure']:,}, teach {sizes['teach']:,})"
    return f"{label}: holds {n_all:,} distinct prompts, and {asked}; lower these settings, or give more rows"


def _in_order(prompts: Sequence[PolicyPrompt]) -> tuple[PolicyPrompt, ...]:
    ids: dict[str, PolicyPrompt] = {}
    for one in prompts:
        if one.prompt_id in ids:  # an id that a row states may be the hash of another row's prompt
            raise UserError(f"{one.prompt_set}: two prompts have the id {one.prompt_id!r}; give each prompt its own")
        ids[one.prompt_id] = one
    return tuple(replace(one, order_no=number) for number, one in enumerate(prompts, 1))
