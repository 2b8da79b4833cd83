"""`python -m dagster_project.cli.lab_teachers`: the lab in which every reward model teaches.

By default each teaches the policy of the study file once by RLOO; `--whole` adds all policies, GRPO and further seeds.
It has a home of its own, `<home>/lab_teachers`, which begins with what `make run` made: lab, reward models and parts.
What was interrupted goes on, and `--whole` takes over the runs that are there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dagster_project import environment
from models_train.errors import UserError
from models_train.files import atomic_path, write_if_changed
from warehouse.paths import VARIABLE

LAB = environment.PROJECT / "studies" / "lab.yaml"
SHORT_FORM: dict[str, Any] = {"method": ["rloo"], "seeds": [0]}
"""Settings of `teach` in place of the lab's, on the same policies; all reward models are taken, and the gold reward."""
WHOLE: dict[str, Any] = {"method": ["rloo", "grpo"], "seeds": [0, 1, 2]}
"""The same, on all policies."""
CRITIQUES: dict[str, Any] = {"samples": [1, 4, 16], "response_samples": 1, "tries": 4}
"""Settings of critiques in place of the lab's."""
KEPT = ("steps", "prompts_per_step", "generations", "learning_rate", "kl")
_BEGUN = ("lab", "reward_models", "parts")
"""Folders of the home that the long form begins with."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Hand over to the command of `make run`, with a home and a study folder of its own."""
    parser = argparse.ArgumentParser(prog="python -m dagster_project.cli.lab_teachers", description=__doc__)
    parser.add_argument("--whole", action="store_true", help="all policies, RLOO and GRPO, three seeds")
    whole = parser.parse_args(arguments).whole
    try:
        home = environment.prepare().root
        own = home / "lab_teachers"
        begin(home, own)
        write_if_changed(own / "studies" / "lab.yaml", long_form(LAB.read_text(encoding="utf-8"), whole=whole))
    except UserError as error:
        sys.exit(str(error))
    os.environ |= {VARIABLE: str(own), environment.STUDIES_VARIABLE: str(own / "studies")}
    os.execv(sys.executable, [sys.executable, "-m", "dagster_project.cli.run"])


def long_form(text: str, *, whole: bool) -> str:
    """The lab's study file in which all reward models teach, and score what is said, and with CRITIQUES."""
    study = yaml.safe_load(text)
    teachers = study["teachers"]
    teachers.pop("rewards", None)
    kept = KEPT if whole else (*KEPT, "policies")
    teach = {name: value for name, value in teachers["teach"].items() if name in kept}
    teachers["teach"] = teach | (WHOLE if whole else SHORT_FORM)
    study["training"]["critique"] |= CRITIQUES
    return str(yaml.safe_dump(study, sort_keys=False, allow_unicode=True))


def begin(home: Path, own: Path) -> None:
    """Give the long form what the home has, by hard links, where it has none of its own yet."""
    for name in _BEGUN:
        if (home / name).is_dir() and not (own / name).exists():
            with atomic_path(own / name) as beside:
                shutil.copytree(home / name, beside, copy_function=os.link)


if __name__ == "__main__":
    main()
