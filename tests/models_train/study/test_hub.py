"""Base models that a hub has for a study: found over HTTP, kept, merged with the study file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import constants

from models_train.errors import UserError
from models_train.jobs import find_models
from models_train.jobs.reporting import may_pass
from models_train.study.hub import HubQuery, found_file, is_due, search
from models_train.study.study import Study, load_study
from models_train.study.yaml_lines import StudyError
from tests.support.hub_server import Hub, served

COMMITS = ["a" * 40, "b" * 40]
QUERY: dict[str, Any] = {"publishers": ["acme"], "max_params_b": 4, "licences": ["apache-2.0", "mit"]}


def model(name: str, params: float | None = 1e9, licence: str | None = "mit", **more: Any) -> dict[str, Any]:
    """What the hub says of a model."""
    own: dict[str, Any] = {"id": name, "sha": COMMITS[0], "downloads": 100, "pipeline_tag": "text-generation"}
    own |= {"tags": [f"license:{licence}"] if licence else [], "config": {"model_type": "llama"}}
    if params is not None:
        own["safetensors"] = {"parameters": {"BF16": int(params)}, "total": int(params)}
    return own | more


class Said(list[str]):
    def say(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with served({}) as running:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Path]:
    """Writes a study file with a hub query; changes of the query as keywords."""

    def write(**query: Any) -> Path:
        listed = {"model_id": "own", "hub_id": "acme/listed", "family": "f", "publisher": "p", "params_b": 1.0}
        data = {
            "study_id": "mine",
            "title": "Mine",
            "synthetic": False,
            "source": "here",
            "size_groups": [{"name": "small", "params_b_from": 0, "params_b_below": 3, "default": "own"}],
            "models": [listed | {"stage": "base"}],
            "hub": QUERY | query,
        }
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(data))
        return path

    return write


def names(found: Study) -> list[str]:
    return [one.model_id for one in found.models]


def test_a_query_takes_what_it_means_and_says_what_it_leaves_out(hub: Hub) -> None:
    hub.models = [
        model("acme/good", downloads=5),
        model("acme/better", downloads=50, licence="apache-2.0"),
        model("acme/large", 5e9),
        model("acme/closed", licence="other"),
        model("acme/unknown", None),
        model("acme/unlicensed", licence=None),
        model("acme/rare", downloads=4),
        model("acme/pictures", pipeline_tag="text-to-image"),
        model("acme/coded", tags=["license:mit", "custom_code"]),
        model("acme/squeezed", config={"quantization_config": {"bits": 4}}),
        model("other/good"),
    ]
    found, left_out = search(HubQuery.model_validate(QUERY | {"min_downloads": 5}))
    assert found == [
        {"hub_id": "acme/better", "revision": COMMITS[0], "publisher": "acme", "family": "llama", "params_b": 1.0}
        | {"stage": "base", "licence": "apache-2.0", "downloads": 50},
        {"hub_id": "acme/good", "revision": COMMITS[0], "publisher": "acme", "family": "llama", "params_b": 1.0}
        | {"stage": "base", "licence": "mit", "downloads": 5},
    ]
    assert sum(left_out.values()) == 8 and left_out["licence not in the list"] == 2
    assert sum("GET /api/models" in path for path in hub.asked) == 5, "page after page"


def test_a_collection_is_asked_for_model_by_model(hub: Hub) -> None:
    hub.models = [model("acme/one"), model("else/two", downloads=7), model("else/three")]
    hub.collections = {"acme/best-1": ["acme/one", "else/two"]}
    query = {"collections": ["acme/best-1"], "max_params_b": 2.0, "licences": ["mit"], "most_models": 1}
    found, left_out = search(HubQuery.model_validate(query))
    assert [one["hub_id"] for one in found] == ["acme/one"]
    assert left_out == {"beyond the 1 most downloaded ones": 1}


def test_what_was_found_is_part_of_the_study(hub: Hub, study: Callable[..., Path], tmp_path: Path) -> None:
    path, home, said = study(), tmp_path / "home", Said()
    assert names(load_study(path, home)) == ["own"]
    hub.models = [model("acme/listed"), model("acme/new"), model("acme/own", downloads=3), model("acme/big", 3.5e9)]
    figures = find_models.run(path, home, said)  # type: ignore[arg-type]
    assert (figures["rows"], figures["not taken"]) == (4, 1)
    found = load_study(path, home)
    assert names(found) == ["own", "new", "acme/own"], "the study's own model stays; a taken name is written out"
    new = found.by_id["new"]
    assert (new.revision, new.publisher, new.params_b, new.licence, new.downloads, new.tokens_t) == (
        COMMITS[0], "acme", 1.0, "mit", 100, None,
    )  # fmt: skip
    assert new.is_compared and "mine: acme/new: new" in said

    hub.models[1]["sha"] = COMMITS[1]
    del hub.models[2]
    find_models.run(path, home, said)  # type: ignore[arg-type]
    assert said[-3:-1] == ["mine: acme/new: a new revision", "mine: acme/own: gone"]
    assert load_study(path, home).by_id["new"].revision == COMMITS[1]


def test_a_failing_hub_is_reported_and_the_last_answer_stays(
    hub: Hub, study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, home = study(), tmp_path / "home"
    hub.models = [model("acme/new")]
    find_models.run(path, home, Said())  # type: ignore[arg-type]
    hub.broken = True
    waits: list[float] = []
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", waits.append)
    with pytest.raises(UserError, match=r"publisher acme: http://127.*kept.*HF_ENDPOINT") as told:
        find_models.run(path, home, Said())  # type: ignore[arg-type]
    assert may_pass(told.value) and waits == sorted(waits) and len(waits) > 2, "after tries further and further apart"
    assert names(load_study(path, home)) == ["own", "new"]
    hub.broken = False
    with pytest.raises(UserError, match="collection acme/none") as told:
        search(HubQuery(collections=("acme/none",), max_params_b=1.0, licences=("mit",)))
    assert not may_pass(told.value), "a name that the hub does not know does not pass"


def test_the_answer_is_kept_whole_and_asked_for_again_in_time(
    hub: Hub, study: Callable[..., Path], tmp_path: Path
) -> None:
    path, home = study(refresh_hours=2), tmp_path / "home"
    query = load_study(path, home).hub
    assert query is not None and is_due(home, "mine", query)
    hub.models = [model("acme/new")]
    find_models.run(path, home, Said())  # type: ignore[arg-type]
    kept = found_file(home, "mine")
    content, asked = kept.read_bytes(), kept.stat().st_mtime
    assert not is_due(home, "mine", query) and is_due(home, "mine", query, now=asked + 7201)
    assert not is_due(home, "mine", query, now=asked - 60) and is_due(home, "mine", query, now=asked - 7201)
    os.utime(kept, (1, 1))
    find_models.run(path, home, Said())  # type: ignore[arg-type]
    assert kept.read_bytes() == content and time.time() - kept.stat().st_mtime < 60
    assert [file.name for file in kept.parent.iterdir()] == ["mine.json"]
    # Another question has another answer; a damaged file has none.
    other = load_study(study(min_downloads=1), home)
    assert names(other) == ["own"] and other.hub is not None and is_due(home, "mine", other.hub)
    kept.write_text(json.dumps(["no answer"]))
    assert is_due(home, "mine", query) and names(load_study(study(), home)) == ["own"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"publishers": []}, "names neither publishers nor collections"),
        ({"min_params_b": 5}, "has min_params_b above max_params_b"),
        ({"licences": []}, "hub.licences"),
        ({"max_params_b": "4"}, "must be a number"),
        ({"min_download": 4}, "did you mean 'min_downloads'"),
    ],
)
def test_a_bad_query_is_refused_with_the_remedy(
    study: Callable[..., Path], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(StudyError) as refused:
        load_study(study(**changes))
    assert words in str(refused.value)
