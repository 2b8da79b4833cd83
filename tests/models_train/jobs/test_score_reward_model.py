"""The job that scores a reward model of a hub or folder on the benchmarks of a study, as a person would start it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig

from models_train.jobs import import_scores
from models_train.jobs.score_reward_model import main
from models_train.study.fingerprints import evaluation_run_ids, items_run_id, scored_run_id
from models_train.study.reward_ids import stated_sources
from models_train.study.study import load_study
from tests.models_train.modeling.conftest import hub
from tests.support.data_files import write
from tests.support.hub_server import COMMIT, Hub
from tests.support.made_data import own_pairs
from tests.support.made_data import test_pairs as made_pairs
from tests.support.own_classifiers import change, write_classifier
from tests.support.score_files import best_of_4_items, study_with, write_json
from tests.support.tiny_models import SIZES

__all__ = ["hub"]
SETS = [{"name": "my_pairs", "path": "pairs.jsonl"}, {"name": "rewardbench2", "path": "rb2.json"}]
FOLDER = {"reward_id": "hub:mine", "path": "./rm", "precision": "float32", "base_model": "tiny"}
WEIGHTS = {"helpful": 1.0, "2": -0.5, "harmless": 0.0}


def study(folder: Path, *models: dict[str, Any], sets: Any = SETS, **more: Any) -> Path:
    """A study of these reward models, with two benchmark sets."""
    write(folder / "pairs.jsonl", own_pairs(10))
    write_json(folder / "rb2.json", best_of_4_items())
    return study_with(folder, [], sets, reward_models=list(models), **more)


def run(path: Path, reward_id: str = "hub:mine") -> None:
    main(["--study", str(path), "--home", str(path.parent / "home"), "--reward", reward_id])


def failure(path: Path, reward_id: str = "hub:mine") -> str:
    with pytest.raises(SystemExit) as caught:
        run(path, reward_id)
    return str(caught.value)


def rows(folder: Path, table: str) -> pl.DataFrame:
    return pl.read_parquet(sorted((folder / "home" / "parts" / table).glob("*/*.parquet")))


@torch.no_grad()
def test_rewards_on_all_benchmarks_are_those_of_transformers_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_classifier(tmp_path / "rm", LlamaConfig(**SIZES), 3)
    change(folder, id2label={"0": "helpful", "1": "harmless", "2": "long"}, label2id=None)
    path = study(tmp_path, FOLDER | {"merge_weights": WEIGHTS})
    run(path)
    said = capsys.readouterr().out
    assert "hub:mine: my_pairs: 10 items, 20 completions" in said and "completions, ok: 34" in said
    rewards = rows(tmp_path, "completion_rewards")
    assert set(rewards["attribute"]) == {"helpful", "harmless", "long", "merged"} and rewards.height == 34 * 4
    read = load_study(path)
    run_ids = evaluation_run_ids(scored_run_id(read.reward_models[0], tmp_path), read, tmp_path)
    assert dict(rewards.select("benchmark", "run_id").unique().rows()) == run_ids
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for number, row in enumerate(own_pairs(10)):
        for name, response in (("correct_1", row["chosen"]), ("wrong_1", row["rejected"])):
            turns = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": response}]
            ids = tokenizer.apply_chat_template(turns, return_dict=False)
            wanted = model(input_ids=torch.tensor([ids])).logits[0]
            mine = rewards.filter(benchmark="my_pairs", completion=name)[4 * number : 4 * number + 4]
            expected = [*wanted.tolist(), float(wanted[0] - wanted[2] / 2)]
            assert mine["reward"].to_list() == pytest.approx(expected, abs=1e-5)
            assert set(mine["n_tokens"]) == {len(ids)}
    costs = rows(tmp_path, "run_costs").select("model_id", "job", "variant").rows()
    assert sorted(costs) == [("hub:mine", "score_reward_model", name) for name in ("my_pairs", "rewardbench2")]
    import_scores.main(["--study", str(path), "--home", str(tmp_path / "home")])
    key = ["benchmark", "subset", "item_id", "completion"]
    assert rewards.join(rows(tmp_path, "item_completions"), on=key, how="anti").is_empty()

    before = sorted((part, part.stat().st_mtime_ns) for part in (tmp_path / "home").rglob("*.parquet"))
    run(path)
    assert "hub:mine: the rewards are there; nothing to do" in capsys.readouterr().out
    assert sorted((part, part.stat().st_mtime_ns) for part in (tmp_path / "home").rglob("*.parquet")) == before


def test_the_test_set_of_training_is_a_benchmark_too(tmp_path: Path) -> None:
    """Its items are written with the rewards."""
    write_classifier(tmp_path / "rm", LlamaConfig(**SIZES))
    write(tmp_path / "test.jsonl", made_pairs(1)[:6])
    training = {"preferences": {"path": "none"}, "test_set": {"path": "test.jsonl"}, "objectives": ["bradley_terry"]}
    path = study(tmp_path, FOLDER, sets=[], training=training)
    run(path)
    rewards, items = rows(tmp_path, "completion_rewards"), rows(tmp_path, "benchmark_items")
    assert set(rewards["benchmark"]) == {"rewardbench"} and set(rewards["completion"]) == {"chosen", "rejected"}
    read = load_study(path)
    assert read.training is not None and set(items["run_id"]) == {items_run_id(read.training, tmp_path)}
    assert set(rewards["item_id"]) == set(items["item_id"])


def test_rewardbench_is_a_set_where_there_is_no_test_set(tmp_path: Path) -> None:
    """Its items are those of `import_scores` then."""
    write_classifier(tmp_path / "rm", LlamaConfig(**SIZES))
    write(tmp_path / "filtered.jsonl", made_pairs(1)[:6])
    path = study(tmp_path, FOLDER, sets=[{"name": "rewardbench", "path": "filtered.jsonl"}])
    run(path)
    assert set(rows(tmp_path, "completion_rewards")["completion"]) == {"chosen", "rejected"}
    assert not (tmp_path / "home" / "parts" / "benchmark_items").exists()


def test_the_newest_commit_of_a_hub_is_kept(tmp_path: Path, hub: Hub) -> None:
    folder = write_classifier(tmp_path / "rm", LlamaConfig(**SIZES))
    hub.repositories["org/rm"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.data_sets = {"org/pairs": {"pairs.jsonl": (write(tmp_path / "p.jsonl", own_pairs(3))).read_bytes()}}
    model = {"reward_id": "hub:rm", "hub_id": "org/rm", "precision": "float32"}
    path = study(tmp_path, model, sets=[{"name": "hubs", "hub_id": "org/pairs"}])
    run(path, "hub:rm")
    read = load_study(path, tmp_path / "home")
    assert (read.reward_models[0].revision, read.benchmark_sets[0].revision) == (COMMIT, COMMIT)
    (source,) = stated_sources(read)
    assert (source["kind"], source["hub_id"], source["revision"]) == ("hub", "org/rm", COMMIT)
    run_ids = evaluation_run_ids(scored_run_id(read.reward_models[0], tmp_path), read, tmp_path)
    assert set(rows(tmp_path, "completion_rewards")["run_id"]) == set(run_ids.values())
    hub.broken = True
    run(path, "hub:rm")  # what is known is not asked for again
    missing = study(tmp_path / "other", model | {"hub_id": "org/none"})
    hub.broken = False
    assert "hub:rm: org/none is not on" in failure(missing, "hub:rm")
    assert not (tmp_path / "other" / "home" / "parts").exists()


def test_an_unknown_reward_model_is_corrected(tmp_path: Path) -> None:
    path = study(tmp_path, FOLDER)
    assert "the study has no 'hub:mnie' under reward_models; did you mean 'hub:mine'?" in failure(path, "hub:mnie")
    assert "./rm: there is no" in failure(path)
    none = study_with(tmp_path, [], SETS)
    assert failure(none).endswith("the study has no 'hub:mine' under reward_models; list it there")


def test_rewards_that_are_no_numbers_are_never_written(tmp_path: Path) -> None:
    """The weights of the head are finite, what it gives is not."""
    folder = write_classifier(tmp_path / "rm", LlamaConfig(**SIZES))
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"].fill_(3e38)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    path = study(tmp_path, FOLDER)
    said = failure(path)
    assert "none of 20 completions of my_pairs could be scored, so nothing was written; the first has the" in said
    assert "the model gives no finite reward" in said and not (tmp_path / "home" / "parts").exists()


def test_a_set_of_single_completions_is_told(tmp_path: Path) -> None:
    write_classifier(tmp_path / "rm", LlamaConfig(**SIZES))
    path = study(tmp_path, FOLDER)
    write(tmp_path / "pairs.jsonl", [{"prompt": "?", "chosen": "yes"}])
    said = failure(path)
    assert "pairs.jsonl" in said and "rejected" in said and "\n" not in said
    assert set(rows(tmp_path, "completion_rewards")["benchmark"]) == {"rewardbench2"}
