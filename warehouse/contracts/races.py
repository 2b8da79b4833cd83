"""Raw tables of races of base models: looks at the candidates, what was decided after each round, and the answers."""

from __future__ import annotations

from warehouse.contracts.fields import MODEL_ID, OBJECTIVE, by_name, flag, integer, number, table, text

RACE = "race"
"""The way of choosing that is the race itself; the others are its peers on the same looks."""
_RACE_ID = text("race_id", "Race: a hash of its candidates, data, recipe, items and rules.")
_LOOK_ID = text("look_id", "Look: a hash of base model, data, recipe, rate, seed, examples and items.")
_RATE = number("learning_rate", "Learning rate after warm-up.")
_N_EXAMPLES = integer("n_examples", "Training examples up to here, those of further epochs included.")

RACE_LOOKS = table(
    "race_looks",
    "One row per study and look: a base model trained up to some examples, and scored on items that decide.",
    ("look_id",),
    _LOOK_ID,
    MODEL_ID,
    OBJECTIVE,
    text("benchmark", "Benchmark whose items decide."),
    _RATE,
    integer("seed", "Seed of the head's initial weights and of the order of the data."),
    _N_EXAMPLES,
    integer("n_steps", "Optimizer steps up to here."),
    integer("n_tokens", "Tokens trained on up to here, at this rate."),
    integer("n_item_tokens", "Tokens scored for this look."),
    integer("n_items", "Items that were scored: the first ones of one random order."),
    text(
        "outcomes",
        "One digit per item, in the random order of the race: 2 won, 1 a tie, 0 not won; empty where the look failed.",
    ),
    number("accuracy", "Share of the items won, a tie counting half, 0 to 1; null where the look failed.", True),
    number("train_loss", "Mean training loss since the look before; null where it is not known.", True),
    text("failure", "Why there are no outcomes; null where there are.", nullable=True),
    number(
        "training_seconds", "Seconds of training at this rate up to here, times the devices; lost work counts, too."
    ),
    number("device_seconds", "Seconds of this look alone, training and scoring, times the devices."),
    text("device", "Kind of device, such as `cpu` or the GPU's name."),
    integer("n_devices", "Devices used."),
    flag("is_gpu", "True where the devices are GPUs."),
    integer("peak_memory_bytes", "Largest memory in use on a device; null where not measured.", nullable=True),
    text("versions", "Versions of the libraries, as JSON."),
    partition_by=("look_id",),
)

RACE_ENTRIES = table(
    "race_entries",
    "One row per study, race and look that it took, in order; a look may be part of several races.",
    ("objective", "place"),
    _RACE_ID,
    OBJECTIVE,
    integer("place", "Place of the look in the race, from 1."),
    integer("rung", "Rung, from 1."),
    _LOOK_ID,
    flag("is_of_race", "True where the race asked for the look; false where only its census did."),
    partition_by=("objective",),
)

RACE_DECISIONS = table(
    "race_decisions",
    "One row per study, objective and decision of its race, in order, with the reason.",
    ("objective", "place"),
    _RACE_ID,
    OBJECTIVE,
    integer("place", "Place of the decision in the race, from 1."),
    integer("round", "Round of looks after which it was made, from 1."),
    MODEL_ID,
    text("decision", "keep, wait, drop, drop_rate, join or end."),
    text("reason", "Why, in plain words."),
    integer("n_examples", "Training examples of the base model so far."),
    number("learning_rate", "Rate that is dropped; else that of its best look, null without one.", nullable=True),
    text("against", "Base model that it is compared with; null where it is none.", nullable=True),
    number("estimate", "Its accuracy at the full data less that of the other, in points; null if none.", True),
    number("low", "Lower end of its interval, in points; null if none.", nullable=True),
    number("high", "Upper end of its interval, in points; null if none.", nullable=True),
    number("probability_best", "Probability that the base model is the best, 0 to 1; null if none.", nullable=True),
    integer("n_looks", "Looks of the whole race so far."),
    number("n_tokens", "Tokens of the whole race so far; a token that is scored counts a third."),
    number("device_seconds", "Device seconds of the whole race so far."),
    partition_by=("objective",),
)

RACE_ANSWERS = table(
    "race_answers",
    "One row per study, objective and way of choosing: which base model it names, and what that cost.",
    ("objective", "method"),
    _RACE_ID,
    OBJECTIVE,
    text("method", "race, or a peer on the same looks, such as full_census or size, where there is a census."),
    text("benchmark", "Benchmark whose items decide."),
    integer("n_candidates", "Base models that it chose from."),
    integer("n_full_examples", "Training examples of the last rung."),
    text("winner", "Base model that it names; null where it names none.", nullable=True),
    number("probability_best", "Probability that it is the best of all; null where the method has none.", True),
    number("probability_within", "Probability that none is better by more than the indifference; null if none.", True),
    text("indifference_set", "Base models that cannot be told apart, the winner among them, as a JSON list."),
    number("indifference", "Difference that does not matter, in points."),
    number("confidence", "Probability with which the best one is not dropped."),
    text("end", "Why the race ended: one_left, decided, not_told_apart, budget or none_left; null of peers.", True),
    text("answer", "The answer in one sentence.", nullable=True),
    integer("n_looks", "Looks taken; null of peers.", nullable=True),
    number("n_trained_tokens", "Tokens trained on."),
    number("n_scored_tokens", "Tokens scored."),
    number("device_seconds", "Seconds of work, times the devices; null where not known.", nullable=True),
    number("n_census_trained_tokens", "Tokens of training each candidate at each rate to the end; of a race expected."),
    number("n_census_scored_tokens", "Tokens of scoring each of them once."),
    number("census_device_seconds", "Device seconds of both; null where not known.", nullable=True),
    text("budget", "Budget that was given, such as 20h; null for none.", nullable=True),
    partition_by=("objective",),
)

RACE_TABLES = by_name(RACE_LOOKS, RACE_ENTRIES, RACE_DECISIONS, RACE_ANSWERS)
"""Raw tables of races, by name."""
