"""Asking a hub for the models that a study's hub query means. What the hub does not know stays unknown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from huggingface_hub import HfApi, ModelInfo
from huggingface_hub.hf_api import ExpandModelProperty_T

from models_train.study.hub import HubQuery
from models_train.study.settings import LONGEST_NAME

TASK = "text-generation"
WANTED: list[ExpandModelProperty_T] = [
    "cardData",
    "config",
    "downloads",
    "pipeline_tag",
    "safetensors",
    "sha",
    "tags",
]


class HubError(RuntimeError):
    """A hub could not be asked, or does not know a publisher or collection. The message says which and what to do."""


def search(query: HubQuery) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Settings of the models that the query means, the most downloaded first; and how many were left out, by reason.

    Settings are those of a StudyModel without its `model_id`. Raises HubError.
    """
    hub = HfApi()
    found: dict[str, dict[str, Any]] = {}
    left_out: Counter[str] = Counter()
    for info in _candidates(hub, query):
        reason = _objection(info, query)
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
            raise _told(hub, f"publisher {publisher}", error) from error
    for slug in query.collections:
        try:
            for item in hub.get_collection(slug).items:
                if item.item_type == "model":
                    yield hub.model_info(item.item_id, expand=WANTED)
        except Exception as error:
            raise _told(hub, f"collection {slug}", error) from error


def _told(hub: HfApi, what: str, error: Exception) -> HubError:
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return HubError(
        f"{what}: {hub.endpoint} could not be asked: {first} The models that it named before are kept. Check the group "
        "`hub` in the study file, the network, and HF_ENDPOINT"
    )


def _objection(info: ModelInfo, query: HubQuery) -> str | None:
    """Why the query does not mean this model, or None."""
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
        return "runs code of its own; list it in the study file to allow that"
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
