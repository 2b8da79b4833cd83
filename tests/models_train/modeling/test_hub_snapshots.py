"""Models of a hub: the snapshot at the commit is loaded and nothing else; errors of the hub say what to do."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import constants, hf_hub_download
from safetensors.torch import save
from transformers import AutoModelForCausalLM

from models_train.errors import UserError
from models_train.jobs.training_job import model_of
from models_train.modeling.base_models import ModelSource, load_config, load_model, load_tokenizer, model_source
from models_train.study.fingerprints import model_identity
from models_train.study.models import StudyModel
from models_train.study.study import load_study
from tests.support.hub_server import COMMIT, Hub
from tests.support.tiny_models import write_base

LATER = "89" * 20


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's client waits 23 s in all between its attempts."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def source_of(study_folder: Path, hub_id: str = "org/m", **settings: Any) -> ModelSource:
    settings |= {"model_id": "tiny", "hub_id": hub_id, "family": "Llama", "stage": "base"}
    return model_source(StudyModel.model_validate(settings), study_folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama."""
    return write_base(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def study(tmp_path: Path) -> Callable[[str | None], Path]:
    """Writes a study file with org/m at a revision."""

    def write(revision: str | None) -> Path:
        model = {"model_id": "tiny", "hub_id": "org/m", "revision": revision, "publisher": "p", "family": "f"}
        settings = {
            "study_id": "mine",
            "title": "Mine",
            "synthetic": False,
            "source": "test",
            "size_groups": [{"name": "all", "params_b_from": 0, "default": "tiny"}],
            "models": [model | {"params_b": 0.1, "stage": "base"}],
        }
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    return write


@pytest.fixture
def files(base: Path, hub: Hub) -> dict[str, bytes]:
    """Files of the repository org/m, a tiny Llama."""
    files = {path.name: path.read_bytes() for path in base.iterdir()}
    hub.repositories["org/m"] = files
    return files


def test_the_snapshot_at_the_commit_is_what_everything_loads(
    base: Path, files: dict[str, bytes], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of the hub id's name, with other weights and with code, lies in the working directory."""
    write_base(tmp_path / "org" / "m", seed=9)
    (tmp_path / "org" / "m" / "evil.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    source = source_of(tmp_path, revision=COMMIT)
    assert source.revision == source.stated_revision == COMMIT and hub.fetched()
    assert Path(source.place).is_relative_to(tmp_path / "hub_cache")
    model = load_model(source, AutoModelForCausalLM, torch.float32)
    wanted = AutoModelForCausalLM.from_pretrained(base).state_dict()
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.state_dict().items())
    assert load_tokenizer(source)("a")["input_ids"]


def test_only_a_path_is_ever_loaded(files: dict[str, bytes], hub: Hub) -> None:
    for load in (load_config, load_tokenizer, lambda one: load_model(one, AutoModelForCausalLM, torch.float32)):
        with pytest.raises(UserError, match="tiny: org/m is not there"):
            load(ModelSource("tiny", "org/m"))
    assert not hub.asked


def test_only_what_is_needed_is_fetched(files: dict[str, bytes], hub: Hub, tmp_path: Path) -> None:
    beside = (
        "pytorch_model.bin",
        "consolidated.safetensors",
        "onnx/model.onnx",
        "original/params.json",
        "m.py",
        "a.png",
    )
    files |= dict.fromkeys(beside, b"{}") | {"additional_chat_templates/rag.jinja": b"x"}
    source_of(tmp_path)
    wanted = {"config.json", "tokenizer.json", "model.safetensors", "additional_chat_templates/rag.jinja"}
    assert wanted <= set(hub.fetched()) and not set(hub.fetched()).intersection(beside)


def test_a_snapshot_serves_without_the_hub(
    files: dict[str, bytes], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole in the cache: used while the hub is out of order, out of reach or switched off."""
    first = source_of(tmp_path)
    hub.broken = True
    assert source_of(tmp_path, revision=COMMIT) == source_of(tmp_path) == first
    hub.broken, hub.refusal = False, (429, {})
    assert source_of(tmp_path, revision=COMMIT) == first
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert source_of(tmp_path, revision=COMMIT) == source_of(tmp_path) == first


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_hub_that_is_out_of_order_for_a_moment_is_asked_again(
    files: dict[str, bytes], hub: Hub, tmp_path: Path, revision: str | None
) -> None:
    hub.fails = 2
    assert source_of(tmp_path, revision=revision).revision == COMMIT


@pytest.mark.parametrize("others", [("config.json",), ("config.json", "tokenizer.json", "model.safetensors")])
def test_a_part_in_the_cache_is_not_taken_for_the_model(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    """Another program fetched some of the files; whether they are all cannot be known."""
    for name in others:
        hf_hub_download("org/m", name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError, match=r"only in part, or whether it is whole is not known.*fetch it once without HF_HUB"
    ):
        source_of(tmp_path)


def test_a_branch_or_tag_is_resolved_to_its_commit(files: dict[str, bytes], hub: Hub, tmp_path: Path) -> None:
    hub.refs |= {"step143000": LATER, "v1.0": COMMIT}
    for revision, commit in {
        "step143000": LATER,
        "v1.0": COMMIT,
        "main": COMMIT,
        COMMIT.upper(): COMMIT,
        LATER[:8]: LATER,
        LATER[:12].upper(): LATER,
        None: COMMIT,
    }.items():
        source = source_of(tmp_path, revision=revision)
        assert source.revision == source.stated_revision == commit and Path(source.place).name == commit


@pytest.mark.parametrize("revision", ["stage1", None])
def test_a_revision_is_resolved_once_and_kept(
    files: dict[str, bytes], hub: Hub, tmp_path: Path, study: Callable[[str | None], Path], revision: str | None
) -> None:
    """Whatever the branch does later: results of a model are of one commit, with the run ids of that commit."""
    hub.refs[revision or "main"] = LATER
    path, home = study(revision), tmp_path / "home"
    assert load_study(path, home).by_id["tiny"].revision == revision
    model = model_of(load_study(path, home), path, "tiny", home)
    assert model.revision == LATER and model_source(model, path.parent).stated_revision == LATER
    hub.refs[revision or "main"] = COMMIT
    hub.asked.clear()
    again = load_study(path, home).by_id["tiny"]
    assert again == model == model_of(load_study(path, home), path, "tiny", home) and not hub.asked
    assert again.stated_revision == (LATER if revision else None)
    pinned = load_study(study(LATER), home).by_id["tiny"]
    assert model_identity(again, path.parent) == model_identity(pinned, path.parent)


def test_a_branch_that_is_not_there_is_told(
    files: dict[str, bytes], hub: Hub, tmp_path: Path, study: Callable[[str], Path]
) -> None:
    for revision in ("stage9", "abcdef12", LATER):
        path = study(revision)
        with pytest.raises(UserError, match=f"^tiny: org/m at {revision} is not on .* no such revision; correct rev"):
            model_source(model_of(load_study(path, tmp_path), path, "tiny", tmp_path), path.parent)


REFUSALS: dict[str, tuple[int, str, str]] = {
    "gated": (
        401,
        "GatedRepo",
        r"is gated on {hub}, and no token is set; ask for access on {hub}/org/m, then set HF_T",
    ),
    "private": (
        401,
        "RepoNotFound",
        r"is not on {hub}, or is private; correct hub_id in the study file, or set HF_TOKEN",
    ),
    "unknown": (404, "RepoNotFound", r"is not on {hub}, or is private; correct hub_id"),
    "no revision": (404, "RevisionNotFound", r"is not on {hub}: the repository has no such revision; correct revision"),
    "forbidden": (403, "", r"may not be read: {hub} forbids it \(403\); use an HF_TOKEN"),
    "too often": (429, "", r"cannot be fetched: {hub} limits the number of requests \(429\); wait"),
    "down": (500, "", r"cannot be fetched: {hub} is out of order \(it answered 500\); try again later"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_an_answer_of_the_hub_says_what_to_do(files: dict[str, bytes], hub: Hub, tmp_path: Path, case: str) -> None:
    status, code, said = REFUSALS[case]
    hub.refusal = (status, {"X-Error-Code": code, "X-Error-Message": f"The hub's own words: {code}."})
    for revision in (None, COMMIT):
        at = f" at {COMMIT}" if revision else ""
        with pytest.raises(UserError, match=f"^tiny: org/m{at} {said.format(hub=hub.endpoint)}") as refused:
            source_of(tmp_path, revision=revision)
        assert "own words" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_token_without_access_is_told_apart(
    files: dict[str, bytes], hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    hub.refusal = (403, {"X-Error-Code": "GatedRepo"})
    with pytest.raises(UserError, match=r"is gated on .*, and the token in use has no access; ask for access on"):
        source_of(tmp_path)
    hub.refusal = (401, {"X-Error-Code": "RepoNotFound"})
    with pytest.raises(UserError, match="use a valid HF_TOKEN of an account with access"):
        source_of(tmp_path)


def test_a_hub_out_of_reach_is_named(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for revision in (None, COMMIT, "v1.0"):
        with pytest.raises(
            UserError, match=r"is not in the hub's cache, and http://127\.0\.0\.1:9 cannot be reached; ch"
        ):
            source_of(tmp_path, revision=revision)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for revision in (None, COMMIT, "v1.0"):
        with pytest.raises(
            UserError, match="not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it; fetch it onc"
        ):
            source_of(tmp_path, revision=revision)


def test_what_the_repository_holds_is_refused_before_the_weights_are_fetched(
    files: dict[str, bytes], hub: Hub, tmp_path: Path
) -> None:
    config = json.loads(files["config.json"])
    quantised = json.dumps(config | {"quantization_config": {"quant_method": "fp8"}}).encode()
    without = {name: content for name, content in files.items() if not name.endswith(".safetensors")}
    cases: dict[str, tuple[dict[str, bytes], str]] = {
        "org/fp8": (files | {"config.json": quantised}, r"is quantised \(fp8\)"),
        "org/beside": (files | {"hf_quant_config.json": b"{}"}, r"is quantised, by hf_quant_config"),
        "org/adapter": (files | {"adapter_config.json": b"{}"}, r"holds an adapter \(adapter_config\.json\)"),
        "org/gguf": ({"tiny-Q4_K_M.gguf": b"GGUF", "README.md": b"x"}, r"holds weights in GGUF only"),
        "org/pickle": (without | {"pytorch_model.bin": b"x"}, r"holds only pytorch_model\.bin, .* as safetensors"),
        "org/two": (files | {"model-00001-of-00002.safetensors": b"x"}, r"holds two sets of weights"),
        "org/none": ({"README.md": b"x"}, r"holds no config\.json \(there is README\.md\)"),
    }
    for hub_id, (content, said) in cases.items():
        hub.repositories[hub_id] = content
        with pytest.raises(UserError, match=f"^tiny: {hub_id} at {COMMIT} {said}"):
            source_of(tmp_path, hub_id)
    assert not [name for name in hub.fetched() if name.endswith((".safetensors", ".bin", ".gguf"))]


def test_weights_are_checked_after_they_are_fetched(files: dict[str, bytes], tmp_path: Path) -> None:
    files["model.safetensors"] = save({"model.norm.weight": torch.ones(32).to(torch.float8_e4m3fn)})
    with pytest.raises(UserError, match=f"^tiny: org/m at {COMMIT} holds quantised weights, such as model.norm"):
        source_of(tmp_path)


@pytest.mark.parametrize(
    ("hub_id", "said"),
    [
        ("org/m@main", r"hub_id org/m@main holds a revision; write hub_id: org/m, revision: main"),
        ("org/m@refs/pr/1", r"write hub_id: org/m, revision: refs/pr/1"),
        ("org/m:v2", r"write hub_id: org/m, revision: v2"),
        ("https://huggingface.co/org/m", r"is a web address; write hub_id: org/m$"),
        ("https://huggingface.co/org/m/tree/v2", r"is a web address; write hub_id: org/m, revision: v2"),
        ("http://hf.co/org/m/", r"is a web address; write hub_id: org/m$"),
        ("https://example.org/", r"is a web address; write hub_id: <owner>/<name>"),
        ("hf.co/org/m", r"is a web address; write hub_id: org/m$"),
        ("org/m/sub", r"hub_id org/m/sub is no name of a repository"),
        ("org m", r"is no name of a repository"),
        ("org/m--x", r"is no name that a hub allows"),
    ],
)
def test_other_ids_are_corrected(hub: Hub, tmp_path: Path, hub_id: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        source_of(tmp_path, hub_id)
    assert not hub.asked


def test_a_folder_without_its_dot_gets_a_hint(base: Path, hub: Hub, tmp_path: Path) -> None:
    for hub_id in ("plain", "models/plain", "my models/deep/plain"):
        shutil.copytree(base, tmp_path / hub_id)
        with pytest.raises(UserError, match=rf"\(for the folder beside the study file write \./{hub_id}\)"):
            source_of(tmp_path, hub_id)
