"""Responses that were sampled elsewhere: files of AlpacaEval, UltraFeedback, reward-bench's best of n, generations
with gold scores, and plain rows.

Everything is read and checked before anything is returned. Prompts without an id are named by their content, so that
equal prompts of several files are one. The responses of a policy to a prompt are numbered in the order of the rows, and
equal ones are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from models_train.data.conversations import messages, plain_or_turns
from models_train.data.records import Prompt, Turn, prompt_id
from models_train.data.rows import Column, Form, Row, Values, WrongForm, checked_records, filled_text, text
from models_train.data.sources import Source, file_label, open_source
from models_train.errors import Problems, UserError
from models_train.policies.prompts import PolicyPrompt, load_prompts, prompts_at_commit, stated_id, text_hash
from models_train.reward_benchmarks.items import as_table, family_of
from models_train.reward_benchmarks.records import as_list, read_records, record_files, reward
from models_train.study.fingerprints import content_of
from models_train.study.settings import LONGEST_NAME, shown
from models_train.study.study import Study
from models_train.study.teachers import ResponseFormat, ResponseImport
from models_train.study.training import DataSource
from warehouse.contracts.responses import EMPTY, OK, RESPONSE_REWARDS, RESPONSES
from warehouse.contracts.scores import REWARD

PICKLES = (".pt", ".pth", ".pkl", ".pickle")
"""Endings of pickled files, which are not read."""
_PICKLED = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of pickled files."""
_ZIPPED, _IN_ZIP = b"PK\x03\x04", b"data.pkl"
"""First bytes of the zip archives of torch, and the file that comes first in them."""
NO_REWARD = "missing: the file has no reward of it"
"""Status of a response without a reward in a file of rewards."""


@dataclass(frozen=True)
class Answer:
    """A response as a row has it. policy: as the row names it. score: the value of the file, or None."""

    policy: str | None
    text: str
    score: Any = None


@dataclass
class Imported:
    """What a study's files of responses hold.

    prompts: by set and id. responses: rows by policy and set. rewards: rows by reward, policy and set. policies: rows
    of the raw table. notes: sentences on what was left out. places: row of the first of equal prompts. counts: of the
    prompts of a set, and of the responses of a policy to a prompt.
    """

    prompts: dict[tuple[str, str], PolicyPrompt] = field(default_factory=dict)
    responses: dict[tuple[str, str], list[tuple[Any, ...]]] = field(default_factory=dict)
    rewards: dict[tuple[str, str, str], list[tuple[Any, ...]]] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    n_files: int = 0
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    counts: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def response_rows(self, policy_id: str, prompt_set: str) -> pa.Table:
        """Rows of the raw table responses."""
        return as_table(RESPONSES.filled_columns, self.responses[policy_id, prompt_set])

    def reward_rows(self, reward_id: str, policy_id: str, prompt_set: str) -> pa.Table:
        """Rows of the raw table response_rewards."""
        return as_table(RESPONSE_REWARDS.filled_columns, self.rewards[reward_id, policy_id, prompt_set])


def import_responses(study: Study, study_folder: Path) -> Imported:
    """All responses of the study's files. Raises UserError; LocationError where a path is not there."""
    found = Imported()
    for entry in study.teachers.responses if study.teachers else ():
        source = open_source(DataSource(path=entry.path), study_folder)
        for name in _files(source):
            label = file_label(source, name)
            _import_file(entry, source.fetch(name), label, study, found)
            found.n_files += 1
    return found


def all_prompts(study: Study, study_folder: Path) -> dict[tuple[str, str], PolicyPrompt]:
    """The prompts that policies are sampled on and those of imported responses, by set and id; raises as those do."""
    teachers = study.teachers
    sampled = load_prompts(study, study_folder).prompts if teachers and teachers.policies else ()
    imported = import_responses(study, study_folder).prompts if teachers and teachers.responses else {}
    return {(one.prompt_set, one.prompt_id): one for one in sampled} | imported


def prompt_texts(study: Study, path: Path, home: Path, prompt_set: str) -> dict[str, Prompt]:
    """The prompts of a set by prompt_id; raw tables hold no texts. path: the study file.

    Raises UserError where they cannot be read.
    """
    prompts_of = all_prompts(prompts_at_commit(study, path, home), path.parent)
    found = {name: one.turns for (of, name), one in prompts_of.items() if of == prompt_set}
    if not found:
        raise UserError(f"{study.study_id}: the study names no prompts {prompt_set!r} any more; run `make run` again")
    return found


def _files(source: Source) -> list[str]:
    """Names of the files. Raises UserError for pickled ones: reading them would run the code in them."""
    names = source.all_names()
    for name in names:
        with source.fetch(name).open("rb") as file:
            start = file.read(200)
        is_pickled = start.startswith(_PICKLED) or (start.startswith(_ZIPPED) and _IN_ZIP in start)
        if name.lower().endswith(PICKLES) or is_pickled:
            raise UserError(
                f"{file_label(source, name)}: is a pickle, and reading one runs the code in it; write its rows as "
                "JSONL where it was made: a line of json.dumps(row) for each row"
            )
    return record_files(source)


def _import_file(entry: ResponseImport, path: Path, label: str, study: Study, found: Imported) -> None:
    """Add the responses of a file. Raises UserError for all its rows that cannot be used, together."""
    forms, answers_of = READERS[entry.format]
    records = read_records(path, label)
    problems = Problems(label)
    source = f"{label.rpartition('/')[2]}@{content_of(path)[:12]}"
    n_rows = n_scores = 0
    for row in checked_records(records, label, forms):
        n_rows += 1
        try:
            answers = answers_of(row.values)
            prompt = _prompt_of(entry, row, source, found)
            for answer in answers:
                n_scores += answer.score is not None
                _add(entry, prompt, answer, source, study, found)
        except WrongForm as error:
            raise UserError(f"{label}, row {row.number}: {error}") from None  # other rows will be the same
        except UserError as error:
            problems.add(str(error), row.number)
    problems.raise_any()
    if not n_rows:
        raise UserError(f"{label}: holds no row; take it out of the import, or make it again")
    if entry.reward_id is not None and not n_scores:
        raise UserError(
            f"{label}: its rows have no scores, which would be the rewards of {entry.reward_id}; remove reward_id from "
            "the entry of teachers.responses, or give files with scores"
        )
    if entry.reward_id is None and n_scores:
        found.notes.append(f"{label}: {n_scores:,} scores are left out; set reward_id in the entry to import them")


def _prompt_of(entry: ResponseImport, row: Row, source: str, found: Imported) -> PolicyPrompt:
    """The prompt of a row: that of an earlier one with its id, or a new one."""
    turns: Prompt = row.values["turns"]
    stated = row.values.get("prompt_id")
    key = (entry.prompt_set, stated or prompt_id(turns))
    known = found.prompts.get(key)
    if known is None:
        found.counts[key[:1]] += 1
        known = PolicyPrompt(*key, "measure", turns, source, order_no=found.counts[key[:1]])
        found.prompts[key] = known
        found.places[key] = f"row {row.number} of {row.file}"
    elif known.turns != turns:
        raise UserError(
            f"{shown(key[1])} is also the prompt_id of another prompt, in {found.places[key]}; give each prompt its own"
        )
    return known


def _add(
    entry: ResponseImport, prompt: PolicyPrompt, answer: Answer, source: str, study: Study, found: Imported
) -> None:
    """Add a response, and its reward where the entry names it."""
    policy_id = entry.policy_of(answer.policy)
    if len(policy_id) > LONGEST_NAME:
        raise UserError(f"the policy {shown(policy_id)} has a name of more than {LONGEST_NAME} characters; shorten it")
    if policy_id not in found.policies:
        found.policies[policy_id] = _policy_row(entry, policy_id, answer.policy, source, study)
    key = (policy_id, prompt.prompt_set, prompt.prompt_id)
    number = found.counts[key]
    found.counts[key] += 1
    status = OK if answer.text.strip() else EMPTY
    n_bytes = len(answer.text.encode())
    rows = found.responses.setdefault((policy_id, prompt.prompt_set), [])
    rows.append((*key, number, answer.text, text_hash(answer.text), None, n_bytes, None, None, "import", status))
    if entry.reward_id is None:
        return
    score = None if answer.score is None else reward(answer.score)
    why = status if status != OK else OK if score is not None else NO_REWARD
    rewards = found.rewards.setdefault((entry.reward_id, policy_id, prompt.prompt_set), [])
    rewards.append((entry.reward_id, *key, number, REWARD, score if why == OK else None, None, False, why))


def _policy_row(entry: ResponseImport, policy_id: str, stated: str | None, source: str, study: Study) -> dict[str, Any]:
    """The row of the raw table policies: a model of the study adds facts, where the file names it."""
    models = [
        model for model in study.by_id.values() if stated is not None and stated in (model.model_id, model.hub_id)
    ]
    model = models[0] if len(models) == 1 else None
    return {
        "policy_id": policy_id,
        "kind": "imported",
        "model_id": model.model_id if model else None,
        "hub_id": model.hub_id if model and not model.is_local else None,
        "revision": None,
        "family": model.family if model else family_of(stated or entry.policy_id),
        "stage": model.stage if model else None,
        "params_b": model.params_b if model else None,
        "parent_policy_id": None,
        "sampling": None,
        "prompt_format": None,
        "engine": None,
        "source": source,
        "licence": entry.licence,
    }


def policy_name(value: Any) -> str:
    """Name of a policy in a row: text of one line."""
    name = filled_text(value).strip()
    if not name.isprintable():
        raise UserError(f"{shown(name)} holds a control or invisible character; rename the policy")
    return name


def _any(value: Any) -> Any:
    return value


def _instruction(values: Values) -> Values:
    """Of an instruction, and what it is about."""
    asked = values["instruction"]
    if values["input"] and values["input"].strip():
        asked = f"{asked}\n\n{values['input']}"
    return values | {"turns": (Turn("user", asked),)}


def _asked(values: Values) -> Values:
    return values | {"turns": values["prompt"]}


def _optional(parse: Callable[[Any], Any]) -> Column:
    return Column(parse, is_optional=True)


_INSTRUCTION = {"instruction": Column(filled_text), "input": _optional(text)}


def _of_alpaca_eval(values: Values) -> Iterator[Answer]:
    yield Answer(values["generator"], values["output"])


def _of_ultrafeedback(values: Values) -> Iterator[Answer]:
    for place, one in enumerate(values["completions"], 1):
        try:
            if not isinstance(one, Mapping):
                raise UserError("is not {model, response, overall_score}")
            said = text(one.get("response"))
            model = None if one.get("model") is None else policy_name(one["model"])
        except UserError as error:
            raise UserError(f"completion {place}: {error}") from None
        yield Answer(model, said, one.get("overall_score"))


_TEXTS = ("output", "input", "response", "text")
"""Columns of the response in rows of best of n, of which the first counts that a row has."""


def _said(value: Any) -> str:
    """A response as text, or as the last of some messages."""
    if not isinstance(value, list):
        return text(value)
    last = messages(value)[-1]
    if last.role != "assistant":
        raise UserError("its messages do not end with the assistant's; correct them, or remove the row")
    return last.text


def _of_best_of_n(values: Values) -> Iterator[Answer]:
    said = next((values[name] for name in _TEXTS if values[name] is not None), None)
    if said is None:
        raise WrongForm(f"has no response, which is a column {', '.join(_TEXTS[:-1])} or {_TEXTS[-1]}; add it")
    yield Answer(values["model"], said, values["scores"])


def _of_gold_labelled(values: Values) -> Iterator[Answer]:
    yield from _with_scores(values["answers"], values["gold_scores"], None, "answers", "gold_scores")


def _of_plain(values: Values) -> Iterator[Answer]:
    one, several = values["response"], values["responses"]
    if (one is None) == (several is None):
        raise UserError(f"has {'neither response nor' if one is None else 'both response and'} responses; give one")
    policy = values["policy"]
    if one is not None:
        yield Answer(policy, one, values["reward"])
    elif values["reward"] is None:
        yield from (Answer(policy, said) for said in several)
    else:
        yield from _with_scores(several, as_list(values["reward"]), policy, "responses", "reward")


def _with_scores(said: Any, scores: Any, policy: str | None, *names: str) -> Iterator[Answer]:
    if len(said) != len(scores):
        raise UserError(
            f"has {len(said)} {names[0]} and {len(scores)} values of {names[1]}; correct the row, or remove it"
        )
    for one, score in zip(said, scores, strict=True):
        yield Answer(policy, one, score)


def _texts(value: Any) -> list[str]:
    found = as_list(value)
    for place, one in enumerate(found, 1):
        try:
            text(one)
        except UserError as error:
            raise UserError(f"response {place}: {error}") from None
    return found


READERS: Mapping[ResponseFormat, tuple[tuple[Form, ...], Callable[[Values], Iterator[Answer]]]] = {
    "alpaca_eval": (
        (Form(_INSTRUCTION | {"output": Column(text), "generator": _optional(policy_name)}, _instruction),),
        _of_alpaca_eval,
    ),
    "ultrafeedback": (
        (Form(_INSTRUCTION | {"completions": Column(as_list)}, _instruction),),
        _of_ultrafeedback,
    ),
    "best_of_n": (
        (
            Form(
                {
                    "prompt": Column(plain_or_turns),
                    "scores": Column(_any),
                    "model": _optional(policy_name),
                    **{name: _optional(_said) for name in _TEXTS},
                },
                _asked,
            ),
        ),
        _of_best_of_n,
    ),
    "gold_labelled": (
        (Form(_INSTRUCTION | {"answers": Column(_texts), "gold_scores": Column(as_list)}, _instruction),),
        _of_gold_labelled,
    ),
    "plain": (
        (
            Form(
                {
                    "prompt": Column(plain_or_turns),
                    "response": _optional(_said),
                    "responses": _optional(_texts),
                    "policy": _optional(policy_name),
                    "prompt_id": _optional(stated_id),
                    "reward": _optional(_any),
                },
                _asked,
            ),
        ),
        _of_plain,
    ),
}
"""Forms of the rows of each format, and the responses of a row."""
