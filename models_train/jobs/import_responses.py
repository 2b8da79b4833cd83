"""Read the files of responses that a study lists, with the rewards in them, and write their parts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.parts import content_hash, keep_part, remove_parts
from models_train.policies.imports import Imported, import_responses
from models_train.policies.prompts import prompt_rows
from models_train.store import Parts, parts_of
from models_train.study.response_ids import imported_prompts_run_id, imported_run_id
from models_train.study.study import Study, load_study
from warehouse.contracts import Table
from warehouse.contracts.responses import POLICIES, PROMPTS, RESPONSE_REWARDS, RESPONSES


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Read all files of responses of a study, then write their parts; returns figures. Raises UserError, OSError.

    Reading takes seconds, so it is repeated each time; parts that are there stay. Nothing is written unless everything
    is right.
    """
    study = load_study(path, home)
    if study.teachers is None or not study.teachers.responses:
        raise UserError(
            f"{path}: the study {study.study_id} has no files of responses; list them under teachers.responses"
        )
    found = import_responses(study, path.parent)
    for note in found.notes:
        report.say(f"{study.study_id}: {note}")
    _Writer(parts_of(home), study, path.parent).write(found)
    return {
        "rows": sum(map(len, found.responses.values())),
        "files": found.n_files,
        "policies": len(found.policies),
        "prompts": len(found.prompts),
        "rewards": sum(map(len, found.rewards.values())),
    }


class _Writer:
    """Writes the parts of a study that are not there yet, and removes those of earlier files."""

    def __init__(self, parts: Parts, study: Study, study_folder: Path) -> None:
        self._parts, self._study, self._folder = parts, study, study_folder

    def write(self, found: Imported) -> None:
        """Write responses and rewards, then the prompts, which say that an import is whole."""
        for row in found.policies.values():
            self._put(POLICIES, [row], content_hash({"policy": row}))
        for key in found.responses:
            self._put(RESPONSES, found.response_rows(*key), self._run_id(*key))
        for reward_id, policy_id, prompt_set in found.rewards:
            rows = found.reward_rows(reward_id, policy_id, prompt_set)
            self._put(RESPONSE_REWARDS, rows, self._run_id(policy_id, prompt_set, reward_id))
        self._remove_stale(found)
        for prompt_set in dict.fromkeys(name for name, _ in found.prompts):
            prompts = (one for one in found.prompts.values() if one.prompt_set == prompt_set)
            run_id = imported_prompts_run_id(self._study, prompt_set, self._folder)
            self._put(PROMPTS, prompt_rows(prompts), run_id)

    def _run_id(self, policy_id: str, prompt_set: str, reward_id: str = "") -> str:
        return imported_run_id(self._study, policy_id, prompt_set, self._folder, reward_id)

    def _put(self, table: Table, rows: pa.Table | list[dict[str, Any]], run_id: str) -> None:
        keep_part(self._parts, table, rows, study_id=self._study.study_id, run_id=run_id)

    def _remove_stale(self, found: Imported) -> None:
        """Remove parts of policies that the files do not have any more, and rewards of these or in these files."""
        assert self._study.teachers is not None
        entries = self._study.teachers.responses
        named = {entry.reward_id for entry in entries if entry.reward_id is not None}

        def is_stale(partition: Mapping[str, Any]) -> bool:
            policy_id, prompt_set = str(partition["policy_id"]), partition.get("prompt_set")
            if not any(entry.has_policy(policy_id) for entry in entries):
                return False
            if policy_id not in found.policies or (prompt_set and (policy_id, prompt_set) not in found.responses):
                return True
            reward_id = partition.get("reward_id")
            return reward_id in named and (reward_id, policy_id, prompt_set) not in found.rewards

        for table in (POLICIES, RESPONSES, RESPONSE_REWARDS):
            remove_parts(self._parts, table.name, self._study.study_id, is_stale)


main = partial(run_job, "import_responses")

if __name__ == "__main__":
    main()
