"""Compute the gold rewards of the responses of a study's policies, and write their parts.

From the lab's truth, from checks, which run here where their results are missing, and from people's labels. A gold
reward that is a reward model under another name, or the strongest one, is a copy of its rewards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from models_train.checks.labels import Labels, read_labels
from models_train.checks.verdict import NOT_APPLICABLE
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.jobs.run_checks import check_responses
from models_train.parts import content_hash, keep_part, part_path, part_rows, renew_run, write_part
from models_train.store import parts_of
from models_train.study.golds import FLAT, GoldPart, gold_parts, gold_rows, golds_of, source_rows
from models_train.study.response_ids import check_run_id
from models_train.study.response_parts import prompt_rows, without_text
from models_train.study.reward_ids import source_run_id
from models_train.study.study import Study, load_study
from models_train.synthetic.grade import flat_utility, true_utility
from models_train.synthetic.preferences import graded_question
from warehouse.contracts import Table
from warehouse.contracts.responses import (
    GOLD_REWARDS,
    OK,
    RESPONSE_CHECKS,
    RESPONSE_KEY,
    RESPONSE_REWARDS,
    RESPONSES,
)
from warehouse.contracts.scores import REWARD_SOURCES

NO_LABEL, NO_QUESTION = "no label", "no question of the lab"
Rows = list[dict[str, Any]]
Outcome = tuple[float | None, str]
"""A reward, or None and the status that says why."""
Judge = Callable[[Mapping[str, Any], Mapping[str, Any]], Outcome]
"""Takes rows of a response and of its prompt."""


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Write each part that is missing; returns figures: `rows`, and responses by status.

    A gold reward that cannot be computed stops no other. Raises UserError with the problems of all.
    """
    study = load_study(path, home)
    if not golds_of(study):
        raise UserError(f"{path}: the study {study.study_id} has no gold reward; add one under teachers.gold")
    if study.teachers is not None and study.teachers.checks:
        check_responses(study, home, report)
    job = _GoldJob(study, path, home, report)
    counts: Counter[str] = Counter()
    problems: dict[str, None] = {}
    for part in gold_parts(parts_of(home), study, path.parent):
        try:
            counts.update(f"responses, {row['status'].split(':')[0]}" for row in job.rows(part))
        except UserError as error:
            problems[str(error)] = None
    job.write_names()
    if problems:
        raise UserError("\n".join(problems))
    return {"rows": counts.total(), **dict(counts.most_common())}


class _GoldJob:
    """Writes the gold rewards of a study. path: the study file."""

    def __init__(self, study: Study, path: Path, home: Path, report: Reporter) -> None:
        self._study, self._path, self._report = study, path, report
        self._parts = parts_of(home)
        self._labels: dict[str, Labels] = {}

    def rows(self, part: GoldPart) -> Rows:
        """Rows of a part, which is written where it is missing. Raises UserError."""
        place = part_path(self._parts, RESPONSE_REWARDS.name, self._study.study_id, part.run_id)
        if place.exists():
            renew_run(self._parts, RESPONSE_REWARDS.name, self._study.study_id, part.run_id)
            return part_rows(place)
        self._report.say(f"{part.reward_id}: {part.responses.name}")
        rows = self._copied(part) if part.copied else list(self._judged(part))
        write_part(self._parts, RESPONSE_REWARDS, rows, study_id=self._study.study_id, run_id=part.run_id)
        return rows

    def write_names(self) -> None:
        """Write what the gold rewards are, and what gives them."""
        for source in source_rows(self._parts, self._study):
            self._keep(REWARD_SOURCES, [source], source_run_id(source))
        rows = gold_rows(self._parts, self._study)
        self._keep(GOLD_REWARDS, rows, content_hash(rows))

    def _keep(self, table: Table, rows: Rows, run_id: str) -> None:
        keep_part(self._parts, table, rows, study_id=self._study.study_id, run_id=run_id)

    def _rows_of(self, table: Table, run_id: str) -> Rows:
        return part_rows(part_path(self._parts, table.name, self._study.study_id, run_id))

    def _copied(self, part: GoldPart) -> Rows:
        names = RESPONSE_REWARDS.filled_columns.names
        rows = self._rows_of(RESPONSE_REWARDS, str(part.copied))
        return [{name: row[name] for name in names} | {"reward_id": part.reward_id} for row in rows]

    def _judged(self, part: GoldPart) -> Iterator[dict[str, Any]]:
        prompts = {row["prompt_id"]: row for row in prompt_rows(self._parts, self._study, part.responses.prompt_set)}
        judge = self._judge(part)
        own = {"reward_id": part.reward_id, "attribute": "reward", "n_tokens": None, "is_truncated": False}
        for row in self._rows_of(RESPONSES, part.responses.run_id):
            reward, status = None, without_text(row)
            if status is None:
                reward, status = judge(row, prompts.get(row["prompt_id"], {}))
            yield own | {name: row[name] for name in RESPONSE_KEY} | {"reward": reward, "status": status}

    def _judge(self, part: GoldPart) -> Judge:
        if part.gold.lab:
            seed = self._study.lab.seed if self._study.lab else 0
            return partial(_true, seed=seed if part.reward_id == part.gold.name + FLAT else None)
        if part.gold.labels is not None:
            return partial(_labelled, self._labels_of(part.gold.labels))
        return partial(_passed, self._checks_of(part))

    def _labels_of(self, place: str) -> Labels:
        if place not in self._labels:
            self._labels[place] = read_labels(place, self._path.parent, self._study, self._parts)
        return self._labels[place]

    def _checks_of(self, part: GoldPart) -> dict[tuple[str, int], Rows]:
        """Rows of the checks that a gold reward is made of, by prompt and response."""
        found: dict[tuple[str, int], Rows] = {}
        for check in part.gold.checks:
            for row in self._rows_of(RESPONSE_CHECKS, check_run_id(check, part.responses.run_id)):
                found.setdefault((row["prompt_id"], row["response_no"]), []).append(row)
        return found


def _true(row: Mapping[str, Any], prompt: Mapping[str, Any], seed: int | None) -> Outcome:
    """The true utility in the lab. seed: of the flat teacher's prompts; None for the truth itself."""
    if prompt.get("gold_kind") != "lab":
        return None, NO_QUESTION
    utility = true_utility(graded_question(prompt["gold"]), row["text"])
    return (utility if seed is None else flat_utility(utility, row["prompt_id"], seed)), OK


def _labelled(labels: Labels, row: Mapping[str, Any], _: Mapping[str, Any]) -> Outcome:
    found = labels.get((row["policy_id"], row["prompt_id"], row["response_no"]))
    return (None, NO_LABEL) if found is None else (found, OK)


def _passed(checks: Mapping[tuple[str, int], Rows], row: Mapping[str, Any], _: Mapping[str, Any]) -> Outcome:
    """The mean of the checks that apply; one that ended without a value leaves the response without a reward."""
    found = [one for one in checks.get((row["prompt_id"], row["response_no"]), []) if one["status"] != NOT_APPLICABLE]
    if not found:
        return None, NOT_APPLICABLE
    for one in found:
        if one["status"] != OK:
            return None, f"{one['check_name']}: {one['status']}"
    return sum(one["value"] for one in found) / len(found), OK


main = partial(run_job, "gold_rewards")

if __name__ == "__main__":
    main()
