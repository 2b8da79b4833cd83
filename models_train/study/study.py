"""Study files: what is compared, with which defaults, from which seeds. Torch-free; unknown keys are errors.

`load_study` reports every problem of a file at once, each with the line of the YAML, the key and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, model_validator

from models_train.study.benchmarks import Benchmarks
from models_train.study.checks import Problem, consistency_problems, field_problems
from models_train.study.hub import HubQuery, found_models, merged
from models_train.study.lab import Lab
from models_train.study.scoring import Scoring
from models_train.study.settings import Commit, Identifier, Name, NotNegative, Positive, Settings, Stage, Target, Text
from models_train.study.training import Training
from models_train.study.yaml_lines import StudyError, parse_yaml


class SizeGroup(Settings):
    """One size group: `params_b_from` (inclusive) to `params_b_below` (exclusive), billions of parameters.

    `default` is the model that the gains of the group are measured against (definitions, Section 2).
    """

    name: Name
    params_b_from: NotNegative
    params_b_below: Positive | None = None
    default: Name


class SeedSource(Settings):
    """A file of figures, `dbt/seeds/<name>.csv`: where they come from and which table of the paper it is."""

    name: Identifier
    paper_table: Name | None = None
    source: Text
    licence: Text


class StudyModel(Settings):
    """One base model.

    `publisher`, `params_b` (billions) and `tokens_t` (trillions) are None where a seed gives them. `hub_id` is a
    repository of the hub, or a folder: then it begins with `/`, `./`, `~` or `$` (`$REWARDBASE_HOME` and other
    variables are filled in; `./` is the folder of the study file). `remote_code` runs the repository's own Python code
    and is allowed only at a stated `revision`. `licence` and `downloads` (of the last 30 days) are what a hub said,
    where a hub query found the model.
    """

    model_id: Name
    hub_id: Name
    revision: Commit | None = None
    publisher: Name | None = None
    family: Name
    params_b: Positive | None = None
    tokens_t: Positive | None = None
    stage: Stage
    parent: Name | None = None
    is_compared: bool = True
    remote_code: bool = False
    licence: Name | None = None
    downloads: Annotated[int, Field(ge=0)] | None = None


class BenchmarkValue(Settings):
    """A benchmark value of a candidate, on a scale of 0 to 100; `metric` is one that the benchmark is known by."""

    benchmark: Name
    metric: Name
    value: Annotated[float, Field(ge=0, le=100)]
    shots: Name | None = None
    match: Literal["exact", "close", "loose"] = "exact"
    source: Text


class Candidate(StudyModel):
    """A base model that no reward model was trained on: it gets a prediction, or an abstention with the reason."""

    publisher: Name
    params_b: Positive
    is_compared: Literal[False] = False
    benchmarks: Annotated[tuple[BenchmarkValue, ...], Field(strict=False)] = ()


class Study(Settings):
    """A study: its models, its size groups with their defaults, and the seeds that its figures come from.

    `candidates` are models without a reward model; `predicted_targets` is what the performance model predicts.
    `training` and `scoring` are None where the study's results come from seeds alone: then no GPU job runs for it.
    `benchmarks` are run on the study's models, or read from result files. `lab` makes the study's base models and data
    on the spot. `hub` adds models to `models`: those that a hub had when it was last asked.

    Building one from contradictory settings (a parent that is not listed, groups with a gap, ...) raises
    pydantic's ValidationError; `load_study` is the way for files.
    """

    study_id: Identifier
    title: Name
    synthetic: bool
    source: Text
    use_loose_benchmarks: bool = False
    size_groups: Annotated[tuple[SizeGroup, ...], Field(strict=False)]
    seeds: Annotated[tuple[SeedSource, ...], Field(strict=False)] = ()
    models: Annotated[tuple[StudyModel, ...], Field(strict=False)]
    candidates: Annotated[tuple[Candidate, ...], Field(strict=False)] = ()
    predicted_targets: Annotated[tuple[Target, ...], Field(strict=False, min_length=1)] = ("score",)
    training: Training | None = None
    scoring: Scoring | None = None
    benchmarks: Benchmarks | None = None
    lab: Lab | None = None
    hub: HubQuery | None = None

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        if not (info.context or {}).get("checked_apart"):
            problems = consistency_problems(self.model_dump())
            if problems:
                raise ValueError("\n".join(f"{problem.where}: {problem.text}" for problem in problems))
        return self

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
        return tuple(model.model_id for model in (*self.models, *self.candidates))


def load_study(path: Path | str, home: Path | None = None) -> Study:
    """Read and check a study file; the models that its hub query found are with its own.

    home: the run-time folder, where these are kept; else the one that REWARDBASE_HOME names.

    Raises StudyError that names the file and, for all problems together, line, key and remedy.
    """
    path = Path(path)
    document = parse_yaml(path)
    problems: list[Problem] = list(document.problems)
    if not isinstance(document.data, Mapping):
        raise StudyError(path, [(1, "holds no settings; it begins with a line such as 'study_id: my_study'")])
    study = None
    try:
        study = Study.model_validate(document.data, context={"checked_apart": True})
    except ValidationError as error:
        problems += field_problems(error, Study)
    problems += consistency_problems(document.data)
    if problems or study is None:
        lines = [(document.line(problem.location), f"{problem.where}: {problem.text}") for problem in problems]
        raise StudyError(path, lines)
    if study.hub is None:
        return study
    found = merged(study.model_dump(), found_models(study.study_id, study.hub, home), StudyModel)
    return study.model_copy(update={"models": (*study.models, *found)})
