"""Which parts count: those that are there under the run id of their inputs, and are the newest of their partition."""

from __future__ import annotations

import pyarrow as pa

from models_train.parts import part_path, part_rows
from models_train.study.golds import gold_models, rewards_there
from models_train.study.response_parts import Responses, judged_responses
from models_train.study.scoring import Scoring, cut
from models_train.study.study import Study
from warehouse.contracts import REWARD_MODEL_TABLES, TABLES
from warehouse.contracts.scores import BENCHMARK_ITEMS, ITEM_COMPLETIONS, REWARDBENCH
from warehouse.part_files import LandingError, newest_parts, read_part
from warehouse.paths import Home

SEARCH_TABLES = tuple(name for name in REWARD_MODEL_TABLES if name not in ("training_rows_dropped", "planned_costs"))
"""Tables that a training search has a part in; one of earlier versions has none of the rows dropped."""


class Counting:
    """The runs whose parts count: those that are there, and no part of another run has taken their place since."""

    def __init__(self, home: Home) -> None:
        self._home = home.at_one_look()
        self._newest: dict[str, set[tuple[str, str]] | None] = {}
        self._responses: dict[str, list[Responses]] = {}
        self._golds: dict[str, set[str]] = {}
        self._rewarded: dict[str, set[tuple[str, str, str]]] = {}

    def has(self, table: str, study: Study, run_id: str) -> bool:
        """True where a study's part of a run counts. Where a part of the table cannot be read, being there is enough:
        landing reports which file it is."""
        runs = self._runs(table)
        if runs is None:
            return part_path(self._home.parts, table, study.study_id, run_id).exists()
        return (study.study_id, run_id) in runs

    def has_search(self, study: Study, run_id: str) -> bool:
        """True where a training search counts, with all of its tables; one that failed may lack some."""
        if not self.has("reward_model_searches", study, run_id):
            return False
        paths = {name: part_path(self._home.parts, name, study.study_id, run_id) for name in SEARCH_TABLES}
        if all(path.exists() for path in paths.values()):
            return True
        try:
            return all(row["path"] is None for row in part_rows(paths["reward_model_searches"]))
        except (OSError, pa.ArrowException):
            return True  # landing reports it

    def responses(self, study: Study) -> list[Responses]:
        """Responses of the study's policies that are there, trained policies among them; none where a part cannot be
        read, which landing reports."""
        if study.study_id not in self._responses:
            try:
                found = judged_responses(self._home.parts, study)
            except (OSError, pa.ArrowException):
                found = []
            self._responses[study.study_id] = found
        return self._responses[study.study_id]

    def golds(self, study: Study) -> set[str]:
        """reward_ids of the reward models that gold rewards are."""
        if study.study_id not in self._golds:
            try:
                found = gold_models(self._home.parts, study)
            except (OSError, pa.ArrowException):
                found = set()
            self._golds[study.study_id] = found
        return self._golds[study.study_id]

    def rewarded(self, study: Study) -> set[tuple[str, str, str]]:
        """reward_id, policy_id and prompt_set of the rewards of responses that are there."""
        if study.study_id not in self._rewarded:
            try:
                found = set(rewards_there(self._home.parts, study))
            except (OSError, pa.ArrowException):
                found = set()
            self._rewarded[study.study_id] = found
        return self._rewarded[study.study_id]

    def has_items(self, study: Study) -> bool:
        """True where the items of the study's test set are there. With another test set the rewards are due, whose job
        writes its items."""
        for table in (BENCHMARK_ITEMS, ITEM_COMPLETIONS):
            try:
                parts = newest_parts(self._home.parts, table)
            except LandingError:
                continue
            wanted = {"study_id": study.study_id, "benchmark": REWARDBENCH}
            if not any(dict(part.partition) == wanted for part in parts):
                return False
        return True

    def has_scores(self, study: Study, scoring: Scoring, run_id: str, sample_id: str) -> bool:
        """True where the scores of all shards of a sample count."""
        runs = self._runs("document_scores")
        try:
            n_documents = read_part(part_path(self._home.parts, "documents", study.study_id, sample_id)).n_rows
        except LandingError:
            n_documents = 1
        shards = cut(n_documents, scoring.documents_per_shard)
        return runs is None or all((study.study_id, f"{run_id}-{shard.name}") in runs for shard in shards)

    def _runs(self, table: str) -> set[tuple[str, str]] | None:
        if table not in self._newest:
            try:
                parts = newest_parts(self._home.parts, TABLES[table])
            except LandingError:
                self._newest[table] = None
            else:
                self._newest[table] = {(part.study_id, part.run_id) for part in parts}
        return self._newest[table]
