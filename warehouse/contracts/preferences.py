"""Raw table of the labels of preferences: what is known of each pair's, and how the cross-fitted estimate judges it."""

from __future__ import annotations

from warehouse.contracts.fields import by_name, flag, integer, number, table, text

PREFERENCE_LABELS = table(
    "preference_labels",
    "One row per study, data (the preferences or a variant of them) and pair: its label, and what reward models of "
    "other folds say of it.",
    ("data_id", "pair_id"),
    text("data_id", "Variant of the preferences; of these themselves the name of the data set or file."),
    text(
        "pair_id",
        "16 hex digits of the SHA-256 of prompt, chosen and rejected response as the preferences state them; the same "
        "in all variants.",
    ),
    text("prompt_id", "16 hex digits of the SHA-256 of the prompt."),
    text("split", "train or validation. Variants change training pairs only."),
    text(
        "label_kind",
        "original (of the data, unchecked), flipped (turned round here), or of a file of labels: same, opposite, "
        "toxic, vague, repetitive, empty.",
    ),
    integer("fold", "Fold of the pair, from 0; null without an estimate.", nullable=True),
    number(
        "cross_fitted_margin",
        "Reward of the chosen less that of the rejected response by reward models that no pair of this fold was "
        "trained on, in log-odds, the mean over seeds; null without an estimate, and for a pair that is not kept.",
        nullable=True,
    ),
    number(
        "p_label",
        "Probability of the label given this margin, calibrated on the margins of all folds; null as the margin is.",
        nullable=True,
    ),
    flag("is_kept", "True for a pair that is trained on, or validated with."),
    flag(
        "is_label_right",
        "True where the chosen response is truly better, in a lab; null where that is not known, or both are equal.",
        nullable=True,
    ),
    text("prompt", "Beginning of the prompt's last turn."),
    text("chosen", "Beginning of the response that the label of this data says is better."),
    text("rejected", "Beginning of the other response."),
    text("source", "Data set or file of the preferences, with its commit or the beginning of its content's hash."),
    partition_by=("data_id",),
)

PREFERENCE_TABLES = by_name(PREFERENCE_LABELS)
"""Raw tables of preferences, by name."""
