"""Field types of settings, the strict base class, and the messages of problems with fields. Torch-free."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from models_train.errors import close_match

LONGEST_NAME = 200
"""Longest name, in characters."""
MOST = 10**12
"""Largest number where nothing else limits it: a larger one does not fit the tables."""
MOST_PARAMS_B = 2_000
"""Largest model, in billions of parameters: a larger number is of another unit."""
MOST_TOKENS_T = 1_000
"""Most pre-training tokens, in trillions."""
LONGEST_SHOWN = 60
"""Longest value shown in a message, in characters."""

_REVISION = re.compile(r"[\w][\w./+-]*")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{40}")


def safe(value: str) -> str:
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


def _revision(value: str) -> str:
    if not _REVISION.fullmatch(value) or ".." in value:
        raise PydanticCustomError(
            "revision", "is no revision; give a commit, branch or tag of the hub repository, or leave the key out"
        )
    return value.lower() if _HEXADECIMAL.fullmatch(value) else value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise PydanticCustomError("repeated", "lists {value} twice; remove one", {"value": repeated[0]})
    return values


def _text_schema(**limits: Any) -> WithJsonSchema:
    """JSON schema of a text; the validators, whose messages name the remedy, check the same limits."""
    return WithJsonSchema({"type": "string", "minLength": 1, **limits})


Distinct = AfterValidator(_distinct)
"""A list without repeated entries."""
Text = Annotated[str, AfterValidator(safe), _text_schema()]
Name = Annotated[Text, AfterValidator(_short), _text_schema(maxLength=LONGEST_NAME)]
Identifier = Annotated[Name, AfterValidator(_identifier), _text_schema(maxLength=LONGEST_NAME, pattern="^[a-z0-9_]+$")]
Revision = Annotated[Name, AfterValidator(_revision), _text_schema(maxLength=LONGEST_NAME)]
Positive = Annotated[float, Field(gt=0, le=MOST, allow_inf_nan=False)]
Number = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Params = Annotated[float, Field(gt=0, le=MOST_PARAMS_B, allow_inf_nan=False)]
Tokens = Annotated[float, Field(gt=0, le=MOST_TOKENS_T, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=MOST)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Stage = Literal["base", "sft", "dpo", "rlvr", "instruct"]
Objective = Literal["bradley_terry", "regression"]
Target = Literal["chat", "chat_hard", "safety", "reasoning", "score"]


class Settings(BaseModel):
    """Strict: a number in quotes is text, `1` is no truth value, an unknown key is an error.

    The text below a field describes it in the JSON schema, which editors show.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


Location = tuple[str | int, ...]
"""Path from the top of the settings to a value, such as ("models", 3, "parent")."""


@dataclass(frozen=True)
class Problem:
    """One problem: where in the settings, what is wrong, and what to do."""

    location: Location
    text: str

    @property
    def where(self) -> str:
        """The location as messages write it: `models[3].parent`, counted from 0 in the order of the file."""
        text = ""
        for step in self.location:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
        return text or "the file"


CONTRADICTION = "contradiction"
"""Type of pydantic's error for settings that contradict each other; `checks` has a problem for each."""

_WRONG_TYPE = {
    "string_type": "must be text; put it in quotes",
    "float_type": "must be a number, without quotes",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number, without quotes",
    "int_parsing_size": "has too many digits; correct it",
    "bool_type": "must be true or false, without quotes",
    "tuple_type": "must be a list: one '- ' entry per line",
    "model_type": "must be a group of 'key: value' lines",
    "model_attributes_type": "must be a group of 'key: value' lines",
    "finite_number": "must be a finite number",
}
_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of")


def field_problems(error: ValidationError, settings: type[BaseModel]) -> Iterator[Problem]:
    """Pydantic's findings with the value found and a remedy, and a near name for a misspelt key."""
    for found in error.errors(include_url=False):
        location: Location = found["loc"]
        kind = found["type"]
        if kind == CONTRADICTION:
            continue
        if kind in ("extra_forbidden", "invalid_key"):
            known = _settings_at(settings, location[:-1]).model_fields
            hint = close_match(str(location[-1]), known, "the keys here are")
            yield Problem((*location[:-1], str(location[-1])), f"unknown key; {hint}")
        elif kind == "missing":
            yield Problem(location, "missing; add this key")
        elif kind == "too_short":
            if not found["input"]:  # else every entry has a problem, reported at its place
                yield Problem(location, "is empty; list at least 1 entry")
        elif found["input"] is None:
            yield Problem(location, "has no value; give it one, or remove the key if it is optional")
        else:
            yield Problem(location, _with_value(found["input"], kind, found["msg"]))


def _with_value(value: Any, kind: str, message: str) -> str:
    """The value and what is wrong with it."""
    if kind == "string_type" and isinstance(value, list | tuple | Mapping):
        text = "must be text: one value, without brackets or keys"
    elif kind == "float_type" and isinstance(value, str) and _is_number(value):
        text = "must be a number, without quotes, and with a point before an exponent, such as 1.0e-6"
    else:
        text = _WRONG_TYPE.get(kind) or message.replace("Input should", "should")
    text += "; correct it" if kind in _OUT_OF_RANGE else ""
    # Findings about a whole group name its keys.
    return text if isinstance(value, Mapping) and kind not in _WRONG_TYPE else f"{shown(value)} {text}"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def shown(value: Any) -> str:
    """A value as messages show it, shortened."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def _settings_at(settings: type[BaseModel], location: Location) -> type[BaseModel]:
    """The settings class that a location lies in."""
    for step in location:
        if step in settings.model_fields:  # else a place in a list, or a key of a group by name
            annotation = settings.model_fields[str(step)].annotation
            inside = (annotation, *get_args(annotation))
            settings = next(a for a in inside if isinstance(a, type) and issubclass(a, BaseModel))
    return settings
