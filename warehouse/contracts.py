"""The raw tables: Arrow schema, key, partition and meaning of each; the one place for what a part holds.

A leaf of the import graph: of third-party packages it imports pyarrow alone, so that the science side
(`models_train`) and the database side (`warehouse`) can agree on a table without knowing each other.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa

DESCRIPTION = b"description"
"""Metadata key under which a field of a contract's schema carries its description."""


@dataclass(frozen=True)
class Table:
    """Contract of one raw table.

    `schema` has one described field per column; `key` names the columns that identify a row; `partition_by`
    names the columns whose values a part has in common: landing a part replaces the rows of its partition.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    partition_by: tuple[str, ...]
    description: str

    @property
    def fingerprint(self) -> str:
        """16 hex digits over what a part must agree on: name, typed columns, nullability, key, partition."""
        columns = [[field.name, str(field.type), field.nullable] for field in self.schema]
        identity = [self.name, columns, list(self.key), list(self.partition_by)]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def describe(field: pa.Field) -> str:
    """Description of a contract's field."""
    return (field.metadata or {})[DESCRIPTION].decode()


def _text(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.string(), nullable, {DESCRIPTION: description})


def _number(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.float64(), nullable, {DESCRIPTION: description})


def _integer(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.int64(), nullable, {DESCRIPTION: description})


def _flag(name: str, description: str, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.bool_(), nullable, {DESCRIPTION: description})


_STUDY_ID = _text("study_id", "Study the row belongs to; `published` is the paper's own study.")
_RUN_ID = _text("run_id", "Run that wrote the row: a short hash of the content it was made from.")


def _table(name: str, description: str, key: tuple[str, ...], *fields: pa.Field) -> Table:
    schema = pa.schema([_STUDY_ID, *fields, _RUN_ID])
    return Table(name, schema, ("study_id", *key), ("study_id",), description)


STUDIES = _table(
    "studies",
    "One row per study: what it is, where its figures come from and which of them may be used.",
    (),
    _text("title", "Title of the study, as reports print it."),
    _flag("synthetic", "True where the study's figures are made here, not measured on real models."),
    _text("source", "Publication or place that the study's figures come from."),
    _flag(
        "use_loose_benchmarks",
        "True where benchmark values measured by another pipeline (match class `loose`) may be used.",
    ),
)

SIZE_GROUPS = _table(
    "size_groups",
    "One row per study and size group: its borders and its default base model (paper, Section 3.2).",
    ("size_group",),
    _text("size_group", "Name of the size group, such as `>=3 and <6` (billions of parameters)."),
    _integer("position", "Order of the group, 1 for the smallest models."),
    _number("params_b_from", "Smallest number of parameters of the group, in billions, inclusive."),
    _number(
        "params_b_below",
        "Upper border of the group in billions of parameters, exclusive; null where there is none.",
        nullable=True,
    ),
    _text("default_model_id", "Base model that the group's gains are measured against."),
)

BASE_MODELS = _table(
    "base_models",
    "One row per study and base model, as the study file lists it.",
    ("model_id",),
    _text("model_id", "Name of the base model, as the paper prints it."),
    _text("hub_id", "Repository of the model on its hub, or its path on disk."),
    _text("revision", "Commit of the hub repository; null where the study names none.", nullable=True),
    _text("publisher", "Who published the model; null where a seed gives it (Table 3).", nullable=True),
    _text("family", "Model generation, such as `Qwen2.5`."),
    _number("params_b", "Parameters in billions; null where a seed gives them (Table 3).", nullable=True),
    _number(
        "tokens_t",
        "Pre-training tokens in trillions; null where a seed gives them.",
        nullable=True,
    ),
    _text("stage", "Last training stage: base, sft, dpo, rlvr or instruct."),
    _text(
        "parent_model_id",
        "Model of the study that this one was trained from; or null.",
        nullable=True,
    ),
    _flag("is_compared", "True where the model is one of those the study ranks."),
    _flag("is_candidate", "True where no reward model was trained on it and a prediction is wanted."),
)

BENCHMARK_RESULTS = _table(
    "benchmark_results",
    "One row per study, model, benchmark, metric and source: benchmark values that a study file states.",
    ("model_id", "benchmark", "metric", "source"),
    _text("model_id", "Name of the base model."),
    _text("benchmark", "Benchmark by the name that the study lists it under."),
    _text("metric", "What was measured on the benchmark."),
    _number("value", "Value, on a scale of 0 to 100."),
    _text("shots", "Examples shown in the prompt; null where not stated.", nullable=True),
    _text("match", "How near the value is to the benchmark as named: exact, close or loose."),
    _text("source", "Where the value was published or measured."),
)

STUDY_SEEDS = _table(
    "study_seeds",
    "One row per study and seed file: where its figures come from, under which licence, and what was read.",
    ("seed",),
    _text("seed", "Name of the seed."),
    _text("file", "Seed file, relative to the folder of the repository."),
    _text(
        "paper_table",
        "Table of the paper that the seed transcribes; null for none.",
        True,
    ),
    _text("source", "Where the figures come from."),
    _text("licence", "Licence or terms of the figures."),
    _integer("n_rows", "Rows of the seed file, without its header."),
    _text("sha256", "SHA-256 of the seed file's bytes, hexadecimal."),
)

_OBJECTIVE = _text("objective", "How the reward model was trained: regression or bradley_terry.")
_TARGET = _text("target", "What is predicted: a category of RewardBench or the score.")
_PROTOCOL = _text("protocol", "paper_in_sample, paper_10_fold or leave_publisher_out (definitions, Section 5).")
_PREDICTOR = _text("predictor", "Named predictor; `selected` is chosen by nested selection.")
_CELL = ("objective", "target")

PERFORMANCE_PREDICTIONS = _table(
    "performance_predictions",
    "One row per study, objective, target, predictor, protocol and model: predicted beside observed.",
    (*_CELL, "predictor", "protocol", "model_id"),
    _OBJECTIVE,
    _TARGET,
    _text("model_id", "Name of the base model."),
    _PROTOCOL,
    _PREDICTOR,
    _number("predicted", "Predicted value, in percent."),
    _number("interval_low", "Lower end of the 90 % prediction interval; null where unbounded.", nullable=True),
    _number("interval_high", "Upper end of the 90 % prediction interval; null where unbounded.", nullable=True),
    _number("observed", "Observed value, in percent."),
    _flag("in_hull", "True where the model lies within the range of the features that the fold was trained on."),
    _text("fold", "Fold that the model was held out in: a publisher, or a number; null in-sample.", nullable=True),
)

PERFORMANCE_COEFFICIENTS = _table(
    "performance_coefficients",
    "One row per study, objective, target, protocol and feature: the elastic net refitted on all models.",
    (*_CELL, "protocol", "feature"),
    _OBJECTIVE,
    _TARGET,
    _PROTOCOL,
    _text("feature", "Feature, or product of features."),
    _number("coefficient", "Weight of the standardised feature, in points per standard deviation."),
    _number("selection_frequency", "Share of resamples of publishers in which the weight is not zero."),
)

PERFORMANCE_SCORES = _table(
    "performance_scores",
    "One row per study, objective, target, protocol and predictor: how far off, and what a pick by it costs.",
    (*_CELL, "protocol", "predictor"),
    _OBJECTIVE,
    _TARGET,
    _PROTOCOL,
    _PREDICTOR,
    _number("mae", "Mean absolute error, in points."),
    _number("mae_low", "Lower end of its 95 % interval by resampling publishers."),
    _number("mae_high", "Upper end of its 95 % interval by resampling publishers."),
    _number("coverage_at_5", "Coverage of the five best; null with fewer models.", nullable=True),
    _number("coverage_at_10", "Coverage of the ten best; null with fewer models.", nullable=True),
    _number("regret_at_1", "Score of the best minus score of the one picked, in points.", nullable=True),
    _number("regret_at_5", "Score of the best minus the best score among five picked, in points.", nullable=True),
)

PERFORMANCE_PREDICTED_COVERAGE = _table(
    "performance_predicted_coverage",
    "One row per study, objective, target, protocol, predictor and k: coverage of the k best by prediction.",
    (*_CELL, "protocol", "predictor", "k"),
    _OBJECTIVE,
    _TARGET,
    _PROTOCOL,
    _PREDICTOR,
    _integer("k", "How many models are picked."),
    _number("coverage", "Share of the top k among the top k by prediction."),
    _number("chance", "Coverage of a random pick: k / n."),
)

PERFORMANCE_CHOICES = _table(
    "performance_choices",
    "One row per study, objective, target and outer fold: what nested selection took there.",
    (*_CELL, "fold"),
    _OBJECTIVE,
    _TARGET,
    _text("fold", "Outer fold (a publisher), or `all models`."),
    _text("selected_predictor", "Predictor with the smallest inner error."),
    _integer("degree", "Polynomial degree of the elastic net with the smallest inner error."),
    _number("alpha", "Its alpha."),
    _number("l1_ratio", "Its l1_ratio."),
)

PERFORMANCE_ABSTENTIONS = _table(
    "performance_abstentions",
    "One row per study, objective and target that cannot be predicted honestly, with the reason.",
    _CELL,
    _OBJECTIVE,
    _TARGET,
    _text("reason", "Why there is no prediction."),
)

PERFORMANCE_EXCLUDED_FEATURES = _table(
    "performance_excluded_features",
    "One row per study, objective, target and feature that the performance model does not use.",
    (*_CELL, "feature"),
    _OBJECTIVE,
    _TARGET,
    _text("feature", "Feature."),
    _number("share_of_models", "Share of the models that have a value."),
    _text("reason", "Why it is not used."),
)

CAPABILITY_COMPONENTS = _table(
    "capability_components",
    "One row per study, component and benchmark: principal components of the benchmark matrix (paper, Appendix F).",
    ("component", "benchmark"),
    _integer("component", "Number of the component, from 1."),
    _number("explained_variance_ratio", "Share of the variance that the component holds."),
    _text("benchmark", "Benchmark."),
    _number("loading", "Loading of the standardised benchmark; the largest of a component is positive."),
    _text("method", "How missing cells were treated, in words."),
    _integer("n_models", "Models in the matrix."),
    _integer("n_imputed", "Cells that were filled."),
)

RECOMMENDATIONS = _table(
    "recommendations",
    "One row per study, objective, size limit and model: which base to pick, with interval and reason.",
    ("objective", "size_limit_b", "model_id"),
    _OBJECTIVE,
    _number("size_limit_b", "Largest size allowed, in billions of parameters; null for no limit.", nullable=True),
    _integer("rank", "Rank by expected score, 1 is best; null for an abstention.", nullable=True),
    _text("model_id", "Name of the base model."),
    _text("basis", "observed (a reward model was trained on it) or predicted."),
    _number("expected_score", "Observed or predicted score, in percent; null for an abstention.", nullable=True),
    _number("interval_low", "Lower end of the 90 % interval; null where unbounded.", nullable=True),
    _number("interval_high", "Upper end of the 90 % interval; null where unbounded.", nullable=True),
    _number("gain_points_over_default", "Over the default of the model's own size group, in points.", nullable=True),
    _number("probability_best", "Probability of being the best within the limit.", nullable=True),
    _text("reason", "The recommendation in words."),
)

STUDY_TABLES: dict[str, Table] = {
    table.name: table for table in (STUDIES, SIZE_GROUPS, BASE_MODELS, BENCHMARK_RESULTS, STUDY_SEEDS)
}
"""Raw tables that study files fill, by name."""

PERFORMANCE_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        PERFORMANCE_PREDICTIONS,
        PERFORMANCE_COEFFICIENTS,
        PERFORMANCE_SCORES,
        PERFORMANCE_PREDICTED_COVERAGE,
        PERFORMANCE_CHOICES,
        PERFORMANCE_ABSTENTIONS,
        PERFORMANCE_EXCLUDED_FEATURES,
        CAPABILITY_COMPONENTS,
        RECOMMENDATIONS,
    )
}
"""Raw tables that the performance model fills, by name."""

TABLES: dict[str, Table] = STUDY_TABLES | PERFORMANCE_TABLES
"""All raw tables by name."""
