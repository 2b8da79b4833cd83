"""What can be wrong in a study file, in words: fields one by one, and settings that contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

FURTHER_STAGES = ("sft", "dpo", "rlvr")
"""Stages that the lab can train a model to from its parent."""

Location = tuple[str | int, ...]
"""Way from the top of the file to a value, such as ("models", 3, "parent")."""


Entries = list[tuple[int, Mapping[str, Any]]]
"""The entries of a list in the file that are groups of keys, each with its place in the list."""

Placed = list[tuple[Location, Mapping[str, Any]]]
"""Entries of several lists together, each with its way from the top of the file."""


@dataclass(frozen=True)
class Problem:
    """One problem: where in the settings, and what to do."""

    location: Location
    text: str

    @property
    def where(self) -> str:
        """The location as people write it: `models[3].parent`, counted from 0 as in the file's own order."""
        text = ""
        for step in self.location:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
        return text or "the file"


_WRONG_TYPE = {
    "string_type": "must be text; put it in quotes",
    "float_type": "must be a number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "tuple_type": "must be a list: one '- ' entry per line",
    "model_type": "must be a group of 'key: value' lines",
    "model_attributes_type": "must be a group of 'key: value' lines",
    "finite_number": "must be a finite number",
}


def field_problems(error: ValidationError, settings: type[BaseModel]) -> Iterator[Problem]:
    """Pydantic's findings with the value found and a remedy, and a near name for a misspelt key."""
    for found in error.errors(include_url=False):
        location: Location = found["loc"]
        kind = found["type"]
        if kind == "extra_forbidden":
            known = list(_settings_at(settings, location[:-1]).model_fields)
            yield Problem(location, f"unknown key; {near(str(location[-1]), known, 'the keys here are')}")
        elif kind == "missing":
            yield Problem(location, "missing; add this key")
        elif found["input"] is None:
            yield Problem(location, "has no value; give it one, or remove the key if it is optional")
        else:
            text = _WRONG_TYPE.get(kind) or found["msg"].replace("Input should", "should")
            yield Problem(location, f"{_shown(found['input'])} {text}")


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def near(name: str, known: list[str], else_say: str) -> str:
    """A did-you-mean for a misspelt name, or else the list of what is known."""
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    return f"{else_say} {listed}"


def _settings_at(settings: type[BaseModel], location: Location) -> type[BaseModel]:
    """The settings class that a location lies in."""
    for step in location:
        if isinstance(step, str):
            annotation = settings.model_fields[step].annotation
            inside = (annotation, *get_args(annotation))
            settings = next(a for a in inside if isinstance(a, type) and issubclass(a, BaseModel))
    return settings


def consistency_problems(data: Mapping[str, Any]) -> list[Problem]:
    """Contradictions between settings. Takes unvalidated data: what has a wrong type is passed over here."""
    models, groups, seeds, candidates = (
        _entries(data, name) for name in ("models", "size_groups", "seeds", "candidates")
    )
    everyone = [*_placed("models", models), *_placed("candidates", candidates)]
    return [
        *(Problem((name,), "is empty; list at least one") for name in ("models", "size_groups") if _empty(data, name)),
        *_repeated("models", models, "model_id", "model"),
        *_repeated("size_groups", groups, "name", "size group"),
        *_repeated("seeds", seeds, "name", "seed"),
        *_repeated("candidates", candidates, "model_id", "candidate"),
        *_candidates_among_models(candidates, models),
        *_parent_problems(everyone),
        *_default_problems(groups, models),
        *_border_problems(groups),
        *_homeless_models(groups, everyone),
        *_unpinned_code(everyone),
        *_unknown_import_models(data, everyone),
        *_lab_problems(data, everyone),
    ]


def _empty(data: Mapping[str, Any], name: str) -> bool:
    return isinstance(data.get(name), list | tuple) and len(data[name]) == 0


def _entries(data: Mapping[str, Any], name: str) -> Entries:
    listed = data.get(name)
    if not isinstance(listed, list | tuple):
        return []
    return [(index, entry) for index, entry in enumerate(listed) if isinstance(entry, Mapping)]


def _placed(name: str, entries: Entries) -> Placed:
    return [((name, index), entry) for index, entry in entries]


def _text(entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    return value if isinstance(value, str) else None


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _repeated(listed: str, entries: Entries, key: str, word: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, entry in entries:
        name = _text(entry, key)
        if name is None:
            continue
        if name in first:
            text = f"the {word} {_shown(name)} is already listed at {listed}[{first[name]}]; keep one of them"
            yield Problem((listed, index, key), text)
        first.setdefault(name, index)


def _candidates_among_models(candidates: Entries, models: Entries) -> Iterator[Problem]:
    listed = {_text(model, "model_id") for _, model in models}
    for index, candidate in candidates:
        name = _text(candidate, "model_id")
        if name is not None and name in listed:
            text = f"the candidate {_shown(name)} is also listed under models; keep one of them"
            yield Problem(("candidates", index, "model_id"), text)


def _parent_problems(models: Placed) -> Iterator[Problem]:
    parents = {_text(model, "model_id"): _text(model, "parent") for _, model in models}
    known = [name for name in parents if name]
    for location, model in models:
        name, parent = _text(model, "model_id"), _text(model, "parent")
        if parent is None:
            continue
        if parent not in parents:
            remedy = near(parent, known, "list it too, or leave the key out; listed are")
            yield Problem((*location, "parent"), f"the parent {_shown(parent)} is not listed; {remedy}")
            continue
        chain = [name, parent]
        while (following := parents.get(chain[-1])) is not None and following not in chain:
            chain.append(following)
        if following == name or parent == name:
            circle = " -> ".join(map(str, dict.fromkeys(chain)))
            yield Problem((*location, "parent"), f"parents go in a circle: {circle} -> {name}; remove one parent")


def _default_problems(groups: Entries, models: Entries) -> Iterator[Problem]:
    by_name = {_text(model, "model_id"): model for _, model in models}
    compared = [name for name, model in by_name.items() if name and model.get("is_compared", True) is True]
    for index, group in groups:
        default = _text(group, "default")
        if default is None:
            continue
        location = ("size_groups", index, "default")
        if default not in by_name:
            remedy = near(default, compared, "list it, or choose one of")
            yield Problem(location, f"the default {_shown(default)} is not among the models; {remedy}")
        elif default not in compared:
            yield Problem(location, f"the default {_shown(default)} has is_compared: false; choose a compared model")
        else:
            params = _number(by_name[default], "params_b")
            if params is not None and not _inside(params, group):
                text = f"the default {_shown(default)} has {params:g}B parameters and lies outside its group"
                yield Problem(location, f"{text} ({_borders(group)}); choose a model of the group")


def _inside(params_b: float, group: Mapping[str, Any]) -> bool:
    start, end = _number(group, "params_b_from"), _number(group, "params_b_below")
    return (start is None or params_b >= start) and (end is None or params_b < end)


def _borders(group: Mapping[str, Any]) -> str:
    start, end = _number(group, "params_b_from"), _number(group, "params_b_below")
    return f"from {start or 0:g}B" + ("" if end is None else f" to below {end:g}B")


def _border_problems(groups: Entries) -> Iterator[Problem]:
    for index, group in groups:
        start, end = _number(group, "params_b_from"), _number(group, "params_b_below")
        if start is not None and end is not None and end <= start:
            text = f"{end:g} is not above params_b_from ({start:g}); swap or mend the borders"
            yield Problem(("size_groups", index, "params_b_below"), text)
    placed = sorted(
        ((start, index, group) for index, group in groups if (start := _number(group, "params_b_from")) is not None),
        key=lambda item: item[:2],
    )
    if [index for _, index, _ in placed] != sorted(index for _, index, _ in placed):
        yield Problem(("size_groups",), "the size groups are not in order; list them from the smallest models up")
    for (_, _, lower), (start, index, upper) in pairwise(placed):
        names = f"{_shown(lower.get('name'))} and {_shown(upper.get('name'))}"
        location = ("size_groups", index, "params_b_from")
        end = _number(lower, "params_b_below")
        if end is None and "params_b_below" in lower and lower["params_b_below"] is not None:
            continue  # a border of a wrong type is reported as such
        if end is None or end > start:
            remedy = f"set params_b_below of {_shown(lower.get('name'))} to {start:g}"
            yield Problem(location, f"the size groups {names} overlap; {remedy}")
        elif end < start:
            text = f"the size groups {names} leave a gap from {end:g}B to {start:g}B; mend a border"
            yield Problem(location, text)


def _homeless_models(groups: Entries, models: Placed) -> Iterator[Problem]:
    if not groups:
        return
    for location, model in models:
        params = _number(model, "params_b")
        if params is not None and params > 0 and not any(_inside(params, group) for _, group in groups):
            text = f"{params:g}B parameters lie in no size group; widen a group or add one"
            yield Problem((*location, "params_b"), text)


def _unpinned_code(models: Placed) -> Iterator[Problem]:
    """Code of a hub repository may only run at a commit that the study states."""
    for location, model in models:
        if model.get("remote_code") is True and model.get("revision") is None:
            text = "runs code of the repository, but no revision is stated; add its commit, or remove remote_code"
            yield Problem((*location, "remote_code"), text)


def _unknown_import_models(data: Mapping[str, Any], models: Placed) -> Iterator[Problem]:
    """Imported result files may be mapped to models of the study alone."""
    listed = [name for _, model in models if (name := _text(model, "model_id"))]
    benchmarks = data.get("benchmarks")
    for index, entry in _entries(benchmarks, "imports") if isinstance(benchmarks, Mapping) else ():
        mapped = entry.get("models")
        for name, model in mapped.items() if isinstance(mapped, Mapping) else ():
            if isinstance(model, str) and model not in listed:
                remedy = near(model, listed, "listed are")
                text = f"{_shown(name)} is mapped to {_shown(model)}, which the study does not list; {remedy}"
                yield Problem(("benchmarks", "imports", index, "models", str(name)), text)


def _lab_problems(data: Mapping[str, Any], models: Placed) -> Iterator[Problem]:
    """What the lab makes, the study lists; what has no mix is a further stage of another that the lab makes."""
    lab = data.get("lab")
    made = _entries(lab, "models") if isinstance(lab, Mapping) else []
    names = [name for _, entry in made if (name := _text(entry, "model_id"))]
    listed = {_text(model, "model_id"): model for _, model in models}
    yield from (
        Problem(("lab", *problem.location), problem.text) for problem in _repeated("models", made, "model_id", "model")
    )
    for index, entry in made:
        name = _text(entry, "model_id")
        location = ("lab", "models", index, "model_id")
        if name is None:
            continue
        if name not in listed:
            remedy = near(name, [known for known in listed if known], "listed are")
            yield Problem(location, f"the lab makes {_shown(name)}, which the study does not list; {remedy}")
        elif entry.get("mix") is None:
            stage, parent = _text(listed[name], "stage"), _text(listed[name], "parent")
            if stage not in FURTHER_STAGES:
                text = (
                    f"{_shown(name)} has no mix, so its stage must be one of {', '.join(FURTHER_STAGES)}, not {stage}"
                )
                yield Problem(location, f"{text}; give it a mix and pretraining_tokens, or mend its stage")
            if parent not in names:
                text = f"{_shown(name)} has no mix, so its parent must be a model of the lab, not {parent}"
                yield Problem(location, f"{text}; give it a mix and pretraining_tokens, or mend its parent")
