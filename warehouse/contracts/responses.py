"""Raw tables of policies: prompts, responses, their rewards and checks, and what training by a reward model gains."""

from __future__ import annotations

from warehouse.contracts.fields import by_name, flag, integer, number, table, text
from warehouse.contracts.scores import REWARD_ID

RESPONSE_KEY = ("policy_id", "prompt_set", "prompt_id", "response_no")
"""Columns that a response is found by."""
OK, EMPTY = "ok", "empty"
"""Statuses of a response that was sampled or imported well: with text, and without, which never has a reward."""

POLICY_ID = text(
    "policy_id", "Where responses come from: a model with sampling settings, an import, or the end of a policy run."
)
PROMPT_SET = text("prompt_set", "Set of prompts, such as `lab_prompts` or the data set's name.")
PROMPT_ID = text("prompt_id", "Prompt within the set.")
_RESPONSE_NO = integer("response_no", "Response of the policy to the prompt, from 0.")
_STATUS = text("status", "ok, or what went wrong.")
_RUN = text("policy_run_id", "Run that trains a policy: 12 hex digits over policy, reward, method, settings and seed.")
_STEP = integer("step", "Step of the run; 0 is the initial policy.")

POLICIES = table(
    "policies",
    "One row per study and policy: what it is, and how its responses are sampled.",
    ("policy_id",),
    POLICY_ID,
    text("kind", "sampled (a model with sampling settings), imported, or trained (the end of a policy run)."),
    text("model_id", "Base model of the study that it is; null where it is none of them.", nullable=True),
    text("hub_id", "Name on the hub; null where there is none.", nullable=True),
    text("revision", "Commit on the hub; null where there is none.", nullable=True),
    text("family", "Family of the model; null where it is not known.", nullable=True),
    text("stage", "Stage of post-training: base, sft, dpo, rlvr or other; null where not known.", nullable=True),
    number("params_b", "Parameters in billions; null where they are not known.", nullable=True),
    text("parent_policy_id", "Policy that a trained one began from; null otherwise.", nullable=True),
    text(
        "sampling",
        "Arguments as JSON: temperature, top_p, top_k, repetition_penalty, max_tokens, seed; null for imports.",
        nullable=True,
    ),
    text("prompt_format", "How a prompt becomes token ids: chat_template or plain; null for imports.", nullable=True),
    text("engine", "transformers or vllm; null for imports.", nullable=True),
    text("source", "File of an import with its content; null otherwise.", nullable=True),
    text("licence", "Licence of the responses; null where not stated.", nullable=True),
    partition_by=("policy_id",),
)

PROMPTS = table(
    "prompts",
    "One row per study, prompt set and prompt.",
    ("prompt_set", "prompt_id"),
    PROMPT_SET,
    PROMPT_ID,
    text("split", "measure (responses are compared on it) or teach (policies are trained on it)."),
    integer("n_turns", "Turns of the prompt."),
    integer("n_bytes", "UTF-8 bytes of the prompt."),
    text("content_hash", "16 hex digits of the SHA-256 of the prompt, as in `benchmark_items`."),
    text("source", "File or data set, with its commit or content."),
    text("gold_kind", "What checks need: math_answer, code_tests or lab; null where there is nothing.", nullable=True),
    text("gold", "Right answer or constraints, as JSON; null where there are none.", nullable=True),
    integer("order_no", "Place of the prompt in the set, from 1."),
    partition_by=("prompt_set",),
)

RESPONSES = table(
    "responses",
    "One row per study, policy, prompt and response.",
    RESPONSE_KEY,
    POLICY_ID,
    PROMPT_SET,
    PROMPT_ID,
    _RESPONSE_NO,
    text("text", "The response, special tokens left out."),
    text("content_hash", "16 hex digits of the SHA-256 of the response."),
    integer("n_tokens", "Tokens sampled, the end of the response included; null for imports.", nullable=True),
    integer("n_bytes", "UTF-8 bytes of the response."),
    number("logprob", "Sum of the tokens' log-probabilities under the policy, in nats; null for imports.", True),
    number(
        "reference_logprob",
        "The same under the parent of a trained policy, in nats; null for other policies.",
        nullable=True,
    ),
    text("finish_reason", "stop (ended by itself), length (cut at max_tokens), error (not sampled) or import."),
    text("status", "ok, empty (no text, which never has a reward), or what went wrong."),
    partition_by=("policy_id", "prompt_set"),
)

RESPONSE_REWARDS = table(
    "response_rewards",
    "One row per study, reward, response and attribute: the reward, or why there is none.",
    ("reward_id", *RESPONSE_KEY, "attribute"),
    REWARD_ID,
    POLICY_ID,
    PROMPT_SET,
    PROMPT_ID,
    _RESPONSE_NO,
    text("attribute", "reward; for a reward model of several attributes one of these, or merged, which decides."),
    number("reward", "The reward; null where the status is not ok.", nullable=True),
    integer("n_tokens", "Tokens of prompt and response as scored; null where not known.", nullable=True),
    flag("is_truncated", "True where the prompt was cut from the left to fit the length limit."),
    _STATUS,
    partition_by=("reward_id", "policy_id", "prompt_set"),
)

RESPONSE_CHECKS = table(
    "response_checks",
    "One row per study, check and response: whether the response passes.",
    ("check_name", *RESPONSE_KEY),
    text("check_name", "The check: math_answer, code_tests, or a name of the study's."),
    POLICY_ID,
    PROMPT_SET,
    PROMPT_ID,
    _RESPONSE_NO,
    number("value", "Share passed, 0 to 1; null where the status is not ok.", nullable=True),
    text("detail", "What was found, in short; null where there is nothing to say.", nullable=True),
    number("seconds", "Time of the check, in seconds."),
    text("status", "ok, not_applicable, timeout, or `error: ` and what went wrong."),
    partition_by=("check_name", "policy_id", "prompt_set"),
)

GOLD_REWARDS = table(
    "gold_rewards",
    "One row per study and reward that others are measured against.",
    ("gold_id",),
    text("gold_id", "Name of the gold reward: a reward_id."),
    text("kind", "reward (a reward model), checks, labels (of people) or lab (the truth of a made world)."),
    text("checks", "Names of the checks whose mean it is, as JSON; null for other kinds.", nullable=True),
    text("excluded", "reward_id that is left out of comparison with it, being the same model; null if none.", True),
)

POLICY_RUNS = table(
    "policy_runs",
    "One row per study and run that trains a policy by a reward: settings, cost and status.",
    ("policy_id", "reward_id", "method", "seed"),
    _RUN,
    POLICY_ID,
    REWARD_ID,
    text("method", "rloo, grpo or best_of_n_distill."),
    text("settings", "Settings of the run, as JSON."),
    integer("seed", "Seed of prompts' order and of sampling."),
    integer("n_steps_planned", "Optimizer steps of the whole run."),
    integer("n_steps", "Optimizer steps taken."),
    integer("n_prompts", "Prompts that responses were sampled for."),
    integer("n_responses", "Responses sampled."),
    number("reward_shift", "Mean of the reward over the initial policy's responses: it is subtracted."),
    number("reward_scale", "Standard deviation of the same, by which the reward is divided."),
    number("kl_coefficient", "Weight of the KL divergence from the initial policy."),
    text("final_policy_id", "Policy at the end; null where it failed.", nullable=True),
    number("device_seconds", "Seconds of training, times the number of devices; resumed time adds up."),
    text("status", "finished or failed."),
    text("reason", "Why it failed; null otherwise.", nullable=True),
    # A run of other settings takes the place of an earlier one.
    partition_by=("policy_id", "reward_id", "method", "seed"),
)

POLICY_RUN_STEPS = table(
    "policy_run_steps",
    "One row per policy run and optimizer step.",
    ("policy_run_id", "step"),
    _RUN,
    _STEP,
    number("proxy_reward", "Mean reward of the step's responses, shifted and scaled."),
    number("kl", "Mean of log-probability minus that of the initial policy, summed over tokens, in nats."),
    number("entropy", "Mean entropy of a token, in nats; null where not known.", nullable=True),
    integer("n_tokens", "Tokens of the step's responses."),
    number("mean_length", "Mean tokens of a response."),
    number("share_finished", "Share of responses that ended by themselves, 0 to 1."),
    number("gradient_norm", "Norm of the whole gradient."),
    number("share_groups_without_spread", "Share of prompts whose responses all had one reward, 0 to 1."),
    number("seconds", "Seconds that the step took."),
    partition_by=("policy_run_id",),
)

POLICY_RUN_POLICIES = table(
    "policy_run_policies",
    "One row per policy run and saved step: the policy whose responses were measured there.",
    ("policy_run_id", "step"),
    _RUN,
    _STEP,
    number("share_done", "Share of the run's steps, 0 to 1."),
    POLICY_ID,
    partition_by=("policy_run_id",),
)

RESPONSE_TABLES = by_name(
    POLICIES,
    PROMPTS,
    RESPONSES,
    RESPONSE_REWARDS,
    RESPONSE_CHECKS,
    GOLD_REWARDS,
    POLICY_RUNS,
    POLICY_RUN_STEPS,
    POLICY_RUN_POLICIES,
)
"""Raw tables of policies and their responses, by name."""
