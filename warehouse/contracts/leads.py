"""When two scores are distinguishable by their intervals: one rule for the performance model and for its readers."""

from __future__ import annotations

import math

INTERVAL_REACH = 1.6448536269514722
"""Standard errors that a 90 % interval reaches to either side."""
LEAD_REACH = 1.959963984540054
"""Standard errors of a difference that it must exceed to count: as the variable reach_of_95_percent of dbt."""

Ends = tuple[float | None, float | None]


def is_distinguishable(score: float, ends: Ends, other: float, other_ends: Ends) -> bool:
    """Whether two scores, in points, differ by more than 1.96 standard errors, which their 90 % intervals give.

    Never where an end of an interval is not known.
    """
    known = [end for end in (*ends, *other_ends) if end is not None]
    if len(known) < 4:
        return False
    low, high, other_low, other_high = known
    error = math.hypot(high - low, other_high - other_low) / (2 * INTERVAL_REACH)
    return abs(score - other) > LEAD_REACH * error
