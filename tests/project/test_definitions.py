"""Every citation of a formula, "definitions, Section N", names a section of dbt/docs/definitions.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEFINITIONS = "dbt/docs/definitions.md"
# A citation may be broken by the end of a line, with the comment sign or indentation of the next one.
CITATION = re.compile(r"definitions?,?[\s#-]+(?:Section[\s#-]+)?(\d+)", flags=re.IGNORECASE)


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    files = [REPOSITORY / name for name in done.stdout.splitlines() if name.endswith((".py", ".sql", ".yml", ".md"))]
    return [path for path in files if path.exists() and path != Path(__file__)]


def test_every_cited_section_exists() -> None:
    sections = set(re.findall(r"^## (\d+)\. ", (REPOSITORY / DEFINITIONS).read_text(), flags=re.MULTILINE))
    cited = [(path, found) for path in tracked() for found in CITATION.findall(path.read_text())]
    assert len(cited) > 20
    assert [f"{path.relative_to(REPOSITORY)}: {found}" for path, found in cited if found not in sections] == []
