"""Checksums of what is published: `SHA256SUMS` in the folder of the snapshots and in that of the reports.

The files have the format of the program `sha256sum`, so that `sha256sum --check SHA256SUMS` compares them, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from models_train.files import sha256, write_text

NAME = "SHA256SUMS"
"""File with the checksums of other files of its folder."""


def write_checksums(folder: Path, files: Iterable[Path]) -> None:
    """Record the checksums of files in and below a folder, in place of those recorded before."""
    lines = (f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in sorted(files))
    write_text(folder / NAME, "".join(lines))


def damage(folder: Path, wanted: Path) -> str | None:
    """The first difference between a folder and its checksums, as `<file> is damaged`; None where there is none.

    wanted: a file that must have a checksum. Files without one do not count, nor does a changed time.
    """
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    recorded = {folder / name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if wanted not in recorded:
        return f"{wanted.name} has no checksum on record" if wanted.exists() else f"{wanted.name} is missing"
    for path, digest in recorded.items():
        try:
            if sha256(path) != digest:
                return f"{path.name} is damaged: its content is not what was written"
        except OSError:
            return f"{path.name} is missing or cannot be read"
    return None


def damage_of_pictures(folder: Path) -> str | None:
    """The first difference between the pictures of the charts and their checksums, as above; None without charts."""
    specs = sorted(folder.glob("*.json"))
    return damage(folder, specs[0].with_suffix(".svg")) if specs else None
