"""Base models as partitions: keys that Dagster can keep, and the instance following the study files."""

from __future__ import annotations

import dagster as dg
import pytest

from dagster_project.lib.keys import (
    REWARD_MODEL_PARTITIONS,
    models_by_partition,
    partition_key,
    rewards_by_partition,
    update_partitions,
)
from models_train.study.study import Study

ODD_NAMES = [
    "'; drop table dim_base_models; --",
    "../../etc/x",
    "<script>alert(1)</script>",
    "a|b,c[d]...",
    "雪 🙂",
    "%41",
]


def a_study(*names: str, training: bool = True, scoring: bool = False) -> Study:
    data = {"path": "data.jsonl"}
    return Study.model_validate(
        {
            "study_id": "tiny",
            "title": "Tiny",
            "synthetic": True,
            "source": "made here",
            "size_groups": [{"name": "all", "params_b_from": 0.0, "default": names[0]}],
            "models": [
                {
                    "model_id": name,
                    "hub_id": "./model",
                    "publisher": "us",
                    "family": "one",
                    "params_b": float(size),
                    "tokens_t": 1.0,
                    "stage": "base",
                }
                for size, name in enumerate(names, start=1)
            ],
            "training": {"preferences": data, "ratings": data, "test_set": data} if training else None,
            "scoring": {"corpus": {"name": "texts", "source": data}} if scoring else None,
        }
    )


def test_keys_of_different_models_differ() -> None:
    names = [*ODD_NAMES, "A", "a b c d", "a%7Cb,c[d]..."]
    assert len({partition_key("s", name) for name in names}) == len(names)
    assert partition_key("lab", "tiny-llama 1.5") == "lab/tiny-llama 1.5"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_dagster_keeps_keys_of_odd_names(name: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        update_partitions(instance, [a_study(name)])
        keys = instance.get_dynamic_partitions("base_models")
        assert keys == [partition_key("tiny", name)]
        both = dg.MultiPartitionKey({"base_model": keys[0], "objective": "regression"})
        found = REWARD_MODEL_PARTITIONS.get_partition_key_from_str(str(both))
        assert found.keys_by_dimension == {"base_model": keys[0], "objective": "regression"}


def test_partitions_follow_the_studies() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert update_partitions(instance, [a_study("a", "b")]) == (["tiny/a", "tiny/b"], [])
        assert update_partitions(instance, [a_study("a", "b")]) == ([], [])
        assert update_partitions(instance, [a_study("b", "c")]) == (["tiny/c"], ["tiny/a"])
        assert set(instance.get_dynamic_partitions("base_models")) == {"tiny/b", "tiny/c"}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_reward_models_have_partitions_of_their_own(name: str) -> None:
    reward = {"reward_id": name, "hub_id": "org/rm"}
    settings = a_study("a").model_dump(exclude_none=True) | {"reward_models": [reward]}
    study = Study.model_validate(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        added, retired = update_partitions(instance, [study])
        assert (added, retired) == (["tiny/a", partition_key("tiny", name)], [])
        assert instance.get_dynamic_partitions("hub_rewards") == [partition_key("tiny", name)]
        assert rewards_by_partition(study) == {partition_key("tiny", name): name}
        assert update_partitions(instance, [a_study("a")]) == ([], [partition_key("tiny", name)])
        assert instance.get_dynamic_partitions("hub_rewards") == []


def test_a_study_of_seeds_alone_has_no_work() -> None:
    assert models_by_partition(a_study("a", training=False)) == {}


def test_only_donors_are_scored() -> None:
    scored = models_by_partition(a_study("small", "large", training=False, scoring=True))
    assert scored == {"tiny/large": "large"}
    trained = models_by_partition(a_study("small", "large", training=True, scoring=True))
    assert set(trained.values()) == {"small", "large"}
