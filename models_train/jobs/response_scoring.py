"""Scoring of reward models on the responses of a study's policies: a part of rewards and one of costs per policy and
prompt set.

Where the parts are there, nothing is done. A response that cannot be scored has rows with a status, and an empty one
never has a reward. Equal responses to a prompt are scored once: they have the same reward to the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_train.data.records import Prompt, prompt_id
from models_train.errors import UserError
from models_train.jobs.benchmark_scoring import COSTS, Scored
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import beside_others
from models_train.metering import default_device, measure
from models_train.parts import part_path, part_rows, renew_run, write_part
from models_train.policies.imports import prompt_texts
from models_train.reward_benchmarks.items import Completion, Item
from models_train.reward_models.scoring import OK, Scorer, score_items
from models_train.store import parts_of
from models_train.study.response_parts import (
    Responses,
    is_teach_scored,
    prompt_rows,
    responses_of,
    rewards_run_id,
    scores_responses,
    without_text,
)
from models_train.study.study import Study
from warehouse.contracts import TABLES
from warehouse.contracts.responses import RESPONSE_KEY, RESPONSE_REWARDS, RESPONSES
from warehouse.contracts.scores import MERGED

_TABLES = (RESPONSE_REWARDS.name, COSTS)

Rows = list[dict[str, Any]]


@dataclass
class ResponseScoring:
    """Scores reward models on the responses of a study's policies. path: the study file.

    Responses that cannot be scored stop no others: their problems are added to `problems`.
    """

    study: Study
    path: Path
    home: Path
    report: Reporter
    problems: list[UserError] = field(default_factory=list)
    n_rows: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    _prompts: dict[str, dict[str, Prompt | None]] = field(default_factory=dict)

    def score(self, one: Scored) -> None:
        """Write the rewards of a reward model where they are missing. Raises UserError where it cannot be loaded."""
        if not scores_responses(self.study, one.reward_id):
            return
        due = self._due(one)
        if due:
            with beside_others(self.home, lambda text: self.report.say(f"{one.name}: {text}")):
                for responses in due:
                    self._score(one, responses)

    def _due(self, one: Scored) -> list[Responses]:
        """Responses without rewards of a reward model; of others the parts are made the newest again."""
        parts, missing = parts_of(self.home), []
        for responses in responses_of(parts, self.study):
            run_id = rewards_run_id(self.study, one.run_id, responses)
            there = [part_path(parts, table, self.study.study_id, run_id) for table in _TABLES]
            if not all(part.exists() for part in there):
                missing.append(responses)
                continue
            self._count(part_rows(there[0]))
            for table in _TABLES:
                renew_run(parts, table, self.study.study_id, run_id)
        return missing

    def _score(self, one: Scored, responses: Responses) -> None:
        try:
            found, costs = self._scored(one, responses)
        except UserError as error:
            self.problems.append(error)
            return
        run_id = rewards_run_id(self.study, one.run_id, responses)
        for table, rows in zip(_TABLES, (found, [costs]), strict=True):
            write_part(parts_of(self.home), TABLES[table], rows, study_id=self.study.study_id, run_id=run_id)
        self._count(found)

    def figures(self) -> dict[str, Any]:
        """Rows, and responses by status; empty where there are no responses."""
        if not self.n_rows:
            return {}
        by_status = {f"responses, {status}": n for status, n in self.statuses.most_common()}
        return {"rows of responses": self.n_rows, **by_status}

    def _count(self, rows: Rows) -> None:
        key = ("prompt_id", "response_no")
        self.n_rows += len(rows)
        self.statuses.update({tuple(row[name] for name in key): row["status"].split(":")[0] for row in rows}.values())

    def _scored(self, one: Scored, responses: Responses) -> tuple[Rows, dict[str, Any]]:
        """Rows of response_rewards, and the row of run_costs. Raises UserError where nothing can be scored."""
        texts = self._texts(responses.prompt_set)
        found = part_rows(part_path(parts_of(self.home), RESPONSES.name, self.study.study_id, responses.run_id))
        given = [row for row in found if row["prompt_id"] in texts]
        if not given:
            raise UserError(
                f"{self.study.study_id}: {responses.name}: none is to a prompt that is measured; give some prompts of "
                f"{responses.prompt_set} the split measure"
            )
        items, places = as_items(given, texts)
        n = sum(len(item.completions) for item in items)
        self.report.say(f"{one.name}: {len(given):,} {responses.name}, {n:,} of them distinct and not empty")
        reward_model, renderer = one.loaded
        with (
            measure(default_device()) as meter,
            progress(self.report, f"{one.name}: {responses.name}: scored", n) as counter,
        ):

            def advance(n_sequences: int, n_tokens: int) -> None:
                meter.add_tokens(n_tokens)
                counter.advance(n_sequences, n_tokens)

            weights = reward_model.merge_weights
            found = score_items(reward_model, renderer, items, weights, one.tokens_per_pack, advance)
        if found and all(row["status"] != OK for row in found):
            raise UserError(
                f"{one.name}: none of the {len(given)} {responses.name} could be scored, so nothing was "
                f"written; the first has the status: {found[0]['status']}"
            )
        rows = as_rows(one.reward_id, attributes_of(reward_model), given, found, places)
        return rows, meter.costs.row(*one.costs(responses.name))

    def _texts(self, prompt_set: str) -> dict[str, Prompt | None]:
        """The prompts of a set whose responses are scored, read once for all reward models; None for a text that is
        not known. Raises UserError for other prompts than those that were responded to."""
        if prompt_set not in self._prompts:
            texts = prompt_texts(self.study, self.path, self.home, prompt_set)
            self._prompts[prompt_set] = self._as_recorded(texts, prompt_set)
        return self._prompts[prompt_set]

    def _as_recorded(self, texts: Mapping[str, Prompt], prompt_set: str) -> dict[str, Prompt | None]:
        found: dict[str, Prompt | None] = {}
        for row in prompt_rows(parts_of(self.home), self.study, prompt_set):
            text = texts.get(row["prompt_id"])
            if text is not None and prompt_id(text) != row["content_hash"]:
                raise UserError(
                    f"{self.study.study_id}: the prompt {row['prompt_id']!r} of {prompt_set} is another one than that "
                    "of the responses; sample or import them again (`make run`)"
                )
            if row["split"] == "measure" or is_teach_scored(self.study):
                found[row["prompt_id"]] = text
        return found


def attributes_of(reward_model: Scorer) -> tuple[str, ...]:
    """Attributes of the rows of a reward model; the last one decides."""
    return (*reward_model.attributes, *(() if reward_model.merge_weights is None else (MERGED,)))


def as_items(responses: Rows, texts: Mapping[str, Prompt | None]) -> tuple[list[Item], dict[tuple[str, int], str]]:
    """Responses as completions of items, each distinct text of a prompt once; and the completion of each response.

    responses: rows of the contract. A response without text, or that was not sampled well, is no completion.
    """
    distinct: dict[str, dict[str, str]] = {}
    places = {}
    for row in sorted(responses, key=lambda row: (row["prompt_id"], row["response_no"])):
        if without_text(row) is None:
            of_prompt = distinct.setdefault(row["prompt_id"], {})
            name = of_prompt.setdefault(row["text"], str(row["response_no"]))
            places[row["prompt_id"], row["response_no"]] = name
    items = [
        Item("", "", one, tuple(Completion(name, True, text) for text, name in texts_of.items()), prompt=texts.get(one))
        for one, texts_of in distinct.items()
    ]
    return items, places


def as_rows(
    reward_id: str, attributes: Sequence[str], responses: Rows, found: Rows, places: Mapping[tuple[str, int], str]
) -> Rows:
    """Rows of response_rewards, in the order of the responses. found: rows of `score_items` on the items, places: the
    completion of each response, both by `as_items`."""
    by_completion: dict[tuple[str, str], Rows] = {}
    for row in found:
        by_completion.setdefault((row["item_id"], row["completion"]), []).append(row)
    scored = ("attribute", "reward", "n_tokens", "is_truncated", "status")
    rows = []
    for response in responses:
        key = {"reward_id": reward_id} | {name: response[name] for name in RESPONSE_KEY}
        name = places.get((response["prompt_id"], response["response_no"]))
        if name is not None:
            rows += [key | {one: row[one] for one in scored} for row in by_completion[response["prompt_id"], name]]
            continue
        none = {"reward": None, "n_tokens": None, "is_truncated": False}
        status = without_text(response)
        rows += [key | none | {"attribute": attribute, "status": status} for attribute in attributes]
    return rows
