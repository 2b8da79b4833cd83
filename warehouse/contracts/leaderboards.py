"""Raw table of leaderboards of reward models: their entries, and what each of them is built on."""

from __future__ import annotations

from warehouse.contracts.fields import by_name, flag, number, table, text

JOINT = " + "
"""Between the base models of a merge, and between their families."""
UNKNOWN = "unknown"
"""Family, and source, of a base model that nothing says."""

LEADERBOARD_ENTRIES = table(
    "leaderboard_entries",
    "One row per study, leaderboard, snapshot and entry: its score, and the base model that it is built on.",
    ("leaderboard", "snapshot_date", "entry"),
    text("leaderboard", "Name of the leaderboard."),
    text("snapshot_date", "Date of the snapshot, YYYY-MM-DD, as the study states it: the files carry none."),
    text("entry", "Name of the entry, often its repository on the hub."),
    text("model_type", "Type of the entry, as the file states it; null where it states none.", nullable=True),
    number(
        "score",
        "Score of the entry, in percent: as stated, or the mean of six domains (RewardBench 2); null otherwise.",
        nullable=True,
    ),
    text("categories", "JSON: results that the score is made of, in percent."),
    text(
        "kind", "model, adapter or merge (by its base), or judge: a language model that is asked, without such a base."
    ),
    text(
        "base_model",
        "Base model, by the hub's cards at the root; of a merge all, joined by ` + `; null where not known.",
        nullable=True,
    ),
    text(
        "base_family", "Family of the base model; of a merge of each, joined by ` + `; unknown where nothing says it."
    ),
    text("base_source", "What says it: card, config, name (a guess) or unknown."),
    flag("is_judge", "True for a language model that is asked."),
    text("source", "File that the entry was read from."),
)

LEADERBOARD_TABLES = by_name(LEADERBOARD_ENTRIES)
"""Raw tables that importing leaderboards fills, by name."""
