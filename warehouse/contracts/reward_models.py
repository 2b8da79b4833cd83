"""Raw tables of training reward models: runs, steps, checkpoints, searches, rows dropped; and the costs of jobs."""

from warehouse.contracts.fields import MODEL_ID, OBJECTIVE, by_name, flag, integer, number, table, text

_CELL = ("model_id", "objective")
_TRAINING_RUN = text("training_run", "One training run of a search: its learning rate and seed, such as `5e-07-s0`.")
_DEVICE = text("device", "Kind of device, such as `cpu` or the GPU's name.")
_N_DEVICES = integer("n_devices", "Devices used.")
_PEAK_MEMORY = integer(
    "peak_memory_bytes", "Largest memory in use on a device; null where not measured.", nullable=True
)
_VERSIONS = text("versions", "Versions of the libraries, as JSON.")
_ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")

REWARD_MODEL_RUNS = table(
    "reward_model_runs",
    "One row per study, base model, objective and training run: settings, cost and status (paper, Section 3.1).",
    (*_CELL, "training_run"),
    MODEL_ID,
    OBJECTIVE,
    _TRAINING_RUN,
    number("learning_rate", "Learning rate after warm-up."),
    integer("seed", "Seed of the head's initial weights and of the data order."),
    text("hub_id", "Repository or folder that the base model was loaded from."),
    text("revision", "Commit of the repository, or content hash of the folder."),
    text("recipe_hash", "Hash of all training settings but rate and seed."),
    text("data_hash", "Hash of the training examples as rendered for this model."),
    integer("n_steps_planned", "Optimizer steps of the whole recipe."),
    integer("n_steps", "Optimizer steps taken."),
    integer("n_examples", "Training examples used per epoch, after the rule for over-long ones."),
    integer("n_examples_dropped", "Examples dropped because they cannot be cut to the length limit."),
    integer("n_examples_truncated", "Examples whose prompt was cut from the left to fit the length limit."),
    integer("n_tokens", "Tokens trained on, padding not counted (there is none)."),
    number("device_seconds", "Seconds of training, times the number of devices; resumed time adds up."),
    _DEVICE,
    _N_DEVICES,
    _PEAK_MEMORY,
    text("precision", "Number formats of weights, compute and optimizer state."),
    text("status", "finished, stopped (by successive halving) or failed."),
    text("reason", "Why the run stopped or failed; null for a finished one.", nullable=True),
    flag("is_selected", "True for the run that the reward model was taken from."),
    _VERSIONS,
    partition_by=_CELL,
)

REWARD_MODEL_STEPS = table(
    "reward_model_steps",
    "One row per training run and optimizer step: the learning curve.",
    (*_CELL, "training_run", "step"),
    MODEL_ID,
    OBJECTIVE,
    _TRAINING_RUN,
    integer("step", "Optimizer step, from 1."),
    number("loss", "Mean loss of the step's global batch."),
    number("gradient_norm", "Norm of the whole gradient before the step."),
    number("learning_rate", "Learning rate of the step."),
    integer("n_examples", "Examples in the step."),
    integer("n_tokens", "Tokens in the step."),
    number("seconds", "Seconds that the step took."),
    partition_by=_CELL,
)

REWARD_MODEL_CHECKPOINTS = table(
    "reward_model_checkpoints",
    "One row per training run and saved step: accuracy and loss on validation pairs.",
    (*_CELL, "training_run", "step"),
    MODEL_ID,
    OBJECTIVE,
    _TRAINING_RUN,
    integer("step", "Optimizer step after which it was saved."),
    number("validation_accuracy", "Share of validation pairs won, 0 to 1; null where it failed.", nullable=True),
    number(
        "validation_loss",
        "Mean loss of the objective on its validation examples; null where there are none.",
        nullable=True,
    ),
    integer("n_won", "Validation pairs won; a tie is not won."),
    integer("n_ties", "Validation pairs with equal rewards."),
    integer("n_pairs", "Validation pairs."),
    *(
        number(f"weight_{name}", f"Merge weight of {name}; null for Bradley-Terry.", nullable=True)
        for name in _ATTRIBUTES
    ),
    integer("n_optima", "Merge vectors that win as many pairs; null for Bradley-Terry.", nullable=True),
    number("mean_margin", "Mean margin of the normalised merge vector; null for Bradley-Terry.", nullable=True),
    flag("is_selected", "True for the checkpoint that became the reward model."),
    partition_by=_CELL,
)

REWARD_MODEL_SEARCHES = table(
    "reward_model_searches",
    "One row per study, base model and objective: choice, cost and optimism of the rate search.",
    _CELL,
    MODEL_ID,
    OBJECTIVE,
    text("method", "exhaustive or successive_halving."),
    text("training_run", "Training run chosen; null where every run failed.", nullable=True),
    integer("step", "Checkpoint chosen; null where every run failed.", nullable=True),
    number("learning_rate", "Rate chosen; null where every run failed.", nullable=True),
    number("validation_accuracy", "Share of validation pairs won by the chosen one, 0 to 1.", nullable=True),
    number(
        "accuracy_choosing_half",
        "Mean accuracy on the half of the validation prompts that the choice was made on (definitions, Section 9).",
        nullable=True,
    ),
    number("accuracy_other_half", "Mean accuracy of that choice on the other half.", nullable=True),
    number(
        "accuracy_mean_rate",
        "Mean accuracy on the other half over the rates that came to the end, each with its own best checkpoint of the "
        "half that chose.",
        nullable=True,
    ),
    number("accuracy_best_rate", "The same of the rate that is best on the other half.", nullable=True),
    number("optimism_points", "Difference of the two, in points.", nullable=True),
    integer("n_steps", "Optimizer steps that the search took."),
    integer("n_steps_full_grid", "Optimizer steps that the exhaustive grid would take."),
    text("path", "Folder of the reward model, relative to the run-time folder.", nullable=True),
    text("status", "finished or failed."),
    text("reason", "Why it failed; null otherwise.", nullable=True),
    partition_by=_CELL,
)

TRAINING_ROWS_DROPPED = table(
    "training_rows_dropped",
    "One row per study, base model, objective and reason: training rows of the data that were not trained on.",
    (*_CELL, "reason"),
    MODEL_ID,
    OBJECTIVE,
    text(
        "reason",
        "split (of a prompt that validates), over_long (cannot be cut to the limit), bad (cannot be used), tie or "
        "repeated.",
    ),
    integer("n_train_rows_dropped", "Rows dropped for this reason."),
    integer("n_train_rows", "Training rows of the data, those dropped included."),
    flag(
        "is_stated",
        "True where definition or study file leave such rows out: ties, repeats, over-long ones under `over_long: "
        "drop`. Of the others at most 5 % may be lost, or the job fails.",
    ),
    partition_by=_CELL,
)

RUN_COSTS = table(
    "run_costs",
    "One row per study, base model and job: its cost.",
    ("model_id", "job", "variant"),
    text(
        "model_id",
        "Name of the base model; of score_reward_model the reward_id, of sample_responses and teach_policy the "
        "policy_id.",
    ),
    text(
        "job",
        "train_reward_model, score_completions, score_reward_model, score_documents, run_benchmarks, "
        "sample_responses, teach_policy or race.",
    ),
    text(
        "variant",
        "Objective (`regression/s1` for a further seed, `regression@rewardmath` for a benchmark beside RewardBench, "
        "`regression@responses of tulu to prompts` for a policy), benchmark or responses of score_reward_model, engine "
        "of document scoring or of sampling, or lm_eval; of a race its objective, `regression@census` beyond the race.",
    ),
    integer("n_tokens", "Tokens that went through the model."),
    number("device_seconds", "Seconds of work, times the number of devices; resumed time adds up."),
    _DEVICE,
    _N_DEVICES,
    flag("is_gpu", "True where the devices are GPUs."),
    _PEAK_MEMORY,
    _VERSIONS,
    partition_by=("model_id", "job", "variant"),
)

PLANNED_COSTS = table(
    "planned_costs",
    "One row per study, base model and job that was planned (`make plan`) before it ended: what it was to cost.",
    ("model_id", "job", "variant"),
    MODEL_ID,
    text("job", "score_documents."),
    text("variant", "Engine of document scoring."),
    number("device_seconds", "Planned seconds of work and of loading, times the number of devices."),
    number("device_seconds_low", "Lower end of its interval."),
    number("device_seconds_high", "Upper end of its interval."),
    text(
        "basis",
        "Speed that was planned with: measured (shards of this model), scaled (of other models) or estimate (the "
        "device's data sheet).",
    ),
    partition_by=("model_id", "job", "variant"),
)

REWARD_MODEL_TABLES = by_name(
    REWARD_MODEL_RUNS,
    REWARD_MODEL_STEPS,
    REWARD_MODEL_CHECKPOINTS,
    REWARD_MODEL_SEARCHES,
    TRAINING_ROWS_DROPPED,
    RUN_COSTS,
    PLANNED_COSTS,
)
"""Raw tables that training fills, by name. `run_costs` has rows of evaluation and of document scoring, too;
`planned_costs` only of the latter."""
