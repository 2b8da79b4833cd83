"""Secrets that every run of the tests has in its environment, and where they are found afterwards: nowhere."""

from __future__ import annotations

from pathlib import Path

SECRETS = {
    "HF_TOKEN": "hf_NotARealTokenButOneThatMustNotBeSeen",
    "REWARDBASE_ALERTS": "json://user:NotARealPasswordButOneThatMustNotBeSeen@127.0.0.1:9/alerts",
}
"""Variable -> value. (Nothing listens at the address of the alerts.)"""

MARK = "ThatMustNotBeSeen"
"""What all of them have in them, and nothing else."""


def files_with_secrets(folder: Path) -> list[str]:
    """Files below a folder that hold the telling part of one of SECRETS, in their name or in their bytes."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if MARK in path.name or (path.is_file() and MARK.encode() in path.read_bytes())
    ]
