"""Settings (`REWARDBASE_*`) and the process environment of a run. Run as a program, it prints the settings."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dagster_project.lib import postgres, ray_jobs
from models_train import telemetry
from models_train.errors import UserError
from models_train.files import disk_problem, write_if_changed
from models_train.machine import MOST_DEFAULT_WORKERS, RAY, WORKERS, default_workers
from models_train.store import PARTS, StoreError, parts_at
from warehouse.paths import REPOSITORY, VARIABLE, Home
from warehouse.publish_remote import PUBLISH, refuse_among_parts

_MOST_HOURS = 10_000
PROJECT = Path(__file__).resolve().parent
STUDIES_VARIABLE = "REWARDBASE_STUDIES"
DBT_PROJECT = REPOSITORY / "dbt"
SEEDS = DBT_PROJECT / "seeds"

REPLACED = {
    "REWARDBASE_ALERT_WEBHOOK": "REWARDBASE_ALERTS=json://host/path (or jsons://, slack://, discord://, ...)",
    "REWARDBASE_ALERT_EMAIL": "REWARDBASE_ALERTS=mailtos://user:password@mail.example.org:465?to=me@example.org",
    "REWARDBASE_SMTP": "REWARDBASE_ALERTS=mailtos://user:password@mail.example.org:465?to=me@example.org",
}
"""Former settings that are no longer read, and what replaces them."""

# NumPy sets these while it is first imported and removes them again. dbt's threads read the environment meanwhile, and
# one that finds a name gone fails; NumPy leaves alone what is set already.
STEADY = {"OPENBLAS_MAIN_FREE": "1", "GOTOBLAS_MAIN_FREE": "1"}

QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
} | telemetry.OFF


def _about(variable: str, shown: str, text: str, parse: Callable[[str], Any] = str) -> dict[str, Any]:
    """Metadata of a field of `Settings`. shown: the default as the table shows it. parse: raises ValueError, which says
    what the text is not."""
    return {"variable": variable, "shown": shown, "text": text, "parse": parse}


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(f"{text}: there is no such user; write the whole path") from error


def _place(text: str) -> str:
    return str(parts_at(text))


def _from_1_to(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # Digits alone: int() takes 1_0 and the digits of other scripts, too.
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
            raise ValueError(f"is not a whole number from 1 to {most:,}")
        return int(text)

    return parse


def _hours(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not 0 < float(text) <= _MOST_HOURS:
        raise ValueError(f"is not a number above 0 and up to {_MOST_HOURS:,}, such as 3.5")
    return float(text)


@dataclass(frozen=True)
class Settings:
    """Everything that `REWARDBASE_*` variables set: one field per variable."""

    home: Path = field(
        default_factory=lambda: REPOSITORY / "var",
        metadata=_about(VARIABLE, "`var/`", "Folder of everything written at run time.", _folder),
    )
    studies: Path = field(
        default=PROJECT / "studies",
        metadata=_about(STUDIES_VARIABLE, "`dagster_project/studies/`", "Folder of the study files.", _folder),
    )
    parts: str = field(
        default="",
        metadata=_about(
            PARTS,
            "`parts/` in the home",
            "Where the parts are: a folder, or a bucket as `s3://bucket/folder`, `gs://` or `az://`; credentials are "
            "read from the environment ([buckets](warehouse/README.md#parts-and-snapshots-in-a-bucket)).",
            _place,
        ),
    )
    publish: str = field(
        default="",
        metadata=_about(
            PUBLISH,
            "none",
            "Where each snapshot is published for other machines, too: a folder or bucket, as above.",
            _place,
        ),
    )
    workers: int = field(
        default_factory=default_workers,
        metadata=_about(
            WORKERS, f"1; {MOST_DEFAULT_WORKERS} without a GPU", "Number of GPU tasks at a time.", _from_1_to(1000)
        ),
    )
    job_hours: float = field(
        default=48.0,
        metadata=_about("REWARDBASE_JOB_HOURS", "48", "Time limit of a GPU job, in hours.", _hours),
    )
    look_seconds: int = field(
        default=30,
        metadata=_about(
            "REWARDBASE_LOOK_SECONDS", "30", "Polling interval of sensors, in seconds.", _from_1_to(86_400)
        ),
    )
    ray: str = field(
        default="",
        metadata=_about(
            RAY,
            "none",
            "`auto`: the Ray cluster of this machine scores documents and trains. `http://host:8265`: jobs are sent to "
            "the cluster there ([clusters](dagster_project/deploy/README.md)).",
            ray_jobs.address,
        ),
    )
    postgres: str = field(
        default="",
        metadata=_about(
            postgres.VARIABLE,
            "none",
            f"Postgres database for Dagster's records, such as `{postgres.EXAMPLE}`; without it they are in the home. "
            "It is never shown or written ([when](dagster_project/README.md#postgres)).",
            postgres.address,
        ),
    )
    alerts: str = field(
        default="",
        metadata=_about(
            "REWARDBASE_ALERTS",
            "none",
            "Where alerts of failed runs and of a stale snapshot go: addresses of "
            "[apprise](https://github.com/caronc/apprise), separated by spaces, such as `json://`, `slack://` or "
            "`mailtos://`. They are never shown or written.",
        ),
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every variable; an empty one counts as not set. Raises UserError naming the variable that is wrong."""
        given = os.environ if environment is None else environment
        for variable, instead in REPLACED.items():
            if given.get(variable, "").strip():
                raise UserError(f"{variable} is no longer read; set {instead}")
        values = {}
        for one in fields(cls):
            about = one.metadata
            text = given.get(about["variable"], "").strip()
            if text:
                try:
                    values[one.name] = about["parse"](text)
                except StoreError as error:
                    raise StoreError(f"{about['variable']}: {error}") from None  # the text may hold a secret
                except ValueError as error:
                    raise UserError(
                        f"{about['variable']}={text} {error}; correct or unset it (default {about['shown']})"
                    ) from None
        return cls(**values)


def settings() -> Settings:
    """The settings of this process. Raises UserError."""
    return Settings.from_environment()


def settings_table() -> str:
    """The settings as a Markdown table."""
    rows = [(one.metadata["variable"], one.metadata["shown"], one.metadata["text"]) for one in fields(Settings)]
    lines = ["| Variable | Default | Meaning |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| `{variable}` | {shown} | {text} |" for variable, shown, text in rows)])


STUDIES = Path(os.path.abspath(os.path.expanduser(os.environ.get(STUDIES_VARIABLE, "").strip() or PROJECT / "studies")))
"""Folder of the study files of this process; `prepare` refuses one of a user that there is not."""


def prepare() -> Home:
    """Make the run-time folders and point Dagster and dbt at them; returns the home. Raises UserError.

    Settings that the caller's environment already has stay, except the home and the folder of study files, which
    are made absolute: dbt runs in another folder.
    """
    chosen = settings()
    if not STUDIES.is_dir():
        what = "is a file" if STUDIES.exists() else "is not there"
        raise UserError(f"{STUDIES}: the folder of the study files {what}; correct or unset {STUDIES_VARIABLE}")
    try:
        home = Home.from_environment().ensure()
        write_if_changed(home.dagster_home / "dagster.yaml", instance_file(chosen.postgres))
    except OSError as error:
        text = disk_problem(error, chosen.home) or str(error)
        raise UserError(f"{text} ({VARIABLE} names the folder of everything written)") from error
    os.environ[VARIABLE] = str(home.root)
    os.environ |= {name: place for name, place in ((PARTS, chosen.parts), (PUBLISH, chosen.publish)) if place}
    refuse_among_parts(home.root)
    os.environ[STUDIES_VARIABLE] = str(STUDIES)
    if chosen.postgres:
        os.environ[postgres.VARIABLE] = chosen.postgres  # with its driver: Dagster takes it from here
    for name, value in (QUIET | STEADY).items():
        os.environ.setdefault(name, value)
    # Every program that is started takes the code of this checkout, also where it was copied or moved with its
    # environment, which names the place that it was made in.
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if named[0] != str(REPOSITORY):
        os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, named)])
    # dagster-dbt looks for dbt on the path.
    programs = str(Path(sys.executable).parent)
    if programs not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([programs, os.environ.get("PATH", os.defpath)])
    os.environ["DAGSTER_HOME"] = str(home.dagster_home)
    os.environ["DBT_TARGET_PATH"] = str(home.dbt_target)
    os.environ["DBT_LOG_PATH"] = str(home.dbt_logs)
    return home


def instance_file(postgres_url: str = "") -> str:
    """Text of the settings of the Dagster instance. postgres_url: of the database of its records, if it has one."""
    names = ("instance.yaml", "postgres.yaml") if postgres_url else ("instance.yaml",)
    return "".join((PROJECT / name).read_text(encoding="utf-8") for name in names)


if __name__ == "__main__":
    print(settings_table())
