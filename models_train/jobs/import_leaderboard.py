"""Import the leaderboards that a study lists, look up what their entries are built on, and write their part."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from models_train.benchmarks.entry_bases import HubCards, base_of
from models_train.benchmarks.leaderboards import read_leaderboard
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.parts import write_part
from models_train.store import parts_of
from models_train.study.fingerprints import leaderboards_run_id
from models_train.study.leaderboards import LeaderboardImport
from models_train.study.study import load_study
from warehouse.contracts.leaderboards import LEADERBOARD_ENTRIES


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Read all leaderboards of the study and write one part; returns figures. Raises UserError, OSError.

    Reading takes seconds, and cards that the hub gave once are kept, so it is repeated each time.
    """
    study = load_study(path, home)
    if not study.leaderboards:
        raise UserError(f"{path}: the study {study.study_id} lists no leaderboard; list files under leaderboards")
    run_id = leaderboards_run_id(study, path.parent)
    cards, rows = HubCards(home), []
    for one in study.leaderboards:
        rows += _rows(one, path.parent, cards, report)
    if cards.n_unasked:
        report.say(
            f"{study.study_id}: the hub could not be asked of {cards.n_unasked:,} repositories ({cards.problem}); "
            "their bases are read from the name, or are unknown. With network, run import_leaderboard again"
        )
    write_part(parts_of(home), LEADERBOARD_ENTRIES, rows, study_id=study.study_id, run_id=run_id)
    return {"rows": len(rows), "leaderboards": len(study.leaderboards)}


def _rows(one: LeaderboardImport, study_folder: Path, cards: HubCards, report: Reporter) -> list[dict[str, Any]]:
    """Rows of one leaderboard; what was left out, and what says the bases, is reported."""
    board = read_leaderboard(one, study_folder)
    for reason, n in board.left_out.items():
        report.say(f"{one.name}: left out {n:,}: {reason}")
    for remark in board.remarks:
        report.say(remark)
    rows = [
        {
            "leaderboard": one.name,
            "snapshot_date": one.snapshot_date,
            "entry": entry.name,
            "model_type": entry.model_type,
            "score": entry.score,
            "categories": json.dumps(entry.results, sort_keys=True),
            "is_judge": entry.is_judge,
            "source": entry.where,
            **vars(base_of(entry, cards)),
        }
        for entry in board.entries
    ]
    sources = Counter("judge" if row["is_judge"] else row["base_source"] for row in rows)
    said = ", ".join(f"{name} {n:,}" for name, n in sorted(sources.items()))
    report.say(f"{one.name} ({one.snapshot_date}): {len(rows):,} entries; bases by {said}")
    return rows


main = partial(run_job, "import_leaderboard")

if __name__ == "__main__":
    main()
