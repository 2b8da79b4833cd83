"""`python -m dagster_project.cli.lab_teachers`: the lab in which every reward model teaches every policy.

It has a home of its own, `<home>/lab_teachers`, which begins with what `make run` made: lab, reward models and parts.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from dagster_project import environment
from models_train.errors import UserError
from models_train.files import write_if_changed
from warehouse.paths import VARIABLE

LAB = environment.PROJECT / "studies" / "lab.yaml"
LONG_FORM: dict[str, Any] = {"method": ["rloo", "grpo"], "seeds": [0, 1, 2]}
"""Settings of `teach` in place of the lab's; all policies and reward models are taken, and the gold reward."""
KEPT = ("steps", "prompts_per_step", "generations", "learning_rate", "kl")
_BEGUN = ("lab", "reward_models", "parts")
"""Folders of the home that the long form begins with."""


def main() -> None:
    """Hand over to the command of `make run`, with a home and a study folder of its own."""
    try:
        home = environment.prepare().root
        own = home / "lab_teachers"
        begin(home, own)
        write_if_changed(own / "studies" / "lab.yaml", long_form(LAB.read_text(encoding="utf-8")))
    except UserError as error:
        sys.exit(str(error))
    os.environ |= {VARIABLE: str(own), environment.STUDIES_VARIABLE: str(own / "studies")}
    os.execv(sys.executable, [sys.executable, "-m", "dagster_project.cli.run"])


def long_form(text: str) -> str:
    """The lab's study file with LONG_FORM."""
    study = yaml.safe_load(text)
    teach = study["teachers"]["teach"]
    study["teachers"]["teach"] = {name: teach[name] for name in KEPT if name in teach} | LONG_FORM
    return str(yaml.safe_dump(study, sort_keys=False, allow_unicode=True))


def begin(home: Path, own: Path) -> None:
    """Give the long form what the home has, by hard links, where it has none of its own yet."""
    for name in _BEGUN:
        if (home / name).is_dir() and not (own / name).exists():
            shutil.copytree(home / name, own / name, copy_function=os.link)


if __name__ == "__main__":
    main()
