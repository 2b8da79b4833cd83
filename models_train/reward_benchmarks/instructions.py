"""Instructions of prompts that checkers can check, in the columns of IFEval: `instruction_id_list`, `kwargs`, `key`."""

from __future__ import annotations

import json
from typing import Any

from models_train.data.records import Prompt
from models_train.data.rows import Column, Values
from models_train.errors import UserError
from models_train.reward_benchmarks.records import as_list
from models_train.study.settings import shown

IFEVAL = "ifeval"
"""gold_kind of prompts with instructions; their gold is the JSON of these columns and of the `prompt`."""


def _names(value: Any) -> list[str]:
    found = as_list(value)
    for one in found:
        if not isinstance(one, str) or not one.strip():
            raise UserError(f"{shown(one)} is no name of an instruction; correct it, or remove the row")
    return found


def _arguments(value: Any) -> list[dict[str, Any]]:
    found = as_list(value)
    for place, one in enumerate(found, 1):
        if one is not None and not isinstance(one, dict):
            raise UserError(f"{shown(one)}, entry {place}, is no group of arguments; give {{name: value, ...}}")
    return [{name: given for name, given in (one or {}).items() if given is not None} for one in found]


def _key(value: Any) -> int | str | None:
    """The number of a prompt of IFEval, by which those that are known to be wrong are told; other keys are names."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


COLUMNS = {
    "instruction_id_list": Column(_names, is_optional=True),
    "kwargs": Column(_arguments, is_optional=True),
    "key": Column(_key, is_optional=True),
}


def instructions_of(values: Values, prompt: Prompt) -> str | None:
    """The gold of a prompt with instructions, as JSON; None for a row without any.

    Raises UserError where instructions and arguments do not belong together.
    """
    names, arguments = values["instruction_id_list"], values["kwargs"]
    if names is None and arguments is None:
        return None
    if names is None or arguments is None:
        missing = "instruction_id_list" if names is None else "kwargs"
        raise UserError(f"has no {missing} beside its instructions; add it, one entry for each")
    if len(names) != len(arguments):
        raise UserError(
            f"has {len(names)} instructions and {len(arguments)} kwargs; give each instruction its own, {{}} for none"
        )
    asked = next((turn.text for turn in reversed(prompt) if turn.role == "user"), "")
    gold = {"instruction_id_list": names, "kwargs": arguments, "prompt": asked, "key": values["key"]}
    try:
        return json.dumps(gold, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"kwargs cannot be written as JSON ({error}); correct them, or remove the row") from None
