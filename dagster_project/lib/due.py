"""Due work: the study files to check, the hub to query, labs, samples and imports to make, and GPU work.

Work is due when the parts that it makes are not there under the run id of its present inputs, or are not the newest of
their partition, because other inputs were tried in between. `make run`, the sensor and the nightly schedule all use
this definition; `stale.py` holds its counterpart for the assets that follow.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pyarrow as pa

from dagster_project.environment import STUDIES
from dagster_project.lib import keys
from models_train.errors import UserError
from models_train.parts import content_hash, is_part_key, part_path, part_rows
from models_train.store import Store
from models_train.study.fingerprints import (
    LocationError,
    benchmark_run_id,
    benchmark_set_run_id,
    donors,
    evaluation_run_ids,
    import_run_id,
    lab_run_id,
    leaderboards_run_id,
    reward_import_run_id,
    sample_run_id,
    score_imports_run_id,
    scored_run_id,
    scoring_run_id,
    trained_run_ids,
)
from models_train.study.golds import gold_parts, gold_rows, golds_of, rewards_there, source_rows
from models_train.study.hub import is_due
from models_train.study.lab_record import is_made
from models_train.study.models import StudyModel
from models_train.study.policy_runs import policy_run_id, policy_runs, scaling_models
from models_train.study.race_ids import race_plan, race_run_id
from models_train.study.response_ids import (
    imported_prompts_run_id,
    prompts_run_id,
    response_imports_run_id,
    responses_run_id,
)
from models_train.study.response_parts import Responses, responses_of, rewards_run_id, scores_responses
from models_train.study.reward_ids import source_run_id, stated_sources, trained_reward_id
from models_train.study.scoring import Scoring, cut
from models_train.study.study import STUDY_FILES, Study, load_studies
from warehouse.contracts import REWARD_MODEL_TABLES, TABLES, Table
from warehouse.contracts.leaderboards import LEADERBOARD_ENTRIES
from warehouse.contracts.races import RACE_ANSWERS
from warehouse.contracts.responses import GOLD_REWARDS, POLICY_RUNS, PROMPTS, RESPONSE_REWARDS, RESPONSES
from warehouse.contracts.scores import BENCHMARK_ITEMS, ITEM_COMPLETIONS, REWARD_SOURCES, REWARDBENCH
from warehouse.contracts.studies import BENCHMARK_RESULTS, IMPORTS, LAB_SETTINGS, run_of
from warehouse.contracts.studies import STUDIES as STUDY_TABLE
from warehouse.part_files import LandingError, newest_parts, read_part
from warehouse.paths import Home

STUDY_CODE = (
    "dbt/seeds/*.csv",
    "dagster_project/lib/study_plan.py",
    "models_train/study/*.py",
    "models_train/parts.py",
    "warehouse/contracts/*.py",
)
"""Files that the parts of study files are made from, beside the study files."""
SEARCH_TABLES = tuple(name for name in REWARD_MODEL_TABLES if name not in ("training_rows_dropped", "planned_costs"))
"""Tables that a training search has a part in; one of earlier versions has none of the rows dropped."""
CODE_VERSION = "dagster/code_version"

Studies = Mapping[Path, Study]


@dataclass(frozen=True)
class Work:
    """Work that is due: its Dagster job, assets and partition, a title for people, its studies, and its name.

    The name is a hash of all that the work would make; it is a tag of the runs that do the work, beside `tags`.
    """

    job: str
    assets: tuple[dg.AssetKey, ...]
    partition: str | None
    title: str
    study_ids: tuple[str, ...]
    name: str
    tags: tuple[tuple[str, str], ...] = ()


@dataclass
class DueWork:
    """Due work in order: work before GPU work, GPU work; and problems that keep some work from being found."""

    before_gpu: list[Work] = field(default_factory=list)
    gpu: list[Work] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    studies: dict[Path, Study] = field(default_factory=dict)


def study_files(folder: Path = STUDIES) -> dict[Path, Study]:
    """Every study by its file. Raises StudyError, also where two files have one study_id."""
    return load_studies(folder)


def study_version(folder: Path = STUDIES) -> str:
    """Version of the study files, the hub's answers, the seeds and the code that reads them, at this moment."""
    found = keys.version_of_files("hub_models/*.json", root=Home.from_environment().root, may_be_none=True)
    files = keys.version_of_files(STUDY_FILES, root=folder, may_be_none=True)
    return files + keys.version_of_files(*STUDY_CODE) + found


def due_work(home: Home, folder: Path = STUDIES, *, everything: bool = False, now: float | None = None) -> DueWork:
    """Due work of all studies, but for the check of the study files (`study_check`).

    everything: GPU work is due whether its parts are there or not. now: seconds since 1970, for tests. Raises
    StudyError: until every study file is right, no work begins.
    """
    home = home.at_one_look()
    found = DueWork(studies=study_files(folder))
    found.before_gpu += _hub_query(found.studies, home, time.time() if now is None else now)
    labs = {path: study for path, study in found.studies.items() if labs_due({path: study}, home)}
    found.before_gpu += _labs(labs)
    ready = {path: study for path, study in found.studies.items() if path not in labs}
    unsampled = _inputs(ready, home, found)
    found.before_gpu += _golds(ready, home, found.problems)
    for work in gpu_work(ready, home, everything=everything, problems=found.problems):
        if work.job != "score_documents" or not unsampled.intersection(work.study_ids):
            found.gpu.append(work)
    return found


def study_check(
    instance: dg.DagsterInstance, home: Home, folder: Path = STUDIES, studies: Studies | None = None
) -> Work | None:
    """The check of the study files, where they, the seeds or the code that reads them changed since the last one, or
    where one of `studies` has no parts."""
    version = study_version(folder)
    event = instance.get_latest_materialization_event(keys.STUDIES)
    last = event.asset_materialization if event else None
    is_checked = event is not None and last is not None and (last.tags or {}).get(CODE_VERSION) == version
    if is_checked and not studies_without_parts(home, studies or {}):
        return None
    # Files that are restored to an earlier version have to be read again: the last run is part of the name.
    name = _name("studies", version, event.run_id if event else "")
    return Work("refresh", (keys.STUDIES,), None, "reading the study files", (), name)


def studies_without_parts(home: Home, studies: Studies) -> set[str]:
    """Studies of the study files that have no part of `raw.studies`, or not the present facts on a reward model that
    they train or score: rewards that were carried over have less, and the commit of one on a hub is known once it was
    fetched. A damaged part counts: landing reports it."""
    home = home.at_one_look()
    present = studies_with_parts(home, STUDY_TABLE.name)
    without = {study.study_id for study in studies.values()} - present
    try:
        sources = {(part.partition, part.run_id) for part in newest_parts(home.parts, REWARD_SOURCES)}
    except LandingError:
        return without
    for study in studies.values():
        wanted = [
            ((("study_id", study.study_id), ("reward_id", row["reward_id"])), source_run_id(row))
            for row in stated_sources(study)
        ]
        if not sources.issuperset(wanted):
            without.add(study.study_id)
    return without


def new_studies(home: Home, due: DueWork) -> set[str]:
    """Studies with due work and without any part. Of others, left out, the warehouse would hold parts without study."""
    return _with_work(due) - studies_with_parts(home)


def _with_work(due: DueWork) -> set[str]:
    return {study_id for work in (*due.before_gpu, *due.gpu) for study_id in work.study_ids}


def _hub_query(studies: Studies, home: Home, now: float) -> Iterator[Work]:
    """The query to the hub, where it was not answered lately. Its name changes with every interval."""
    asking = [study for path, study in studies.items() if study.hub and hub_due({path: study}, home, now)]
    if asking:
        names = [f"{study.hub.name} {now // (study.hub.refresh_hours * 3600):.0f}" for study in asking if study.hub]
        ids = tuple(study.study_id for study in asking)
        yield Work("refresh", (keys.HUB_MODELS,), None, "asking the hub for models", ids, _name("hub", *names))


def _labs(labs: Studies) -> Iterator[Work]:
    if labs:
        ids = tuple(study.study_id for study in labs.values())
        title = "making the lab: its data, and its base models, which are pre-trained here"
        yield Work("refresh", (keys.LAB,), None, title, ids, _name(*map(lab_run_id, labs.values())))


def _inputs(studies: Studies, home: Home, found: DueWork) -> set[str]:
    """Add samples of documents and imports that are due; returns the studies whose documents are not sampled."""
    unsampled = set()
    kinds: tuple[tuple[dg.AssetKey, Callable[[Studies, Home], bool], Callable[[Study, Path], str], str], ...] = (
        (keys.DOCUMENTS, samples_due, _sample_name, "sampling documents"),
        (keys.BENCHMARK_IMPORTS, imports_due, import_run_id, "importing benchmark results"),
        (keys.LEADERBOARDS, leaderboards_due, leaderboards_run_id, "importing leaderboards"),
        (keys.SCORE_IMPORTS, scores_due, score_imports_run_id, "importing scores of reward models"),
        (keys.RESPONSE_IMPORTS, responses_due, response_imports_run_id, "importing responses of policies"),
    )
    for key, due, name_of, title in kinds:
        names: dict[str, str] = {}
        for path, study in studies.items():
            try:
                if due({path: study}, home):
                    names[study.study_id] = name_of(study, path.parent)
                    unsampled |= {study.study_id} if key == keys.DOCUMENTS else set()
            except LocationError as error:
                found.problems.append(f"{study.study_id}: {error}")
                unsampled |= {study.study_id} if key == keys.DOCUMENTS else set()
        if names:
            found.before_gpu.append(Work("refresh", (key,), None, title, tuple(names), _name(title, *names.values())))
    return unsampled


def _golds(studies: Studies, home: Home, problems: list[str]) -> Iterator[Work]:
    """The gold rewards of responses that are there."""
    names: dict[str, str] = {}
    for path, study in studies.items():
        try:
            if missing := _missing_golds(path, study, home):
                names[study.study_id] = ",".join(missing)
        except LocationError as error:
            problems.append(f"{study.study_id}: {error}")
    if names:
        title = "computing gold rewards of responses"
        yield Work("refresh", (keys.GOLD_REWARDS,), None, title, tuple(names), _name(title, *names.values()))


def _missing_golds(path: Path, study: Study, home: Home) -> list[str]:
    """Run ids of the parts of gold rewards that are missing. Raises LocationError."""
    if not golds_of(study):
        return []
    counting, parts = _Counting(home), home.at_one_look().parts
    try:
        wanted = [(RESPONSE_REWARDS.name, one.run_id) for one in gold_parts(parts, study, path.parent)]
        wanted += [(REWARD_SOURCES.name, source_run_id(row)) for row in source_rows(parts, study)]
        wanted.append((GOLD_REWARDS.name, content_hash(gold_rows(parts, study))))
    except (OSError, pa.ArrowException):
        return []  # landing reports the part
    return [run_id for table, run_id in wanted if not counting.has(table, study, run_id)]


def _sample_name(study: Study, folder: Path) -> str:
    assert study.scoring is not None
    return sample_run_id(study.scoring.corpus, folder)


def is_first(home: Home, due: DueWork) -> bool:
    """True where nothing is published yet, and some studies need no work: an answer can be had before all else.

    Not where work of a study is half done: its parts would be published as if they were all. A snapshot that cannot be
    read, as while a program has it open for writing, is published nevertheless.
    """
    waiting = _with_work(due)
    return not home.current.exists() and waiting == new_studies(home, due) and len(waiting) < len(due.studies)


def hub_due(studies: Studies, home: Home, now: float | None = None) -> bool:
    """True where a study's hub query has no recent answer, or one to another query."""
    return any(is_due(home.root, study.study_id, study.hub, now) for study in studies.values() if study.hub)


def labs_due(studies: Studies, home: Home) -> bool:
    """True where a study's lab was last made by other settings, or is not there as it was made."""
    newest = _newest(home, LAB_SETTINGS)
    return any(
        newest.get((study.study_id, "")) != lab_run_id(study) or not is_made(home.root, study)
        for study in studies.values()
        if study.lab
    )


def samples_due(studies: Studies, home: Home) -> bool:
    """True where a study's sample of documents is missing. Raises LocationError."""
    return any(
        not _Counting(home).has("documents", study, sample_run_id(study.scoring.corpus, path.parent))
        for path, study in studies.items()
        if study.scoring
    )


def imports_due(studies: Studies, home: Home) -> bool:
    """True where the newest part of a study's imports is of other result files than the present ones.

    Raises LocationError where a file is missing.
    """
    newest = _newest(home, BENCHMARK_RESULTS)
    return any(
        newest.get((study.study_id, IMPORTS)) != import_run_id(study, path.parent)
        for path, study in studies.items()
        if study.benchmarks and study.benchmarks.imports
    )


def leaderboards_due(studies: Studies, home: Home) -> bool:
    """True where the newest part of a study's leaderboards is of other files than the present ones.

    Raises LocationError where a file is missing.
    """
    newest = _newest(home, LEADERBOARD_ENTRIES)
    return any(
        newest.get((study.study_id, "")) != leaderboards_run_id(study, path.parent)
        for path, study in studies.items()
        if study.leaderboards
    )


def scores_due(studies: Studies, home: Home) -> bool:
    """True where parts of a study's benchmarks of rewards or score files are missing, or are of other files.

    Raises LocationError where a file is missing.
    """
    counting = _Counting(home)
    for path, study in studies.items():
        items = [benchmark_set_run_id(one, path.parent) for one in study.benchmark_sets]
        rewards = {reward_import_run_id(study, one.reward_id, path.parent) for one in study.score_imports}
        wanted = [(table.name, one) for one in items for table in (BENCHMARK_ITEMS, ITEM_COMPLETIONS)]
        wanted += [(REWARD_SOURCES.name, one) for one in rewards]
        if not all(counting.has(table, study, run_id) for table, run_id in wanted):
            return True
    return False


def golds_due(studies: Studies, home: Home) -> bool:
    """True where gold rewards of responses that are there are missing. Raises LocationError."""
    return any(_missing_golds(path, study, home) for path, study in studies.items())


def responses_due(studies: Studies, home: Home) -> bool:
    """True where parts of a study's files of responses are missing, or are of other files.

    Raises LocationError where a file is missing.
    """
    counting = _Counting(home)
    return any(
        not counting.has(PROMPTS.name, study, imported_prompts_run_id(study, prompt_set, path.parent))
        for path, study in studies.items()
        for prompt_set in dict.fromkeys(one.prompt_set for one in (study.teachers.responses if study.teachers else ()))
    )


def gpu_work(
    studies: Studies, home: Home, *, everything: bool = False, problems: list[str] | None = None
) -> list[Work]:
    """GPU work whose parts are missing, responses and reward models first. `everything`: all GPU work.

    Where the folder of a model or data set is missing, or a study names what it lacks, the message goes to `problems`,
    and the work of the other models is returned; without such a list UserError is raised.
    """
    newest, counting = _newest(home, BENCHMARK_RESULTS), _Counting(home)
    works: list[Work] = []
    for names_of, works_of in (
        (_sampled, _samplings),  # reward models score the responses
        (keys.races_by_partition, _races),
        (_trained, _trainings),
        (_hub_rewards, _hub_scorings),
        (_scored, _scorings),
        (_benchmarked, _benchmarkings),
        (_taught, _teachings),
    ):
        for path, study in studies.items():
            for name in names_of(study):
                try:
                    works += works_of(_ModelWork(study, name, path.parent, counting, newest, everything))
                except UserError as error:
                    if problems is None:
                        raise
                    if f"{study.study_id}: {error}" not in problems:  # of an import, which reads the same files
                        problems.append(f"{study.study_id}, {name}: {error}")
    return works


@dataclass(frozen=True)
class _ModelWork:
    """A model or reward model of a study, and the facts that decide whether work on it is due."""

    study: Study
    name: str
    folder: Path
    counting: _Counting
    newest: Mapping[tuple[str, str], str]
    everything: bool

    @property
    def model(self) -> StudyModel:
        return self.study.by_id[self.name]

    @property
    def partition(self) -> str:
        return keys.partition_key(self.study.study_id, self.name)

    def has_rewards(self, run_id: str) -> bool:
        return self.counting.has("completion_rewards", self.study, run_id)

    def unscored_responses(self, reward_id: str, run_id: str) -> list[str]:
        """Run ids of the rewards that are missing of responses that are there. run_id: of the reward model."""
        if not scores_responses(self.study, reward_id):
            return []
        wanted = [rewards_run_id(self.study, run_id, one) for one in self.counting.responses(self.study)]
        return [one for one in wanted if not self.counting.has(RESPONSE_REWARDS.name, self.study, one)]

    def work(self, job: str, assets: tuple[dg.AssetKey, ...], partition: str, title: str, run_id: str) -> Work:
        """run_id: of the parts that the work makes."""
        names = ",".join(key.to_user_string() for key in assets)
        study_id = self.study.study_id
        name = _name(job, partition, names, run_id)
        return Work(job, assets, partition, f"{study_id}: {title}", (study_id,), name)


def _races(study: _ModelWork) -> Iterator[Work]:
    run_id = race_run_id(race_plan(study.study, study.name), study.folder)
    if study.everything or not study.counting.has(RACE_ANSWERS.name, study.study, run_id):
        yield study.work("race_base_models", (keys.RACES,), study.name, "race of the base models", run_id)


def _trained(study: Study) -> Sequence[str]:
    """Base models that reward models are trained on; none where a race takes the place of that."""
    is_raced = study.race is not None and not study.race.train_all
    return study.compared_model_ids if study.training and not is_raced else ()


def _trainings(model: _ModelWork) -> Iterator[Work]:
    training, name = model.study.training, model.name
    assert training is not None
    for objective in training.objectives:
        trained = trained_run_ids(model.study, model.model, objective, model.folder)
        evaluated = {
            seed: list(evaluation_run_ids(run_id, model.study, model.folder).values())
            for seed, run_id in trained.items()
        }
        have = {seed: [model.has_rewards(run_id) for run_id in run_ids] for seed, run_ids in evaluated.items()}
        # The job of the search trains further seeds, too, and passes over what is there: a seed is trained where it is
        # scored on any benchmark.
        is_trained = model.counting.has_search(model.study, trained[None])
        is_trained = is_trained and all(any(found) for seed, found in have.items() if seed is not None)
        retrain = model.everything or not is_trained
        unscored = [
            one
            for seed, run_id in trained.items()
            for one in model.unscored_responses(trained_reward_id(name, objective, seed), run_id)
        ]
        is_scored = all(map(all, have.values())) and not unscored
        # The first reward model answers for the items of the test set, which all of them share.
        is_first = (name, objective) == (model.study.compared_model_ids[0], training.objectives[0])
        if is_first and model.study.test_set is not None and not model.counting.has_items(model.study):
            is_scored = False
        if retrain or not is_scored:
            key = str(dg.MultiPartitionKey({"base_model": model.partition, "objective": objective}))
            assets = (keys.REWARD_MODELS, keys.COMPLETION_REWARDS) if retrain else (keys.COMPLETION_REWARDS,)
            run_ids = ",".join([*(run_id for found in evaluated.values() for run_id in found), *unscored])
            yield model.work("train_reward_models", assets, key, f"reward model of {name}, {objective}", run_ids)


def _hub_rewards(study: Study) -> Sequence[str]:
    return [one.reward_id for one in study.reward_models]


def _hub_scorings(reward: _ModelWork) -> Iterator[Work]:
    (one,) = (one for one in reward.study.reward_models if one.reward_id == reward.name)
    own = scored_run_id(one, reward.folder)
    run_ids = evaluation_run_ids(own, reward.study, reward.folder).values()
    unscored = reward.unscored_responses(reward.name, own)
    if reward.everything or unscored or not all(map(reward.has_rewards, run_ids)):
        title, names = f"rewards of {reward.name}", ",".join([*run_ids, *unscored])
        yield reward.work("score_reward_models", (keys.HUB_REWARDS,), reward.partition, title, names)


def _sampled(study: Study) -> Sequence[str]:
    return [one.policy_id for one in study.teachers.policies] if study.teachers else ()


def _samplings(policy: _ModelWork) -> Iterator[Work]:
    assert policy.study.teachers is not None
    (one,) = (one for one in policy.study.teachers.policies if one.policy_id == policy.name)
    run_ids = [responses_run_id(one, engine, policy.study, policy.folder) for engine in one.engines]
    prompts = prompts_run_id(policy.study, policy.folder)
    is_done = policy.counting.has(PROMPTS.name, policy.study, prompts) and any(
        policy.counting.has(RESPONSES.name, policy.study, run_id)
        and policy.counting.has("run_costs", policy.study, run_id)
        for run_id in run_ids
    )
    if policy.everything or not is_done:
        title = f"responses of {policy.name}"
        yield policy.work("sample_policies", (keys.RESPONSES,), policy.partition, title, run_ids[0])


def _scored(study: Study) -> Sequence[str]:
    return list(dict.fromkeys(donors(study).values())) if study.scoring else ()


def _scorings(model: _ModelWork) -> Iterator[Work]:
    scoring = model.study.scoring
    assert scoring is not None
    run_ids = [scoring_run_id(model.model, scoring, model.folder, engine) for engine in scoring.engines]
    sample_id = sample_run_id(scoring.corpus, model.folder)
    # The costs are written when every shard is done; a shard may have been lost since.
    is_done = any(
        model.counting.has("run_costs", model.study, run_id)
        and model.counting.has_scores(model.study, scoring, run_id, sample_id)
        for run_id in run_ids
    )
    if model.everything or not is_done:
        title = f"documents under {model.model.model_id}"
        yield model.work("score_documents", (keys.DOCUMENT_SCORES,), model.partition, title, run_ids[0])


def _benchmarked(study: Study) -> Sequence[str]:
    return study.benchmarked_model_ids


def _benchmarkings(model: _ModelWork) -> Iterator[Work]:
    assert model.study.benchmarks is not None
    run_id = benchmark_run_id(model.model, model.study.benchmarks, model.folder)
    name = model.model.model_id
    if model.everything or model.newest.get((model.study.study_id, run_of(name))) != run_id:
        yield model.work("run_benchmarks", (keys.BENCHMARKS,), model.partition, f"benchmarks of {name}", run_id)


def _taught(study: Study) -> Sequence[str]:
    return [one.name for one in policy_runs(study)]


def _teachings(run: _ModelWork) -> Iterator[Work]:
    """A policy run, once its policy has responses, and these have the rewards that it is scaled by."""
    (one,) = (found for found in policy_runs(run.study) if found.name == run.name)
    there = run.counting.rewarded(run.study)
    for responses in run.counting.responses(run.study):
        needed = [
            (name, responses.policy_id, responses.prompt_set) for name in scaling_models(run.study, one.reward_id)
        ]
        if responses.policy_id != one.policy_id or not there.issuperset(needed):
            continue
        run_id = policy_run_id(run.study, one, responses.run_id, run.folder)
        if run.everything or not run.counting.has(POLICY_RUNS.name, run.study, run_id):
            yield run.work("teach_policies", (keys.POLICY_RUNS,), run.partition, f"policy run {one.name}", run_id)


def studies_with_parts(home: Home, table: str = "") -> set[str]:
    """Studies that have a part of a table, or of any. Parts that were set aside are deeper."""
    keys_of_parts = (item.key for item in Store.at(home.parts).list(table))
    return {key.split("/")[1] for key in keys_of_parts if is_part_key(key)}


def _newest(home: Home, table: Table) -> dict[tuple[str, str], str]:
    """Run id of the newest part of a table, by study and writer ("" in most tables); none if a part is unreadable."""
    try:
        parts = newest_parts(home.parts, table, fitting=True)
    except LandingError:
        return {}  # landing reports which file it is
    return {(part.study_id, str(dict(part.partition).get("written_by", ""))): part.run_id for part in parts}


class _Counting:
    """The runs whose parts count: those that are there, and no part of another run has taken their place since."""

    def __init__(self, home: Home) -> None:
        self._home = home.at_one_look()
        self._newest: dict[str, set[tuple[str, str]] | None] = {}
        self._responses: dict[str, list[Responses]] = {}
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
        """Responses of the study's policies that are there; none where a part cannot be read, which landing reports."""
        if study.study_id not in self._responses:
            try:
                found = responses_of(self._home.parts, study)
            except (OSError, pa.ArrowException):
                found = []
            self._responses[study.study_id] = found
        return self._responses[study.study_id]

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


def _name(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
