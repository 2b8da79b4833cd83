"""What happened in a training run, line by line: steps, evaluations, the end. Only ever appended to.

A run that was killed goes on from its last saved state and does some steps again; they are written again and the later
line counts. The earlier one stays, because its seconds were spent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """Events of a run in one JSONL file. Every event has `event`; those of a step have `step`."""

    def __init__(self, path: Path, writes: bool = True) -> None:
        """writes: False in the processes of a sharded run that only follow along."""
        self._path = path
        self._writes = writes
        self.events, length = _whole_lines(path)
        if writes and path.exists() and path.stat().st_size > length:
            os.truncate(path, length)

    def write(self, event: str, row: Mapping[str, Any]) -> None:
        """Append one event. Raises ValueError for NaN and infinity, which JSON cannot hold."""
        entry = {"event": event, **row}
        line = json.dumps(entry, allow_nan=False)
        if self._writes:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        self.events.append(json.loads(line))

    def flush(self) -> None:
        """Make everything written outlive a loss of power; a killed process loses nothing anyway."""
        if self._writes and self._path.exists():
            with self._path.open("a") as file:
                os.fsync(file.fileno())

    def rows(self, event: str, up_to_step: int) -> list[dict[str, Any]]:
        """The latest event of a kind for each step up to one, ascending, without the key `event`."""
        latest = {entry["step"]: entry for entry in self.events if entry["event"] == event}
        return [
            {key: value for key, value in latest[step].items() if key != "event"}
            for step in sorted(latest)
            if step <= up_to_step
        ]

    def total(self, key: str) -> float:
        """Sum of a number over all events that have it, repeated ones too."""
        return sum(entry.get(key, 0) for entry in self.events)

    def largest(self, key: str) -> Any:
        """Largest value of a key over all events; None where none has it."""
        return max((entry[key] for entry in self.events if entry.get(key) is not None), default=None)


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """All events up to the first line that a kill or a loss of power cut off or blanked, and their bytes."""
    events: list[dict[str, Any]] = []
    length = 0
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        try:
            events.append(json.loads(line))
        except ValueError:
            break
        if not line.endswith(b"\n"):
            return events[:-1], length
        length += len(line)
    return events, length
