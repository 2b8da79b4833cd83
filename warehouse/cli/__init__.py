"""Commands on the published snapshot: `answer` (printed by `make run`), `recommend` and `shell` (SQL)."""
