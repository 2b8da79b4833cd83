"""Base models as dynamic partitions: one key per study and model that a GPU job works on."""

from __future__ import annotations

import dagster as dg

from models_train.study.fingerprints import donors
from models_train.study.study import Study

BASE_MODELS = dg.DynamicPartitionsDefinition(name="base_models")
OBJECTIVES = dg.StaticPartitionsDefinition(["bradley_terry", "regression"])
REWARD_MODELS = dg.MultiPartitionsDefinition({"base_model": BASE_MODELS, "objective": OBJECTIVES})

# What Dagster keeps for itself in a key: the border of two dimensions, lists of keys, ranges. "%" marks the others.
_RESERVED = "%|,[]"
_SEPARATOR = "/"


def partition_key(study_id: str, model_id: str) -> str:
    """The key of a study's model, such as `lab/tiny-llama`; characters that Dagster reserves are written as %XX."""
    name = "".join(f"%{ord(letter):02X}" if letter in _RESERVED else letter for letter in model_id)
    return study_id + _SEPARATOR + name.replace("...", "%2E%2E%2E")


def models_at_work(study: Study) -> dict[str, str]:
    """Partition key -> model, for every model of the study that some GPU job works on."""
    models = set(study.compared_model_ids if study.training else ()) | set(study.benchmarked_model_ids)
    if study.scoring:
        models |= set(donors(study).values())
    return {partition_key(study.study_id, model): model for model in sorted(models)}


def bring_partitions_up_to_date(instance: dg.DagsterInstance, studies: list[Study]) -> tuple[list[str], list[str]]:
    """Make the instance's base models those of the studies; returns the keys added and the keys retired.

    What was materialized of a retired key stays on record, and its parts are set aside, not deleted.
    """
    wanted = {key for study in studies for key in models_at_work(study)}
    present = set(instance.get_dynamic_partitions("base_models"))
    added, retired = sorted(wanted - present), sorted(present - wanted)
    if added:
        instance.add_dynamic_partitions("base_models", added)
    for key in retired:
        instance.delete_dynamic_partition("base_models", key)
    return added, retired
