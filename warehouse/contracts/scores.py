"""Raw tables of rewards: what gives them, the items of a benchmark, and the reward of every completion."""

from __future__ import annotations

from warehouse.contracts.fields import by_name, flag, integer, number, table, text

REWARDBENCH = "rewardbench"
"""The benchmark of test sets with RewardBench's columns."""
REWARD, MERGED = "reward", "merged"
"""Attributes that decide: merged where a reward model of several attributes has it, else reward."""
_ITEM = ("benchmark", "subset", "item_id")

REWARD_ID = text("reward_id", "What gives the reward, such as `gemma-2-2b-it/regression` or `hub:ArmoRM`.")
BENCHMARK = text("benchmark", "Benchmark of the reward models, such as `rewardbench` or `rewardmath`.")
SUBSET = text("subset", "Subset of the benchmark; the benchmark's name where it has none.")
ITEM_ID = text("item_id", "Item within the subset.")
COMPLETION = text("completion", "Completion of the item: chosen, rejected; else correct_1, wrong_3 and so on.")
SOURCE = text("source", "File or data set, with its commit or content.", nullable=True)

REWARD_SOURCES = table(
    "reward_sources",
    "One row per study and reward: what gives it.",
    ("reward_id",),
    REWARD_ID,
    text("kind", "trained, hub (a reward model of a hub or folder), imported, function, human or ensemble."),
    text("model_id", "Base model of the study that it was trained on; null where it is none of them.", nullable=True),
    text("objective", "Objective of the training; null where it is not known.", nullable=True),
    integer("seed", "Seed of the training; null where it is not known.", nullable=True),
    text("data_id", "Training data; null where they are not known.", nullable=True),
    text("hub_id", "Name on the hub; null where there is none.", nullable=True),
    text("revision", "Commit on the hub; null where there is none.", nullable=True),
    text("scale", "logit (only differences within a prompt matter), mean_score or bounded."),
    text("base_model", "Base model, also one outside of the study; null where it is not known.", nullable=True),
    text("family", "Family of the base model; null where it is not known.", nullable=True),
    text("publisher", "Publisher of the reward model; null where it is not known.", nullable=True),
    number("params_b", "Parameters in billions; null where they are not known.", nullable=True),
    partition_by=("reward_id",),
)

BENCHMARK_ITEMS = table(
    "benchmark_items",
    "One row per study, benchmark and item: its category, and how many completions it has.",
    _ITEM,
    BENCHMARK,
    SUBSET,
    ITEM_ID,
    text("category", "Category of the item as the benchmark reports it; null where it has none.", nullable=True),
    integer("n_completions", "Completions of the item."),
    integer("n_correct", "Completions that are right."),
    text("prompt_hash", "16 hex digits of the SHA-256 of the prompt; null where the text is not known.", nullable=True),
    SOURCE,
    partition_by=("benchmark",),
)

ITEM_COMPLETIONS = table(
    "item_completions",
    "One row per study, benchmark, item and completion: whether it is right, and who wrote it.",
    (*_ITEM, "completion"),
    BENCHMARK,
    SUBSET,
    ITEM_ID,
    COMPLETION,
    integer("place", "Place of the completion in the item, from 1."),
    flag("is_correct", "True where the completion is right, or chosen."),
    text("style", "Style, such as concise, detailed or markdown; null where it is not known.", nullable=True),
    text("generator", "Model that wrote the completion; null where it is not known.", nullable=True),
    text("generator_family", "Family of that model; null where it is not known.", nullable=True),
    integer("n_bytes", "UTF-8 bytes of the completion; null where the text is not known.", nullable=True),
    partition_by=("benchmark",),
)

COMPLETION_REWARDS = table(
    "completion_rewards",
    "One row per study, reward, benchmark item, completion and attribute: the reward, or why there is none.",
    ("reward_id", *_ITEM, "completion", "attribute"),
    REWARD_ID,
    BENCHMARK,
    SUBSET,
    ITEM_ID,
    COMPLETION,
    text("attribute", "reward; for a reward model of several attributes one of these, or merged, which decides."),
    number("reward", "The reward; null where the status is not ok.", nullable=True),
    integer("n_tokens", "Tokens of prompt and completion as scored; null where they are not known.", nullable=True),
    flag("is_truncated", "True where the prompt was cut from the left to fit the length limit."),
    text("status", "ok, or what went wrong."),
    SOURCE,
    partition_by=("reward_id", "benchmark"),
)

SCORE_TABLES = by_name(REWARD_SOURCES, BENCHMARK_ITEMS, ITEM_COMPLETIONS, COMPLETION_REWARDS)
"""Raw tables of rewards on benchmarks, by name."""

KEYED_BY_MODEL = ("study_id", "model_id", "objective")
"""Partition of completion_rewards in earlier versions, which `make rebuild` carries over."""
