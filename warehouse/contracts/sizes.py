"""What a size limit means: sizes as people say them, so that a model of 8.03 billion parameters is within 8."""

import re

SIZE_RULE = (
    "inclusive, by the size in a model's name (8B also where it has 8.03 billion parameters), or without one by its "
    "parameters, rounded as the limit is written"
)
_NAMED = re.compile(r"(?<![0-9.])(\d+(?:[._]\d+)?)([bm])(?![a-z])")
LEAST, MOST = 0.75, 1.75
"""Parameters of a model, as multiples of the size in its name: Falcon3-1B has 1.67 billion. Beyond them the name says
something else, such as the active parameters of a mixture of experts."""


def named_size(name: str, params_b: float) -> float | None:
    """Billions of parameters as a name says them, such as 8.0 of `Llama-3.1-8B`; None where it says none.

    Of several numbers, such as those of `Qwen3-30B-A3B`, the one next to the actual size counts.
    """
    numbers = [
        float(number.replace("_", ".")) / (1000 if unit == "m" else 1) for number, unit in _NAMED.findall(name.lower())
    ]
    fitting = [number for number in numbers if number and LEAST <= params_b / number <= MOST]
    return min(fitting, key=lambda number: abs(params_b - number), default=None)


def is_within(name: str, params_b: float, limit_b: float) -> bool:
    """True where a model counts as one of at most limit_b billion parameters (SIZE_RULE)."""
    if params_b <= limit_b:
        return True
    named = named_size(name, params_b)
    if named is not None:
        return named <= limit_b
    decimals = len(f"{limit_b:.6f}".rstrip("0").partition(".")[2])
    return params_b < limit_b + 0.5 * 10**-decimals
