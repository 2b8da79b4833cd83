"""What all settings are made of: text that is safe to show, names, numbers, and a strict base class. Torch-free."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

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


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise PydanticCustomError("repeated", "lists {value} twice; remove one", {"value": repeated[0]})
    return values


Distinct = AfterValidator(_distinct)
"""Of a list: no entry stands in it twice."""
Text = Annotated[str, AfterValidator(_safe)]
Name = Annotated[Text, AfterValidator(_short)]
Identifier = Annotated[Name, AfterValidator(_identifier)]
Commit = Annotated[str, AfterValidator(_commit)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Stage = Literal["base", "sft", "dpo", "rlvr", "instruct"]
Objective = Literal["bradley_terry", "regression"]
Target = Literal["chat", "chat_hard", "safety", "reasoning", "score"]


class Settings(BaseModel):
    """Strict: a number in quotes is text, `1` is no truth value, an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
