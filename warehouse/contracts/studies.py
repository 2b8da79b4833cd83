"""Raw tables of study files: studies, size groups, base models, stated benchmark values, seeds; the truth of a lab."""

from warehouse.contracts.fields import MODEL_ID, OBJECTIVE, by_name, flag, integer, number, table, text

STUDIES = table(
    "studies",
    "One row per study: title, origin of its figures, and which of them may be used.",
    (),
    text("title", "Title of the study, as reports print it."),
    flag("synthetic", "True where the study's figures are made here, not measured on real models."),
    text("source", "Publication or place that the study's figures come from."),
    flag(
        "use_loose_benchmarks",
        "True where loosely matching benchmark values (another task or an incomparable set-up) may be used.",
    ),
    text("answer_on", "Benchmark of reward models that the study names for its answer; null for none.", nullable=True),
)

RUN_NOISE = table(
    "run_noise",
    "One row per study, objective and category: standard deviation between trainings of one base model, a setting.",
    ("objective", "category"),
    OBJECTIVE,
    text("category", "Category of RewardBench, or score."),
    number("standard_deviation", "Standard deviation between trainings of one base model, in points."),
    text("basis", "twins (an estimate from published reward models of near-equal bases) or seeds (measured)."),
)

SIZE_GROUPS = table(
    "size_groups",
    "One row per study and size group: its borders and its default base model (paper, Section 3.2).",
    ("size_group",),
    text("size_group", "Name of the size group, such as `>=3 and <6` (billions of parameters)."),
    integer("position", "Order of the group, 1 for the smallest models."),
    number("params_b_from", "Smallest number of parameters of the group, in billions, inclusive."),
    number(
        "params_b_below",
        "Upper border of the group in billions of parameters, exclusive; null where there is none.",
        nullable=True,
    ),
    text("default_model_id", "Base model that the group's gains are measured against."),
)

BASE_MODELS = table(
    "base_models",
    "One row per study and base model, as the study file lists it.",
    ("model_id",),
    text("model_id", "Name of the base model, as the paper prints it."),
    text("hub_id", "Repository of the model on its hub, or its path on disk."),
    text(
        "revision",
        "Commit of the hub repository. Until a job resolved it: the branch or tag stated, or null.",
        nullable=True,
    ),
    text("publisher", "Who published the model; null where a seed gives it (Table 3).", nullable=True),
    text("family", "Model generation, such as `Qwen2.5`."),
    number("params_b", "Parameters in billions; null where a seed gives them (Table 3).", nullable=True),
    number("tokens_t", "Pre-training tokens in trillions; null where a seed gives them.", nullable=True),
    text("stage", "Last training stage: base, sft, dpo, rlvr or instruct."),
    text("parent_model_id", "Model of the study that this one was trained from; or null.", nullable=True),
    text("licence", "Licence, as the hub names it that found the model; null where not known.", nullable=True),
    integer("downloads", "Downloads in 30 days when the hub was last asked; null where not known.", nullable=True),
    flag("is_compared", "True where the model is one of those the study ranks."),
    flag("is_candidate", "True where no reward model was trained on it and a prediction is wanted."),
)

BENCHMARKS = table(
    "benchmarks",
    "One row per study and benchmark that a study file lists, with its task and metric.",
    ("benchmark",),
    text("benchmark", "Benchmark by the name that the study lists it under."),
    text("framework", "Program that runs it: lm_eval or evalplus."),
    text("topic", "Topic of the benchmark."),
    text("task", "Name of the task in that program."),
    text("metric", "Metric that counts, as results name it."),
    text("shots", "Examples shown in the prompt; null for the default of the task.", nullable=True),
    flag("is_run", "True where the study runs it on its models; else its values come from result files."),
)

BENCHMARK_RESULTS = table(
    "benchmark_results",
    "One row per study, writer, model, benchmark, metric and source: benchmark values of your own study.",
    ("written_by", "model_id", "benchmark", "metric", "source"),
    text("written_by", "`study file` (stated there), `run of <model>` (lm_eval) or `imports` (result files)."),
    MODEL_ID,
    text("benchmark", "Benchmark by the name that the study lists it under."),
    text("metric", "What was measured on the benchmark."),
    number("value", "Value, on a scale of 0 to 100."),
    number("standard_error", "Standard error of the value in points; null where not known.", nullable=True),
    integer("n_examples", "Examples that the value was measured on; null where not known.", nullable=True),
    text("shots", "Examples shown in the prompt; null where not stated.", nullable=True),
    text(
        "pipeline",
        "Harness, prompt, shots and metric that the value comes from; null where a study file states none.",
        nullable=True,
    ),
    text(
        "match",
        "Match with the benchmark as named: exact, close (other shots, prompt or metric, or not stated) or loose "
        "(another task, or a set-up that is not comparable).",
    ),
    text("source", "Where the value was published or measured."),
    partition_by=("written_by",),
)

STUDY_SEEDS = table(
    "study_seeds",
    "One row per study and seed file: source, licence, rows and hash.",
    ("seed",),
    text("seed", "Name of the seed."),
    text("file", "Seed file, relative to the folder of the repository."),
    text("paper_table", "Table of the paper that the seed transcribes; null for none.", nullable=True),
    text("source", "Where the figures come from."),
    text("licence", "Licence or terms of the figures."),
    integer("n_rows", "Rows of the seed file, without its header."),
    text("sha256", "SHA-256 of the seed file's bytes, hexadecimal."),
)

TEACHER_SETTINGS = table(
    "teacher_settings",
    "One row per study and setting of what is measured on the responses of policies.",
    ("setting",),
    text("setting", "Name of the setting in the study file: best_of or ensembles."),
    text("value", "Its value, as JSON."),
)

SCORE_BINS = table(
    "score_bins",
    "One row per study and kind of document score: the equally wide bins of the binning `fixed`.",
    ("score_kind",),
    text("score_kind", "Kind of score: a column of document_scores, such as presence_score."),
    number("low", "Lower edge of the first bin, in the unit of the score."),
    number("high", "Upper edge of the last bin."),
    integer("n_bins", "Number of bins."),
)

STUDY_FILE, IMPORTS = "study file", "imports"
"""`written_by` of benchmark results that a study file states, and of those that come from result files."""


def run_of(model_id: str) -> str:
    """`written_by` of the benchmark results of a run on a model."""
    return f"run of {model_id}"


STUDY_TABLES = by_name(
    STUDIES,
    RUN_NOISE,
    SIZE_GROUPS,
    BASE_MODELS,
    BENCHMARKS,
    BENCHMARK_RESULTS,
    SCORE_BINS,
    TEACHER_SETTINGS,
    STUDY_SEEDS,
)
"""Raw tables that study files fill, by name; `benchmark_results` has rows of runs and of result files, too."""

# Of a lab: what estimates are compared with, and the settings of its noise. All synthetic.
LAB_MIXES = table(
    "lab_mixes",
    "One row per study, base model of the lab and domain: share of that domain in its pre-training text.",
    ("model_id", "domain"),
    MODEL_ID,
    text("domain", "Domain: Github, Book, ArXiv, Wikipedia or StackExchange."),
    number("share", "True share of the pre-training tokens, 0 to 1; a further stage has its pre-trained model's."),
    text("pretrained_model_id", "Model whose pre-training this is: the model itself, or the first of its ancestors."),
    integer("pretraining_tokens", "Tokens of that pre-training, as the study file asks for them."),
    number("parameters_m", "Parameters of the model, in millions, tied embeddings counted once."),
    text("architecture", "Architecture of Transformers: llama, qwen2 or gemma2."),
    integer("hidden", "Width of the hidden states."),
    integer("layers", "Number of layers."),
    integer("vocabulary", "Entries of the vocabulary that the tokenizer was trained to."),
)

LAB_ATTRIBUTE_WEIGHTS = table(
    "lab_attribute_weights",
    "One row per study and attribute: its weight in the true utility that the lab's preferences follow.",
    ("attribute",),
    text("attribute", "helpfulness, correctness, coherence, complexity or verbosity."),
    number("weight", "Weight, a multiple of 0.05; only the direction of the five matters for a preference."),
)

LAB_SETTINGS = table(
    "lab_settings",
    "One row per study and setting of its lab: noise, and sizes of its data.",
    ("setting",),
    text("setting", "Name of the setting in the study file, such as preference_noise."),
    number("value", "Its value."),
)

LAB_TABLES = by_name(LAB_MIXES, LAB_ATTRIBUTE_WEIGHTS, LAB_SETTINGS)
"""Raw tables that making a lab fills, by name."""
