"""Study files: the models compared, the defaults, the seeds of figures, and the work to do. Torch-free.

`load_study` reports all problems of a file together, each with the line of the YAML, the key and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from models_train.errors import close_match
from models_train.study.benchmarks import Benchmarks
from models_train.study.checks import consistency_problems
from models_train.study.hub import HubQuery, found_models, usable_models
from models_train.study.lab import Lab
from models_train.study.leaderboards import EachOnce, LeaderboardImport
from models_train.study.models import Candidate, SeedSource, SizeGroup, StudyModel
from models_train.study.race import Race
from models_train.study.revisions import with_kept_commit
from models_train.study.reward_benchmarks import BenchmarkSet, ScoredRewardModel, ScoreImport
from models_train.study.run_noise import RunNoise
from models_train.study.scoring import Scoring
from models_train.study.settings import CONTRADICTION, Identifier, Name, Problem, Settings, Target, Text, field_problems
from models_train.study.teachers import Teachers
from models_train.study.training import DataSource, Training
from models_train.study.yaml_lines import StudyError, parse_yaml
from warehouse.contracts.scores import REWARDBENCH


class Study(Settings):
    """A study: its models, its size groups with their defaults, and the origin of its figures."""

    study_id: Identifier
    """Name of the study in all tables and folders: lower-case letters, digits and "_"."""
    title: Name
    """Title in the report."""
    synthetic: bool
    """True for made-up models or data: the report labels all figures of the study."""
    source: Text
    """Origin of the figures."""
    use_loose_benchmarks: bool = False
    """Use benchmark values of the match class "loose", too: of another task, or of a set-up that is not comparable."""
    answer_on: Name | None = None
    """Benchmark of reward models that the answer is based on: a name under `benchmark_sets`, or rewardbench for the
    test set of `training`. By default RewardBench, and without results of it the benchmark with the most reward
    models."""
    run_noise: RunNoise = RunNoise()
    """How far two trainings of one base model lie apart; by default an estimate from near-twins that were published."""
    size_groups: Annotated[tuple[SizeGroup, ...], Field(strict=False)] = ()
    """Size groups, from the smallest models up; left out only together with `models`."""
    seeds: Annotated[tuple[SeedSource, ...], Field(strict=False)] = ()
    """Files of published figures in dbt/seeds."""
    models: Annotated[tuple[StudyModel, ...], Field(strict=False)] = ()
    """Base models with a reward model, trained here or published; left out in a study of score files alone, which
    compares reward models whatever their base."""
    candidates: Annotated[tuple[Candidate, ...], Field(strict=False)] = ()
    """Base models without a reward model; the performance model predicts their results."""
    predicted_targets: Annotated[tuple[Target, ...], Field(strict=False, min_length=1)] = ("score",)
    """Results that the performance model predicts."""
    folds: Literal["publisher", "lineage"] = "publisher"
    """What is left out together when predictions are tested: the models of a publisher, or of all publishers whose
    post-training began from the same model."""
    also_learn_from: Annotated[tuple[Identifier, ...], Field(strict=False)] = ()
    """Other studies (study_id) whose reward models the performance model learns from, too: results of the same test
    pairs, corrected by the effect of their training recipe. They are never judged with this study's own."""
    training: Training | None = None
    """Training of reward models; left out where the figures come from seeds alone."""
    scoring: Scoring | None = None
    """Scoring of documents for the pre-training mix; left out where there is none."""
    benchmarks: Benchmarks | None = None
    """Benchmarks to run on the models, or to read from result files."""
    leaderboards: Annotated[tuple[LeaderboardImport, ...], Field(strict=False), EachOnce] = ()
    """Leaderboards of reward models whose entries are imported, to see what they are built on."""
    benchmark_sets: Annotated[tuple[BenchmarkSet, ...], Field(strict=False)] = ()
    """Benchmarks of reward models: RewardBench, RewardBench 2, RewardMATH, RM-Bench, JudgeBench, or pairs of your own.
    The test set of `training` is one without being listed here."""
    reward_models: Annotated[tuple[ScoredRewardModel, ...], Field(strict=False)] = ()
    """Reward models of a hub or of folders, which are scored on the benchmarks of the study."""
    score_imports: Annotated[tuple[ScoreImport, ...], Field(strict=False)] = ()
    """Score files of reward models that ran elsewhere."""
    teachers: Teachers | None = None
    """Whether the study's reward models are good teachers of policies; left out where that is not asked."""
    race: Race | None = None
    """A race of the base models, in place of training a reward model on each; left out where there is none."""
    lab: Lab | None = None
    """Base models and data that are made on the spot."""
    hub: HubQuery | None = None
    """Query for further models on a hub; the models of its last answer are part of the study."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """Refuse contradictory settings, such as a parent that is not listed, or groups with a gap."""
        if problems := consistency_problems(dict(self)):
            text = "\n".join(f"{problem.where}: {problem.text}" for problem in problems)
            raise PydanticCustomError(CONTRADICTION, "{text}", {"text": text})
        return self

    @property
    def test_set(self) -> DataSource | None:
        """The test set of training, which is RewardBench."""
        return self.training.test_set if self.training else None

    @property
    def reward_benchmarks(self) -> tuple[str, ...]:
        """Names of the benchmarks that reward models are scored on."""
        tested = () if self.test_set is None else (REWARDBENCH,)
        return (*tested, *(one.name for one in self.benchmark_sets))

    @property
    def compared_model_ids(self) -> tuple[str, ...]:
        """Names of the models that the study ranks, in the order of the file."""
        return tuple(model.model_id for model in self.models if model.is_compared)

    @property
    def benchmarked_model_ids(self) -> tuple[str, ...]:
        """Names of the models that benchmarks are run on: the compared ones and the candidates."""
        if self.benchmarks is None or not self.benchmarks.to_run:
            return ()
        return (*self.compared_model_ids, *(candidate.model_id for candidate in self.candidates))

    @property
    def by_id(self) -> dict[str, StudyModel]:
        """All models, candidates included, by name, in the order of the file."""
        return {model.model_id: model for model in (*self.models, *self.candidates)}

    @property
    def model_ids(self) -> tuple[str, ...]:
        """Names of all models, candidates included, in the order of the file."""
        return tuple(self.by_id)


def load_study(path: Path | str, home: Path | None = None) -> Study:
    """Read and check a study file; fill in commits of revisions, and the models of its hub query's last answer.

    home: the run-time folder, which holds these answers of the hub; else the one that REWARDBASE_HOME names.

    Raises StudyError that names the file and, for all problems together, line, key and remedy.
    """
    path = Path(path)
    document = parse_yaml(path)
    if not isinstance(document.data, Mapping):
        raise StudyError(path, [(1, "holds no settings; it begins with a line such as 'study_id: my_study'")])
    problems: list[Problem] = list(document.problems)
    study = None
    try:
        study = Study.model_validate(document.data)
    except ValidationError as error:
        # Fields first; entries with correct fields are compared with each other even where others have problems.
        problems += [*field_problems(error, Study), *consistency_problems(document.data)]
    if problems or study is None:
        lines = [(document.line(problem.location), f"{problem.where}: {problem.text}") for problem in problems]
        raise StudyError(path, lines)
    models = tuple(with_kept_commit(model, home) for model in study.models)
    candidates = tuple(with_kept_commit(candidate, home) for candidate in study.candidates)
    data = {"training": _with_kept_data(study.training, home), "scoring": _with_kept_corpus(study.scoring, home)}
    sets = tuple(with_kept_commit(one, home) for one in study.benchmark_sets)
    scored = tuple(with_kept_commit(one, home) for one in study.reward_models)
    own = {"models": models, "candidates": candidates, "benchmark_sets": sets, "reward_models": scored}
    teachers = {"teachers": _with_kept_teachers(study.teachers, home)}
    study = study.model_copy(update=own | data | teachers)
    if study.hub is None:
        return study
    found = found_models(study.study_id, study.hub, home)
    added = usable_models(found, (*study.models, *study.candidates), study.size_groups)
    return study.model_copy(update={"models": (*study.models, *added)})


def _with_kept_data(training: Training | None, home: Path | None) -> Training | None:
    if training is None:
        return None
    sources = {"preferences": training.preferences, "ratings": training.ratings, "test_set": training.test_set}
    return training.model_copy(
        update={name: with_kept_commit(source, home) for name, source in sources.items() if source is not None}
    )


def _with_kept_corpus(scoring: Scoring | None, home: Path | None) -> Scoring | None:
    if scoring is None:
        return None
    source = with_kept_commit(scoring.corpus.source, home)
    return scoring.model_copy(update={"corpus": scoring.corpus.model_copy(update={"source": source})})


def _with_kept_teachers(teachers: Teachers | None, home: Path | None) -> Teachers | None:
    if teachers is None:
        return None
    policies = tuple(one if one.hub_id is None else with_kept_commit(one, home) for one in teachers.policies)
    prompts = None if teachers.prompts is None else with_kept_commit(teachers.prompts, home)
    return teachers.model_copy(update={"policies": policies, "prompts": prompts})


RESULT_SEEDS = frozenset({"table_1_post_training", "table_4_regression", "table_5_bradley_terry"})
"""Seeds with results of RewardBench's four categories."""
STUDY_FILES = "[!.]*.yaml"
"""Pattern of the study files of a folder: hidden files do not count."""


def load_studies(folder: Path) -> dict[Path, Study]:
    """Every study of a folder by its file (`*.yaml`), in order of the files' names; hidden files do not count.

    Raises StudyError for the first file with problems, where two files have one study_id, which would overwrite each
    other's work, for a study in a file of another ending, which nothing reads, and for models that nothing describes.
    """
    _refuse_other_endings(folder)
    studies = {path: load_study(path) for path in sorted(folder.glob(STUDY_FILES))}
    first: dict[str, Path] = {}
    for path, study in studies.items():
        _refuse_undescribed(path, study)
        known = first.setdefault(study.study_id, path)
        if known != path:
            line = parse_yaml(path).line(("study_id",))
            text = f"study_id: {study.study_id!r} is also that of {known.name}"
            raise StudyError(path, [(line, f"{text}; give one of them another, or move one of the files away")])
    for path, study in studies.items():
        _refuse_other_studies(path, study, {each.study_id: each for each in studies.values()})
    return studies


def _refuse_other_studies(path: Path, study: Study, studies: Mapping[str, Study]) -> None:
    """A study may learn from others that are there and have results of the same benchmark; each counts once."""
    problems = []
    for index, name in enumerate(study.also_learn_from):
        if text := _reason_against_other(study, name, studies, study.also_learn_from[:index]):
            line = parse_yaml(path).line(("also_learn_from", index))
            problems.append((line, f"also_learn_from[{index}]: {name!r} {text}"))
    if problems:
        raise StudyError(path, problems)


def _reason_against_other(study: Study, name: str, studies: Mapping[str, Study], before: tuple[str, ...]) -> str:
    if name == study.study_id:
        return "is this study itself, whose models are learned from in any case; remove it"
    if name in before:
        return "is already listed; keep it once"
    if name not in studies:
        known = [other for other in studies if other != study.study_id]
        return f"is no study of the folder; {close_match(name, known, 'there are') if known else 'there is no other'}"
    other = studies[name]
    if other.test_set is None and not RESULT_SEEDS.intersection(seed.name for seed in other.seeds):
        return (
            "has no results of RewardBench's four categories, and scores of another benchmark do not compare with "
            "them; remove it"
        )
    if other.synthetic != study.synthetic:
        made, real = (name, study.study_id) if other.synthetic else (study.study_id, name)
        return f"cannot be learned from: {made!r} is synthetic and {real!r} is not; remove it"
    return ""


def _refuse_undescribed(path: Path, study: Study) -> None:
    """The warehouse needs publisher and size of each model; where there are no seeds, only the file can state them."""
    problems = [
        (parse_yaml(path).line(("models", index)), f"models[{index}]: {model.model_id!r} states no {name}; add it")
        for index, model in enumerate(study.models)
        for name in ("publisher", "params_b")
        if not study.seeds and getattr(model, name) is None
    ]
    if problems:
        raise StudyError(path, problems)


def _refuse_other_endings(folder: Path) -> None:
    for path in sorted(folder.glob("[!.]*")):
        if path.suffix != ".yaml" and path.suffix.lower() in (".yaml", ".yml") and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if re.search(r"^study_id\s*:", text, re.MULTILINE):
                told = "holds a study and is not read, because study files end in .yaml; rename it or move it away"
                raise StudyError(path, [(None, told)])
