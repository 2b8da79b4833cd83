"""Names in the asset graph: asset keys, groups, partitions, pools, and the code versions of assets.

Assets and the helpers that look for them share these names, so that nothing but `definitions.py` imports `defs/`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from models_train.study.fingerprints import donors
from models_train.study.policy_runs import policy_runs
from models_train.study.study import Study
from warehouse.paths import REPOSITORY

STUDIES = dg.AssetKey(["parts", "studies"])
HUB_MODELS = dg.AssetKey(["parts", "hub_models"])
LAB = dg.AssetKey(["parts", "lab"])
REWARD_MODELS = dg.AssetKey(["parts", "reward_models"])
COMPLETION_REWARDS = dg.AssetKey(["parts", "completion_rewards"])
HUB_REWARDS = dg.AssetKey(["parts", "hub_rewards"])
DOCUMENTS = dg.AssetKey(["parts", "documents"])
DOCUMENT_SCORES = dg.AssetKey(["parts", "document_scores"])
BENCHMARKS = dg.AssetKey(["parts", "benchmarks"])
BENCHMARK_IMPORTS = dg.AssetKey(["parts", "benchmark_imports"])
LEADERBOARDS = dg.AssetKey(["parts", "leaderboards"])
SCORE_IMPORTS = dg.AssetKey(["parts", "score_imports"])
RESPONSES = dg.AssetKey(["parts", "responses"])
RESPONSE_IMPORTS = dg.AssetKey(["parts", "response_imports"])
GOLD_REWARDS = dg.AssetKey(["parts", "gold_rewards"])
POLICY_RUNS = dg.AssetKey(["parts", "policy_runs"])
RACES = dg.AssetKey(["parts", "races"])
PERFORMANCE_INPUTS = dg.AssetKey(["parts", "performance_inputs"])
PERFORMANCE = dg.AssetKey(["parts", "performance"])
REPORT = dg.AssetKey(["reports", "base_model_choice"])
CHARTS = dg.AssetKey(["reports", "charts"])
SNAPSHOT = dg.AssetKey(["published", "snapshot"])

GROUPS = {
    "studies": "Study files and seeds, checked, as parts; models that a hub query found.",
    "lab": "Synthetic studies, made on this machine: models, texts, preferences, tasks, and the truth about them.",
    "training": "Reward models of each base model by each objective, reward models of a hub, and their rewards on "
    "benchmarks.",
    "scoring": "Samples of documents, and their log-probabilities under each base model.",
    "benchmarks": "Benchmarks, run on each base model or read from result files.",
    "policies": "Responses of policies, sampled or read from files.",
    "race": "Races of base models: trained further and further, those that cannot win are dropped.",
    "raw": "Tables of the warehouse that parts of the groups before are landed in.",
    "seeds": "Published figures, one table per CSV file.",
    "staging": "Raw tables and seeds with the names and units of the project.",
    "intermediate": "Steps between staging and marts.",
    "marts": "Tables for analysis that need no performance model, and its features.",
    "selection": "The performance model: its inputs, and its results as parts.",
    "predictions": "Results of the performance model in the warehouse, and the marts that follow from them.",
    "reports": "The report: one offline page, and its charts as pictures.",
    "publish": "The published snapshot that readers open.",
}
"""Groups of the asset graph in the order of the work, with a description; no asset depends on a later group."""

IMPORTS = (BENCHMARK_IMPORTS, LEADERBOARDS, SCORE_IMPORTS, RESPONSE_IMPORTS)
"""Parts made of files of results in seconds, without torch."""
INPUT_PARTS = (HUB_MODELS, LAB, DOCUMENTS, *IMPORTS, GOLD_REWARDS)
"""Parts without partitions that due work makes before GPU work."""
GPU_PARTS = (REWARD_MODELS, COMPLETION_REWARDS, DOCUMENT_SCORES, BENCHMARKS, HUB_REWARDS, RESPONSES, POLICY_RUNS, RACES)
"""Parts made by jobs in the pool `gpu`, one partition per base model, reward model, policy, policy run or study."""
AFTER_FIRST_ANSWER = (PERFORMANCE_INPUTS, PERFORMANCE, CHARTS)
"""Assets that the first publication does without: the performance model, and the charts as pictures."""
GPU_POOL = "gpu"
WAREHOUSE_POOL = "warehouse"

BASE_MODEL_PARTITIONS = dg.DynamicPartitionsDefinition(name="base_models")
HUB_REWARD_PARTITIONS = dg.DynamicPartitionsDefinition(name="hub_rewards")
POLICY_PARTITIONS = dg.DynamicPartitionsDefinition(name="policies")
POLICY_RUN_PARTITIONS = dg.DynamicPartitionsDefinition(name="policy_runs")
RACE_PARTITIONS = dg.DynamicPartitionsDefinition(name="races")
OBJECTIVE_PARTITIONS = dg.StaticPartitionsDefinition(["bradley_terry", "regression"])
REWARD_MODEL_PARTITIONS = dg.MultiPartitionsDefinition(
    {"base_model": BASE_MODEL_PARTITIONS, "objective": OBJECTIVE_PARTITIONS}
)

# Characters and strings that Dagster reserves in partition keys: the separator of dimensions, lists, ranges. "%" marks
# an escaped character.
_RESERVED = "%|,[]"
_SEPARATOR = "/"


@dataclass(frozen=True)
class PartitionChange:
    """Keys of a set of partitions that the studies have and the instance lacks, and keys that no study has any more."""

    partitions: dg.DynamicPartitionsDefinition
    added: list[str]
    retired: list[str]


def partition_key(study_id: str, name: str) -> str:
    """The key of a study's model, reward or policy, such as `lab/tiny-llama`; characters that Dagster reserves are
    written as %XX."""
    name = "".join(f"%{ord(letter):02X}" if letter in _RESERVED else letter for letter in name)
    return study_id + _SEPARATOR + name.replace("...", "%2E%2E%2E")


def models_by_partition(study: Study) -> dict[str, str]:
    """Partition key -> model, for every model of the study that some GPU job works on."""
    models = set(study.compared_model_ids if study.training else ()) | set(study.benchmarked_model_ids)
    if study.scoring:
        models |= set(donors(study).values())
    return {partition_key(study.study_id, model): model for model in sorted(models)}


def rewards_by_partition(study: Study) -> dict[str, str]:
    """Partition key -> reward_id, for every reward model of a hub or folder that the study scores."""
    return {partition_key(study.study_id, one.reward_id): one.reward_id for one in study.reward_models}


def policies_by_partition(study: Study) -> dict[str, str]:
    """Partition key -> policy_id, for every policy that the study samples."""
    policies = study.teachers.policies if study.teachers else ()
    return {partition_key(study.study_id, one.policy_id): one.policy_id for one in policies}


def policy_runs_by_partition(study: Study) -> dict[str, str]:
    """Partition key -> name of a policy run, for every one of the study."""
    return {partition_key(study.study_id, one.name): one.name for one in policy_runs(study)}


def races_by_partition(study: Study) -> dict[str, str]:
    """Partition key -> study_id, for a study with a race. `make pick` adds that of another study for its run."""
    return {study.study_id: study.study_id} if study.race else {}


def partition_changes(instance: dg.DagsterInstance, studies: Iterable[Study]) -> list[PartitionChange]:
    """Changes of each set of partitions."""
    studies, changes = list(studies), []
    for partitions, keys_of in (
        (BASE_MODEL_PARTITIONS, models_by_partition),
        (HUB_REWARD_PARTITIONS, rewards_by_partition),
        (POLICY_PARTITIONS, policies_by_partition),
        (POLICY_RUN_PARTITIONS, policy_runs_by_partition),
        (RACE_PARTITIONS, races_by_partition),
    ):
        wanted = {key for study in studies for key in keys_of(study)}
        present = set(instance.get_dynamic_partitions(str(partitions.name)))
        changes.append(PartitionChange(partitions, sorted(wanted - present), sorted(present - wanted)))
    return changes


def update_partitions(instance: dg.DagsterInstance, studies: Iterable[Study]) -> tuple[list[str], list[str]]:
    """Make the instance's partitions those of the studies; returns the keys added and the keys retired.

    The record of what was materialized of a retired key stays, and its parts are set aside, not deleted.
    """
    changes = partition_changes(instance, studies)
    for change in changes:
        name = str(change.partitions.name)
        if change.added:
            instance.add_dynamic_partitions(name, change.added)
        for key in change.retired:
            instance.delete_dynamic_partition(name, key)
    return [key for one in changes for key in one.added], [key for one in changes for key in one.retired]


def version_of_files(*patterns: str, root: Path = REPOSITORY, may_be_none: bool = False) -> str:
    """12 hex digits over names and contents of the files that match the glob patterns, relative to `root`.

    Dagster compares the code version of an asset with the one that it was last materialized with. Raises
    FileNotFoundError for a pattern that matches nothing, unless `may_be_none`: such a version would never change.
    """
    digest = hashlib.sha256()
    for path in sorted(set(_matching_files(patterns, root, may_be_none))):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def version_of_names(names: Iterable[str]) -> str:
    """12 hex digits over a set of names."""
    return hashlib.sha256("\0".join(sorted(names)).encode()).hexdigest()[:12]


def _matching_files(patterns: Iterable[str], root: Path, may_be_none: bool) -> Iterable[Path]:
    for pattern in patterns:
        found = [path for path in root.glob(pattern) if path.is_file() and "__pycache__" not in path.parts]
        if not found and not may_be_none:
            raise FileNotFoundError(f"no file matches {pattern} in {root}")
        yield from found
