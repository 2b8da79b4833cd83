"""The text of a study file -> its data, with the line of each key for messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from models_train.errors import UserError, first_line
from models_train.study.settings import Location, Problem


class StudyError(UserError):
    """A study file with problems. `problems`: (line or None, text) of each, in order of line."""

    def __init__(self, path: Path, problems: Sequence[tuple[int | None, str]]) -> None:
        self.path = path
        self.problems = sorted(dict.fromkeys(problems), key=lambda problem: problem[0] or 0)
        super().__init__(
            "\n".join(f"{path}:{line}: {text}" if line else f"{path}: {text}" for line, text in self.problems)
        )


@dataclass
class Document:
    """A parsed file: its data, the line of each location, and the keys given twice, which YAML allows."""

    data: Any
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, location: Location) -> int | None:
        """Line of the location, or of the nearest enclosing one (a missing key has no line of its own)."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location)


def parse_yaml(path: Path) -> Document:
    """Read one YAML file; raises StudyError for a missing or unreadable file and for bad syntax."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(path, [(None, "no such file; check the path, or write the study file there")]) from None
    except UnicodeDecodeError as error:
        raise StudyError(path, [(None, f"is not UTF-8 text ({error.reason}); save it as UTF-8")]) from None
    except OSError as error:
        raise StudyError(path, [(None, f"cannot be read: {error.strerror}")]) from None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        marks = list(_marks(node, (), frozenset())) if node else []  # before merge keys are resolved in the nodes
        data = loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        line = mark.line + 1 if mark else None
        raise StudyError(path, [(line, f"is not valid YAML: {what}; correct the syntax at this line")]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        text = f"is not valid YAML: {first_line(error)}; correct the syntax"
        raise StudyError(path, [(None, text)]) from None
    document = Document(data)
    for location, line, repeated in marks:
        if repeated:
            document.problems.append(Problem(location, "is given more than once; keep one"))
        document.lines[location] = line
    return document


def _marks(node: yaml.Node, location: Location, above: frozenset[int]) -> Iterator[tuple[Location, int, bool]]:
    """Location, line and "seen before in this mapping" of every value; a cycle of aliases is entered once."""
    if not location:
        yield location, node.start_mark.line + 1, False
    if id(node) in above:
        return
    above = above | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*location, index), item.start_mark.line + 1, False
            yield from _marks(item, (*location, index), above)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            yield (*location, name), key.start_mark.line + 1, name in seen
            seen.add(name)
            yield from _marks(value, (*location, name), above)
