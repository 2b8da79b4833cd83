"""Names of models that do harm where somebody forgets to escape them: in SQL, a path, a page, a shell, a terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path

SQL = "'; drop table dim_base_models; --"
PATH = "../../etc/x"
PAGE = "<script>alert(1)</script>"
SHELL = '$(touch hacked) `touch hacked` "; touch hacked; #'
EMOJI = "🤖-8B"
LONGEST = "n" * 200
ALLOWED = (SQL, PATH, PAGE, SHELL, EMOJI, LONGEST)

REFUSED = {
    "n" * 300: "is 300 characters long; at most 200 are allowed",
    "👩‍💻": "holds a control or invisible character",  # three characters, one of them a joiner
    "a\u202eb": "holds a control or invisible character",  # writes on from right to left
    "a\x1b[2Jb": "holds a control or invisible character",  # clears a terminal
    "a\nb": "holds a control or invisible character",
    " a": "begins or ends with a space",
    "": "is empty",
}
"""Name -> what is said of it."""

RENAMED = {
    "gemma-2-2b-it": SQL,
    "Qwen2.5-3B-Instruct": PATH,
    "Qwen2.5-7B-Instruct": PAGE,
    "Llama-3.1-8B": SHELL,
    "Llama-3.1-8B-Instruct": EMOJI,
    "Llama-3.2-3B-Instruct": LONGEST,
}
"""Models of the small study and what they are called there."""


def rename_models(project: Path) -> None:
    """Give models of a project's published study bad names, in the study file and in all seeds."""
    study = project / "dagster_project" / "studies" / "published.yaml"
    text = study.read_text()
    for old, new in RENAMED.items():
        quoted = json.dumps(new, ensure_ascii=False)
        text, n = re.subn(rf"\b(model_id|default|parent): {re.escape(old)}(?=[,\s}}])", rf"\1: {_plain(quoted)}", text)
        assert n
    study.write_text(text)
    for seed in (project / "dbt" / "seeds").glob("*.csv"):
        lines = seed.read_text().splitlines(keepends=True)
        for number, line in enumerate(lines):
            name, comma, rest = line.partition(",")
            if name in RENAMED and lines[0].startswith("model_id,"):
                quoted = RENAMED[name].replace('"', '""')
                lines[number] = f'"{quoted}"{comma}{rest}'
        seed.write_text("".join(lines))


def _plain(text: str) -> str:
    """Without meaning to `re.sub`."""
    return text.replace("\\", "\\\\")
