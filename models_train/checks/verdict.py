"""What a check finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

OK, NOT_APPLICABLE, TIMEOUT = "ok", "not_applicable", "timeout"


@dataclass(frozen=True)
class Verdict:
    """Outcome of a check. value: share passed, 0 to 1; None where the status is not ok. seconds: it took."""

    status: str
    value: float | None = None
    detail: str | None = None
    seconds: float = 0.0


def mean_of(verdicts: Mapping[str, Verdict]) -> tuple[float | None, str]:
    """The mean of the checks of a response that apply, by name; None, and the status that says why, where none applies
    or one ended without a value."""
    found = {name: one for name, one in verdicts.items() if one.status != NOT_APPLICABLE}
    for name, one in found.items():
        if one.status != OK:
            return None, f"{name}: {one.status}"
    values = [one.value for one in found.values() if one.value is not None]
    return (sum(values) / len(values), OK) if values else (None, NOT_APPLICABLE)
