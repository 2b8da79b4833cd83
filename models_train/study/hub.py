"""Hub query of a study: the settings, the search on the hub, and the answer kept on disk. Torch-free.

The answer is kept in `<run-time folder>/hub_models/<study_id>.json` and is part of the study at each load. The file's
time is that of the last search; its content changes only with the models found.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from models_train.errors import UserError, first_line
from models_train.files import write_text
from models_train.parts import content_hash
from models_train.study.models import SizeGroup, StudyModel
from models_train.study.settings import (
    LONGEST_NAME,
    Count,
    CountOrZero,
    Distinct,
    Name,
    NotNegative,
    Positive,
    Settings,
    Stage,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo
    from huggingface_hub.hf_api import ExpandModelProperty_T

HOME = "REWARDBASE_HOME"
"""Environment variable of the run-time folder, for callers that do not give it."""
TASK = "text-generation"
"""The hub's name for models that generate text."""
WANTED: list[ExpandModelProperty_T] = [
    "cardData",
    "config",
    "downloads",
    "pipeline_tag",
    "safetensors",
    "sha",
    "tags",
]
"""Properties of a model asked of the hub."""
SECONDS_BETWEEN_ATTEMPTS = (1, 2, 4)
"""Pauses between attempts to ask a hub that is out of order, in seconds."""
OUT_OF_ORDER = range(500, 600)
"""Statuses of the answers of a hub that is out of order."""
_ABBREVIATED = re.compile(r"[0-9a-f]{7,39}")

Answer = TypeVar("Answer")


class HubQuery(Settings):
    """Query for models of publishers or collections on a hub, which the environment variable HF_ENDPOINT names.

    The hub must say that a model generates text and has safetensors. The models are trained like the study's own.
    """

    publishers: Annotated[tuple[Name, ...], Field(strict=False), Distinct] = ()
    """Publishers whose models are searched."""
    collections: Annotated[tuple[Name, ...], Field(strict=False), Distinct] = ()
    """Collections whose models are searched."""
    min_params_b: NotNegative = 0.0
    """Least size, in billions of parameters."""
    max_params_b: Positive
    """Largest size, in billions of parameters."""
    licences: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct]
    """Licences allowed, as the hub names them, such as `apache-2.0`."""
    min_downloads: CountOrZero = 0
    """Least number of downloads in the last 30 days."""
    most_models: Count = 20
    """Most models taken; the most downloaded ones come first."""
    stage: Stage = "base"
    """Training stage of the models found; a hub does not state it."""
    refresh_hours: Positive = 24.0
    """Time after which the hub is asked again, in hours."""

    @model_validator(mode="after")
    def _asks_somewhere(self) -> Self:
        if not self.publishers and not self.collections:
            raise PydanticCustomError("hub", "names neither publishers nor collections; list at least one")
        if self.min_params_b > self.max_params_b:
            raise PydanticCustomError("hub", "has min_params_b above max_params_b; swap or correct them")
        return self

    @property
    def name(self) -> str:
        """Hash of all settings that decide which models are found."""
        return content_hash({"query": self.model_dump(exclude={"refresh_hours"})})


def asked(ask: Callable[[], Answer], again: Collection[int] = OUT_OF_ORDER) -> Answer:
    """The hub's answer; it is asked again, after a pause, where it answers one of these statuses.

    For requests that its client does not repeat by itself.
    """
    from huggingface_hub.errors import HfHubHTTPError, RevisionResolutionError  # here, as in search

    for seconds in SECONDS_BETWEEN_ATTEMPTS:
        try:
            return ask()
        except (HfHubHTTPError, RevisionResolutionError) as error:
            response = getattr(error.__cause__ or error, "response", None)
            if response is None or response.status_code not in again:
                raise
            time.sleep(seconds)
    return ask()


def commit_of(
    hub: HfApi, repo_id: str, revision: str | None, again: Collection[int] = OUT_OF_ORDER, repo_type: str | None = None
) -> str:
    """The commit of a branch, tag or abbreviated commit, the newest without a revision; the cache's where the hub
    cannot be asked. Raises the errors of the hub's client."""
    from huggingface_hub.errors import RevisionNotFoundError  # here, as in search

    try:
        return asked(partial(hub.resolve_revision, repo_id, revision=revision, repo_type=repo_type), again).resolved
    except RevisionNotFoundError:
        if not _ABBREVIATED.fullmatch(revision or ""):
            raise
        commits = [one.commit_id for one in hub.list_repo_commits(repo_id, repo_type=repo_type)]
        found = [commit for commit in commits if commit.startswith(revision or "")]
        if len(found) != 1:
            raise
        return found[0]


def search(query: HubQuery) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Settings of the models that match the query, the most downloaded first; and how many were left out, by reason.

    Settings are those of a StudyModel without its `model_id`. Raises UserError where the hub cannot be asked, or does
    not know a publisher or collection.
    """
    from huggingface_hub import HfApi  # here, since the published study runs without the hub's client

    hub = HfApi()
    found: dict[str, dict[str, Any]] = {}
    left_out: Counter[str] = Counter()
    for info in _candidates(hub, query):
        reason = _reason_to_skip(info, query)
        if reason is not None:
            left_out[reason] += 1
        elif info.id not in found:
            found[info.id] = _settings(info, query)
    ranked = sorted(found.values(), key=lambda model: (-(model["downloads"] or 0), model["hub_id"]))
    if len(ranked) > query.most_models:
        left_out[f"beyond the {query.most_models} most downloaded ones"] = len(ranked) - query.most_models
    return ranked[: query.most_models], left_out


def _candidates(hub: HfApi, query: HubQuery) -> Iterator[ModelInfo]:
    for publisher in query.publishers:
        try:
            yield from hub.list_models(author=publisher, pipeline_tag=TASK, expand=WANTED)
        except Exception as error:
            raise _unreachable(hub, f"publisher {publisher}", error) from error
    for slug in query.collections:
        try:
            for item in hub.get_collection(slug).items:
                if item.item_type == "model":
                    yield hub.model_info(item.item_id, expand=WANTED)
        except Exception as error:
            raise _unreachable(hub, f"collection {slug}", error) from error


def _unreachable(hub: HfApi, what: str, error: Exception) -> UserError:
    return UserError(
        f"{what}: {hub.endpoint} could not be asked: {first_line(error)}. The models of the last answer are kept. "
        "Check the group `hub` in the study file, the network, and HF_ENDPOINT"
    )


def _reason_to_skip(info: ModelInfo, query: HubQuery) -> str | None:
    """Reason why this model does not match the query, or None."""
    params = _params_b(info)
    tags = info.tags or []
    if info.pipeline_tag != TASK:
        return "does not generate text"
    if params is None:
        return "no safetensors, or of unknown size"
    if not query.min_params_b <= params <= query.max_params_b:
        return "size outside the limits"
    if _licence(info) not in query.licences:
        return "licence not in the list"
    if (info.downloads or 0) < query.min_downloads:
        return "too few downloads"
    if "custom_code" in tags:
        return "runs code of the repository; list it in the study file to allow that"
    if (info.config or {}).get("quantization_config"):
        return "quantized"
    if not info.sha or len(info.id) > LONGEST_NAME or not info.id.isprintable():
        return "no commit, or a name that cannot be used"
    return None


def _settings(info: ModelInfo, query: HubQuery) -> dict[str, Any]:
    return {
        "hub_id": info.id,
        "revision": info.sha,
        "publisher": info.id.split("/")[0],
        "family": (info.config or {}).get("model_type") or "unknown",
        "params_b": _params_b(info),
        "stage": query.stage,
        "licence": _licence(info),
        "downloads": info.downloads,
    }


def _params_b(info: ModelInfo) -> float | None:
    total = info.safetensors.total if info.safetensors else None
    return total / 1e9 if total else None


def _licence(info: ModelInfo) -> str | None:
    """The hub's name of the licence: of the tags, which the hub derives, or else of the card."""
    tagged = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    stated = info.card_data.get("license") if info.card_data else None
    return tagged[0] if tagged else stated if isinstance(stated, str) else None


def found_file(home: Path, study_id: str) -> Path:
    """File of the last answer to a study's hub query."""
    return home / "hub_models" / f"{study_id}.json"


def found_models(study_id: str, query: HubQuery, home: Path | None = None) -> list[dict[str, Any]]:
    """Settings of the models in the last answer to this query; none where there is no answer.

    home: the run-time folder, else the one that REWARDBASE_HOME names. An unreadable file counts as no answer: the hub
    is asked again.
    """
    place = home or (Path(named) if (named := os.environ.get(HOME, "").strip()) else None)
    kept = _read(found_file(place, study_id)) if place else {}
    return list(kept["models"]) if kept.get("query") == query.name else []


def keep_found(home: Path, study_id: str, query: HubQuery, models: Iterable[Mapping[str, Any]]) -> bool:
    """Keep the answer to a query; returns whether it differs from the last one."""
    path = found_file(home, study_id)
    content = {"query": query.name, "models": [dict(model) for model in models]}
    if _read(path) == content:
        os.utime(path)
        return False
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return True


def is_due(home: Path, study_id: str, query: HubQuery, now: float | None = None) -> bool:
    """True where this query was not answered within `refresh_hours` of now; an answer dated further ahead counts as
    old. now: seconds since 1970, for tests."""
    path = found_file(home, study_id)
    if _read(path).get("query") != query.name:
        return True
    age = (time.time() if now is None else now) - path.stat().st_mtime
    return abs(age) > query.refresh_hours * 3600


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    is_whole = isinstance(kept, dict) and isinstance(kept.get("models"), list)
    return kept if is_whole else {}


def usable_models(
    found: Iterable[Mapping[str, Any]], listed: Iterable[StudyModel], groups: Iterable[SizeGroup]
) -> list[StudyModel]:
    """The models of an answer that the study can use. listed: all models of the study file.

    Models that the study lists itself (by hub id) or that lie in no size group are left out. A model whose name is
    taken gets its whole hub id as its name.
    """
    hub_ids, names = {model.hub_id for model in listed}, {model.model_id for model in listed}
    usable = []
    for settings in found:
        hub_id, params_b = str(settings.get("hub_id")), settings.get("params_b")
        if hub_id in hub_ids or not (params_b is None or any(group.holds(params_b) for group in groups)):
            continue
        name = hub_id.split("/")[-1]
        try:
            model = StudyModel.model_validate({**settings, "model_id": hub_id if name in names else name})
        except ValidationError:
            continue  # the job find_models reports their number
        usable.append(model)
        hub_ids.add(hub_id)
        names.add(model.model_id)
    return usable
