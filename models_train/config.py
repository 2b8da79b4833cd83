"""Study files: what is compared, with which defaults, from which seeds. Torch-free; unknown keys are errors.

`load_study` reports every problem of a file at once, each with the line of the YAML, the key and the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from models_train.study_checks import Problem, consistency_problems, field_problems
from models_train.study_yaml import StudyError, parse_yaml

LONGEST_NAME = 200


def _safe(value: str) -> str:
    """Text of one line that a terminal, a file and a page can show as it is."""
    if not value:
        raise PydanticCustomError("unsafe", "is empty; give it a value")
    if value != value.strip():
        raise PydanticCustomError("unsafe", "begins or ends with a space; remove it")
    if not value.isprintable():
        raise PydanticCustomError("unsafe", "holds a control or invisible character; remove it")
    return value


def _short(value: str) -> str:
    if len(value) > LONGEST_NAME:
        raise PydanticCustomError("unsafe", f"is {len(value)} characters long; at most {LONGEST_NAME} are allowed")
    return value


def _identifier(value: str) -> str:
    if not value.isascii() or not value.replace("_", "a").isalnum() or value != value.lower():
        raise PydanticCustomError("identifier", "may hold lower-case letters, digits and '_' only, such as 'my_study'")
    return value


def _commit(value: str) -> str:
    if len(value) != 40 or set(value) - set("0123456789abcdef"):
        raise PydanticCustomError(
            "commit", "is not a hub commit; give its 40 hexadecimal digits in quotes, or leave the key out"
        )
    return value


Text = Annotated[str, AfterValidator(_safe)]
Name = Annotated[Text, AfterValidator(_short)]
Identifier = Annotated[Name, AfterValidator(_identifier)]
Commit = Annotated[str, AfterValidator(_commit)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Stage = Literal["base", "sft", "dpo", "rlvr", "instruct"]
Target = Literal["chat", "chat_hard", "safety", "reasoning", "score"]


class _Settings(BaseModel):
    """Strict: a number in quotes is text, `1` is no truth value, an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SizeGroup(_Settings):
    """One size group: `params_b_from` (inclusive) to `params_b_below` (exclusive), billions of parameters.

    `default` is the model that the gains of the group are measured against (definitions, Section 2).
    """

    name: Name
    params_b_from: NotNegative
    params_b_below: Positive | None = None
    default: Name


class SeedSource(_Settings):
    """A file of figures, `dbt/seeds/<name>.csv`: where they come from and which table of the paper it is."""

    name: Identifier
    paper_table: Name | None = None
    source: Text
    licence: Text


class StudyModel(_Settings):
    """One base model.

    `publisher`, `params_b` (billions) and `tokens_t` (trillions) are None where a seed gives them.
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


class BenchmarkValue(_Settings):
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


class Study(_Settings):
    """A study: its models, its size groups with their defaults, and the seeds that its figures come from.

    `candidates` are models without a reward model; `predicted_targets` is what the performance model predicts.

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
    def model_ids(self) -> tuple[str, ...]:
        """Names of all models, candidates included, in the order of the file."""
        return tuple(model.model_id for model in (*self.models, *self.candidates))


def load_study(path: Path | str) -> Study:
    """Read and check a study file.

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
    return study
