"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOT_APPLICABLE, TIMEOUT = "ok", "not_applicable", "timeout"


@dataclass(frozen=True)
class Verdict:
    """Outcome of a check. value: share passed, 0 to 1; None where the status is not ok. seconds: it took."""

    status: str
    value: float | None = None
    detail: str | None = None
    seconds: float = 0.0
