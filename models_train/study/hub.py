"""A study's standing question to a hub: which of its models are base models of the study. Torch-free.

What was found is kept in `<run-time folder>/hub_models/<study_id>.json`, and is part of the study whenever that is
loaded. The file's time is when the hub was last asked; its content changes only with what was found.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from models_train.parts import content_hash
from models_train.study.settings import Count, Distinct, Name, NotNegative, Positive, Settings, Stage

HOME = "REWARDBASE_HOME"
"""Environment variable that names the run-time folder, where the caller does not."""


class HubQuery(Settings):
    """Models of publishers or collections of a hub, which the environment variable HF_ENDPOINT names.

    A model is taken where the hub says that it generates text, has safetensors, has at least `min_params_b` and at
    most `max_params_b` billion parameters, a licence out of `licences` (the hub's names, such as `apache-2.0`) and
    `min_downloads` downloads in the last 30 days; of those, the `most_models` most downloaded ones. `stage` is what the
    study takes them for: a hub does not say it. They are reward-modelled like the study's own models.
    """

    publishers: Annotated[tuple[Name, ...], Field(strict=False), Distinct] = ()
    collections: Annotated[tuple[Name, ...], Field(strict=False), Distinct] = ()
    min_params_b: NotNegative = 0.0
    max_params_b: Positive
    licences: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct]
    min_downloads: Annotated[int, Field(ge=0)] = 0
    most_models: Count = 20
    stage: Stage = "base"
    refresh_hours: Positive = 24.0

    @model_validator(mode="after")
    def _asks_somewhere(self) -> Self:
        if not self.publishers and not self.collections:
            raise PydanticCustomError("hub", "names neither publishers nor collections; list at least one")
        if self.min_params_b > self.max_params_b:
            raise PydanticCustomError("hub", "has min_params_b above max_params_b; swap or mend them")
        return self

    @property
    def name(self) -> str:
        """Hash of all that decides what is found."""
        return content_hash({"query": self.model_dump(exclude={"refresh_hours"})})


def found_file(home: Path, study_id: str) -> Path:
    """File of what the hub had for a study."""
    return home / "hub_models" / f"{study_id}.json"


def found_models(study_id: str, query: HubQuery, home: Path | None = None) -> list[dict[str, Any]]:
    """Settings of the models that the last answer to this query held; none where it was never answered.

    home: the run-time folder, else the one that REWARDBASE_HOME names. A file that cannot be read counts as none: the
    hub is asked again.
    """
    place = home or (Path(named) if (named := os.environ.get(HOME, "").strip()) else None)
    kept = _read(found_file(place, study_id)) if place else {}
    return list(kept["models"]) if kept.get("query") == query.name else []


def keep_found(home: Path, study_id: str, query: HubQuery, models: Iterable[Mapping[str, Any]]) -> bool:
    """Keep the answer to a query, whole or not at all; returns whether it differs from the last one."""
    path = found_file(home, study_id)
    content = {"query": query.name, "models": [dict(model) for model in models]}
    if _read(path) == content:
        os.utime(path)
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return True


def is_due(home: Path, study_id: str, query: HubQuery, now: float | None = None) -> bool:
    """True where this query was not answered within its `refresh_hours`. now: seconds since 1970, for tests."""
    path = found_file(home, study_id)
    if _read(path).get("query") != query.name:
        return True
    return (time.time() if now is None else now) - path.stat().st_mtime > query.refresh_hours * 3600


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(kept, dict) and isinstance(kept.get("models"), list)
    return kept if is_whole else {}


def merged(study: Mapping[str, Any], found: Iterable[Mapping[str, Any]], model_class: type[Settings]) -> list[Any]:
    """Of the models that were found, those that the study can take, as `model_class`.

    study: its settings. Left out are models that it lists itself (by hub id), and such that lie in no size group. One
    whose name is taken already is called by its whole hub id.
    """
    listed = [*study["models"], *study["candidates"]]
    hub_ids, names = {model["hub_id"] for model in listed}, {model["model_id"] for model in listed}
    taken = []
    for settings in found:
        hub_id = str(settings.get("hub_id"))
        if hub_id in hub_ids or not _has_a_group(study["size_groups"], settings.get("params_b")):
            continue
        name = hub_id.split("/")[-1]
        try:
            model = model_class.model_validate({**settings, "model_id": hub_id if name in names else name})
        except ValidationError:
            continue  # the job that finds models says which it cannot use
        taken.append(model)
        hub_ids.add(hub_id)
        names.add(model.model_dump()["model_id"])
    return taken


def _has_a_group(groups: Iterable[Mapping[str, Any]], params_b: float | None) -> bool:
    return params_b is None or any(
        group["params_b_from"] <= params_b and (group["params_b_below"] is None or params_b < group["params_b_below"])
        for group in groups
    )
