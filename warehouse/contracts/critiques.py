"""Raw tables of critiques that reward models write: their texts and rewards, and how the reward models are trained."""

from __future__ import annotations

from warehouse.contracts.fields import by_name, integer, number, table, text
from warehouse.contracts.responses import POLICY_ID, PROMPT_ID, PROMPT_SET, RESPONSE_KEY, RESPONSE_NO
from warehouse.contracts.scores import BENCHMARK, COMPLETION, ITEM_ID, REWARD_ID, SUBSET

OWN = "own"
_CRITIQUES = text(
    "critiques",
    "own (of the response, by the reward model), others (the same critiques, each with another response: a placebo) or "
    "true (given, and known to be true).",
)
_CRITIQUE_NO = integer("critique_no", "Critique of the response, from 0.")
_TEXT = text("text", "The critique, special tokens left out.")
_N_TOKENS = integer(
    "n_tokens", "Tokens written, the end of the critique included; null for ones that are given.", nullable=True
)
_N_TOKENS_READ = integer(
    "n_tokens_read", "Tokens of prompt, response and critique as read for the reward; null where not read.", True
)
_REWARD = number("reward", "The reward after this critique; null where the status is not ok.", nullable=True)
_FINISH = text("finish_reason", "stop (ended by itself), length (cut), given, or error (not written).")
_STATUS = text("status", "ok, or why there is no reward: a critique that was cut has none.")

CRITIQUES = table(
    "critiques",
    "One row per study, critique reward model, benchmark item, completion and critique.",
    ("reward_id", "critiques", "benchmark", "subset", "item_id", "completion", "critique_no"),
    REWARD_ID,
    _CRITIQUES,
    BENCHMARK,
    SUBSET,
    ITEM_ID,
    COMPLETION,
    _CRITIQUE_NO,
    _TEXT,
    _N_TOKENS,
    _N_TOKENS_READ,
    _REWARD,
    _FINISH,
    _STATUS,
    partition_by=("reward_id", "critiques", "benchmark"),
)

RESPONSE_CRITIQUES = table(
    "response_critiques",
    "One row per study, critique reward model, response of a policy and critique; equal responses share critiques.",
    ("reward_id", *RESPONSE_KEY, "critique_no"),
    REWARD_ID,
    POLICY_ID,
    PROMPT_SET,
    PROMPT_ID,
    RESPONSE_NO,
    _CRITIQUE_NO,
    _TEXT,
    _N_TOKENS,
    _N_TOKENS_READ,
    _REWARD,
    _FINISH,
    _STATUS,
    partition_by=("reward_id", "policy_id", "prompt_set"),
)

CRITIQUE_TRAININGS = table(
    "critique_trainings",
    "One row per study, base model and critiques: how a critique reward model was trained, and what was left out.",
    ("model_id", "critiques"),
    text("model_id", "Base model."),
    _CRITIQUES,
    text("source", "Critiques of the fine-tuning: template (made from ratings), file or self (none)."),
    integer("n_tuned_on", "Critiques that the base model was fine-tuned on."),
    number("tuning_loss", "Mean negative log-probability of a token of the validation critiques; null if none.", True),
    integer("n_tuning_tokens", "Tokens of the fine-tuning; 0 without one."),
    integer("n_written_tokens", "Tokens written for the critiques of the pairs; 0 for true ones."),
    integer("n_pairs", "Training pairs that can be read without critiques."),
    integer("n_kept", "Of these, pairs that were trained on."),
    integer("n_contradicting", "Pairs left out because their critiques' scores put the rejected response first."),
    integer("n_tied", "Pairs left out because their critiques' scores are equal."),
    integer("n_without_score", "Pairs left out because a critique ends with no score."),
    integer("n_without_critique", "Pairs left out because a critique was cut, is empty or missing."),
    number("learning_rate", "Learning rate of the training on pairs."),
    number("validation_accuracy", "Share of the validation pairs won, 0 to 1, by the chosen checkpoint."),
    integer("n_validation_pairs", "Validation pairs."),
    partition_by=("model_id", "critiques"),
)

CRITIQUE_TABLES = by_name(CRITIQUES, RESPONSE_CRITIQUES, CRITIQUE_TRAININGS)
"""Raw tables of critiques, by name."""
