"""The job that samples the responses of a policy, as a person would start it; also interrupted."""

from __future__ import annotations

import json
import random
import signal
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from models_train.jobs import sample_responses
from models_train.jobs.sample_responses import main, sampled_policy
from models_train.metering import default_device
from models_train.study.response_ids import prompts_run_id, responses_run_id
from models_train.study.study import load_study
from tests.models_train.modeling.conftest import hub
from tests.support.data_files import json_lines, write
from tests.support.forked import Launcher
from tests.support.hub_server import COMMIT, Hub
from tests.support.response_studies import arguments, prompts, results, rows, sampling_study
from tests.support.tiny_models import SIZES, byte_tokenizer, write_base

__all__ = ["hub"]


def failure(path: Path, policy_id: str = "tiny-policy") -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments(path, policy_id))
    return str(caught.value)


def test_parts_hold_policy_prompts_responses_and_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sampling_study(tmp_path)
    main(arguments(path))
    said = capsys.readouterr().out
    assert "tiny-policy: transformers samples (no GPU for vLLM), float32 on cpu, prompts by plain" in said
    assert "rows: 36\n" in said and f"tiny-policy: questions: 12 rows of {tmp_path.name}" not in said
    study, policy = sampled_policy(path, "tiny-policy", tmp_path / "home")
    run_id = responses_run_id(policy, "transformers", study, tmp_path)
    responses = rows(tmp_path / "home", "responses")
    assert responses.height == 36 and set(responses["run_id"]) == {run_id}
    assert responses.select("prompt_id", "response_no").is_unique().all()
    assert set(responses["status"]) <= {"ok", "empty"} and set(responses["finish_reason"]) <= {"stop", "length"}
    assert responses["n_tokens"].max() == 12 and (responses["logprob"] < 0).all()
    assert responses["n_bytes"].to_list() == [len(text.encode()) for text in responses["text"]]
    asked = rows(tmp_path / "home", "prompts")
    assert set(asked["run_id"]) == {prompts_run_id(study, tmp_path)} and asked.height == 12
    assert responses.join(asked, on=["prompt_set", "prompt_id"], how="anti").is_empty()
    (row,) = rows(tmp_path / "home", "policies").to_dicts()
    assert (row["kind"], row["engine"], row["prompt_format"]) == ("sampled", "transformers", "plain")
    assert json.loads(row["sampling"]) == {
        "max_tokens": 12, "repetition_penalty": 1.0, "seed": 0, "temperature": 1.0, "top_k": 0, "top_p": 1.0,
    }  # fmt: skip
    (costs,) = rows(tmp_path / "home", "run_costs").to_dicts()
    assert (costs["model_id"], costs["job"], costs["variant"]) == ("tiny-policy", "sample_responses", "transformers")
    assert costs["n_tokens"] > responses["n_tokens"].sum() and costs["device"] == default_device().type
    assert [path.name for path in (tmp_path / "home" / "responses").iterdir()] == [".locks"]

    before = sorted((part, part.stat().st_mtime_ns) for part in (tmp_path / "home" / "parts").rglob("*.parquet"))
    main(arguments(path))
    assert "tiny-policy: the responses are there; nothing to do" in capsys.readouterr().out
    again = sorted((part, part.stat().st_mtime_ns) for part in (tmp_path / "home" / "parts").rglob("*.parquet"))
    assert again == before


def test_order_of_rows_and_size_of_blocks_change_no_response(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sampling_study(tmp_path, responses=5)
    main(arguments(path, home=tmp_path / "one"))
    random.Random(3).shuffle(asked := prompts())
    write(tmp_path / "prompts.jsonl", asked)
    monkeypatch.setattr(sample_responses.TransformersEngine, "n_at_once", 13)
    main(arguments(path, home=tmp_path / "two"))
    one, two = (results(tmp_path / home) for home in ("one", "two"))
    drop = ("run_id", "source")
    for table in ("responses", "prompts"):
        plain = [[{k: v for k, v in row.items() if k not in drop} for row in found[table]] for found in (one, two)]
        for row in (*plain[0], *plain[1]):
            if "logprob" in row:
                row["logprob"] = round(row["logprob"], 3)
        assert plain[0] == plain[1]


def test_another_policy_of_a_study_shares_the_prompts(tmp_path: Path) -> None:
    path = sampling_study(tmp_path)
    text = path.read_text()
    more = text.replace("policy_id: tiny-policy", "policy_id: other")
    main(arguments(path))
    path.write_text(more)
    main(arguments(path, "other"))
    found = rows(tmp_path / "home", "responses")
    assert set(found["policy_id"]) == {"tiny-policy", "other"} and rows(tmp_path / "home", "prompts").height == 12
    texts = {one: found.filter(policy_id=one)["text"].to_list() for one in ("tiny-policy", "other")}
    assert texts["tiny-policy"] != texts["other"]


def test_the_newest_commits_of_a_hub_are_kept(tmp_path: Path, hub: Hub) -> None:
    folder = write_base(tmp_path / "policy")
    hub.repositories["org/policy"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.data_sets = {"org/prompts": {"train.jsonl": json_lines(prompts())}}
    path = sampling_study(tmp_path)
    settings = path.read_text().replace("path: policy", "hub_id: org/policy")
    path.write_text(settings.replace("path: prompts.jsonl", "hub_id: org/prompts"))
    main(arguments(path))
    read = load_study(path, tmp_path / "home")
    assert read.teachers is not None and read.teachers.prompts is not None
    assert (read.teachers.policies[0].revision, read.teachers.prompts.revision) == (COMMIT, COMMIT)
    (row,) = rows(tmp_path / "home", "policies").to_dicts()
    assert (row["hub_id"], row["revision"]) == ("org/policy", COMMIT)
    assert set(rows(tmp_path / "home", "prompts")["source"]) == {f"org/prompts@{COMMIT}"}
    run_id = responses_run_id(read.teachers.policies[0], "transformers", read, tmp_path)
    assert set(rows(tmp_path / "home", "responses")["run_id"]) == {run_id}
    hub.broken = True
    main(arguments(path))  # what is known is not asked for again


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": "none"}, "none: there is no"),
        ({"max_tokens": 512}, "tiny-policy: max_tokens is 512, and the model takes 512 tokens, prompt included; lower"),
        ({"prompt_format": "chat_template"}, "tiny-policy: its tokenizer has no chat template"),
        ({"max_tokens": 505}, "tiny-policy: none of its 36 responses has text, so nothing was written; the first has"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_told(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = sampling_study(tmp_path, **settings)
    assert said in failure(path)
    assert not (tmp_path / "home" / "parts").exists()


def test_models_that_would_be_loaded_otherwise_are_refused(tmp_path: Path) -> None:
    path = sampling_study(tmp_path)
    assert "the study has no 'tiny-polcy' under teachers.policies; did you mean 'tiny-policy'?" in failure(
        path, "tiny-polcy"
    )
    weights = tmp_path / "policy" / "model.safetensors"
    content = weights.read_bytes()
    weights.rename(tmp_path / "policy" / "pytorch_model.bin")
    assert "safetensors" in failure(path)
    weights.write_bytes(content[: len(content) // 2])
    (tmp_path / "policy" / "pytorch_model.bin").unlink()
    assert "tiny-policy" in failure(path)
    weights.write_bytes(content)
    config = json.loads((tmp_path / "policy" / "config.json").read_text())
    (tmp_path / "policy" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert "lacks" in failure(path)
    assert not (tmp_path / "home" / "parts").exists()


def test_a_second_process_waits_for_nothing_and_says_so(tmp_path: Path) -> None:
    path = sampling_study(tmp_path)
    study, policy = sampled_policy(path, "tiny-policy", tmp_path / "home")
    locks = tmp_path / "home" / "responses" / ".locks"
    locks.mkdir(parents=True)
    with (locks / responses_run_id(policy, "transformers", study, tmp_path)).open("w") as file:
        flock(file, LOCK_EX)
        assert failure(path) == (
            "tiny-policy: another process samples these responses right now; wait for it, or end it"
        )


def test_a_damaged_block_is_sampled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sampling_study(tmp_path)
    main(arguments(path, home=tmp_path / "whole"))
    monkeypatch.setattr(sample_responses.TransformersEngine, "n_at_once", 9)
    made = sample_responses.Block.sample
    left = [2]

    def ends(block: Any, *given: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        made(block, *given)

    monkeypatch.setattr(sample_responses.Block, "sample", ends)
    with pytest.raises(SystemExit):
        main(arguments(path))
    blocks = sorted((tmp_path / "home" / "responses").rglob("*.parquet"))
    assert len(blocks) == 2 and not (tmp_path / "home" / "parts").exists()
    blocks[0].write_bytes(blocks[0].read_bytes()[:-40])
    monkeypatch.setattr(sample_responses.Block, "sample", made)
    main(arguments(path))
    texts = [rows(tmp_path / home, "responses")["text"].to_list() for home in ("whole", "home")]
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_killed_again_and_again_it_leaves_the_parts_of_a_whole_run(tmp_path: Path) -> None:
    write_base(tmp_path / "policy", LlamaConfig(**SIZES), byte_tokenizer())
    path = sampling_study(tmp_path, prompts(130), responses=16, max_tokens=16)
    path.write_text(path.read_text().replace("measure: 8", "measure: 120"))
    dice = random.Random(0)
    with Launcher("models_train.jobs.sample_responses") as launcher:
        whole = launcher.call(arguments(path, home=tmp_path / "whole"))["seconds"]
        kills = finished = 0
        while kills < 4 or not finished:
            home = tmp_path / f"home-{finished}"
            seconds = dice.uniform(0.1, 0.9) * whole if kills < 4 else None
            if launcher.call(arguments(path, home=home), seconds)["status"] == signal.SIGKILL:
                kills += 1
            else:
                assert results(home) == results(tmp_path / "whole")
                finished += 1
