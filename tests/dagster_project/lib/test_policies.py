"""Policies and files of responses: partitions, due work, and the parts that a study asks for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.lib.due import due_work, gpu_work, responses_due
from dagster_project.lib.keys import (
    RESPONSE_IMPORTS,
    RESPONSES,
    partition_key,
    policies_by_partition,
    update_partitions,
)
from dagster_project.lib.study_plan import follow_models, wants
from models_train.jobs import import_responses, sample_responses
from models_train.study.study import Study, load_study
from tests.support.response_studies import arguments, import_study, prompts, sampling_study, write_json
from warehouse.contracts import TABLES
from warehouse.paths import Home


@pytest.mark.parametrize("name", ["tulu@t1", "org/policy, the 2nd", "a|b%c"])
def test_policies_have_partitions_of_their_own(name: str, tmp_path: Path) -> None:
    study = load_study(sampling_study(tmp_path, policy_id=name))
    with dg.DagsterInstance.ephemeral() as instance:
        key = partition_key("scores", name)
        assert update_partitions(instance, [study])[0] == [key]
        assert instance.get_dynamic_partitions("policies") == [key]
        assert policies_by_partition(study) == {key: name}
        assert update_partitions(instance, []) == ([], [key])


def test_responses_are_due_until_their_parts_are_there(tmp_path: Path) -> None:
    path, home = sampling_study(tmp_path), Home(tmp_path / "home")

    def due(**more: Any) -> list[tuple[str, tuple[dg.AssetKey, ...], str | None]]:
        study = load_study(path, home.root)
        return [(work.job, work.assets, work.partition) for work in gpu_work({path: study}, home, **more)]

    task = ("sample_policies", (RESPONSES,), "scores/tiny-policy")
    assert due() == [task]
    sample_responses.main(arguments(path))
    assert due() == [] and due(everything=True) == [task]
    (part,) = (home.root / "parts" / "prompts").rglob("*.parquet")
    part.rename(tmp_path / "aside")
    assert due() == [task], "the prompts are missing"
    sample_responses.main(arguments(path))
    assert due() == []
    sampling_study(tmp_path, prompts(13))
    assert due() == [task], "other prompts"
    sampling_study(tmp_path)
    assert due() == []
    for change in ({"temperature": 0.5}, {"responses": 4}, {"seed": 1}, {"max_tokens": 11}, {"prompt_format": "plain"}):
        sampling_study(tmp_path, **change)
        assert due() == [task], change
    sampling_study(tmp_path, family="Llama", stage="sft", engine="transformers")
    assert due() == [], "facts on it change no response, nor does the engine that samples here"
    (tmp_path / "policy" / "config.json").write_text("{}")
    assert due() == [task], "other files of the model"
    shutil.rmtree(tmp_path / "policy")
    problems: list[str] = []
    assert due(problems=problems) == [] and "scores, tiny-policy: policy: there is no" in problems[0]


def test_files_of_responses_are_due_until_they_are_imported(tmp_path: Path) -> None:
    rows = [{"prompt": "A", "response": "1", "policy": "one"}]
    write_json(tmp_path / "out.json", rows)
    path, home = import_study(tmp_path, {"path": "out.json", "format": "plain"}), Home(tmp_path / "home")
    studies = {path: load_study(path)}
    (work,) = due_work(home, tmp_path).before_gpu
    assert (work.assets, work.title) == ((RESPONSE_IMPORTS,), "importing responses of policies")
    import_responses.main(["--study", str(path), "--home", str(home.root)])
    assert not responses_due(studies, home) and not due_work(home, tmp_path).before_gpu
    write_json(tmp_path / "out.json", [*rows, *rows])
    assert responses_due(studies, home)
    (tmp_path / "out.json").unlink()
    assert "out.json: there is no" in due_work(home, tmp_path).problems[0]


def test_a_study_asks_for_parts_of_its_policies_and_files(tmp_path: Path) -> None:
    path = sampling_study(tmp_path)
    study = load_study(path)
    teachers = study.model_dump(exclude_none=True)["teachers"] | {
        "responses": [{"path": "out.json", "format": "plain", "reward_id": "scores"}],
        "gold": [{"reward": "scores"}],
    }
    study = Study.model_validate(study.model_dump(exclude_none=True) | {"teachers": teachers})

    def asked(table: str, **partition: str | None) -> bool:
        return wants(study, (), TABLES[table], {"study_id": "scores", **partition})

    of_set = {"prompt_set": "questions"}
    assert asked("policies", policy_id="tiny-policy") and asked("policies", policy_id="out:x")
    assert asked("policies", policy_id="out") and not asked("policies", policy_id="other")
    assert asked("prompts", prompt_set="questions") and asked("prompts", prompt_set="out")
    assert not asked("prompts", prompt_set="lab_prompts")
    assert asked("responses", policy_id="tiny-policy", **of_set)
    assert not asked("responses", policy_id="tiny-policy", prompt_set="others")
    assert asked("response_rewards", policy_id="out:x", prompt_set="out", reward_id="scores")
    assert not asked("response_rewards", policy_id="out:x", prompt_set="out", reward_id="gone")
    assert (
        asked("reward_sources", reward_id="scores")
        and asked("gold_rewards")
        and not asked("policy_runs", policy_run_id="a")
    )
    costs = {"job": "sample_responses", "variant": "transformers"}
    assert asked("run_costs", model_id="tiny-policy", **costs) and not asked("run_costs", model_id="x", **costs)
    without = study.model_copy(update={"teachers": None})
    assert not wants(without, (), TABLES["policies"], {"study_id": "scores", "policy_id": "tiny-policy"})


def test_parts_of_a_policy_that_is_taken_out_are_set_aside_and_restored(tmp_path: Path) -> None:
    path, home = sampling_study(tmp_path), Home(tmp_path / "home")
    sample_responses.main(arguments(path))
    text = path.read_text()
    path.write_text(text.replace("policy_id: tiny-policy", "policy_id: another"))
    told = follow_models(home.parts, [load_study(path)])
    assert {line.split("/")[0] for line in told} == {"policies", "responses", "run_costs"}
    assert all(line.endswith("set aside, the study does not ask for it any more") for line in told)
    path.write_text(text)
    assert len(follow_models(home.parts, [load_study(path)])) == 3
    assert gpu_work({path: load_study(path)}, home) == []
