"""Check the responses of a study's policies by the checks that its gold rewards are made of, and write their parts.

A check that does not apply to a prompt, or that ends otherwise than with a value, has a status. Programs run apart from
everything else, and only where the study says `allow_code: true`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from models_train.checks import code_tests
from models_train.checks.math_answer import MathAnswers
from models_train.checks.verdict import NOT_APPLICABLE, Verdict
from models_train.errors import UserError
from models_train.jobs.command_line import default_processes, run_job
from models_train.jobs.reporting import Reporter, progress
from models_train.parts import part_path, part_rows, renew_run, write_part
from models_train.store import parts_of
from models_train.study.response_ids import check_run_id
from models_train.study.response_parts import Responses, prompt_rows, responses_of, without_text
from models_train.study.study import Study, load_study
from models_train.study.teachers import CODE_TESTS, CheckName
from warehouse.contracts.responses import RESPONSE_CHECKS, RESPONSE_KEY, RESPONSES

Rows = list[dict[str, Any]]
Check = Callable[[str, str | None], Verdict]
"""Takes the text of a response and the gold of its prompt."""


def run(path: Path, home: Path, report: Reporter) -> dict[str, Any]:
    """Run each check where its part is missing; returns figures: `rows`, and checks by status. Raises UserError."""
    study = load_study(path, home)
    if study.teachers is None or not study.teachers.checks:
        raise UserError(
            f"{path}: no gold reward of the study {study.study_id} is made of checks; add one under teachers.gold, as "
            "{checks: [math_answer]}"
        )
    rows = check_responses(study, home, report)
    counts = Counter(f"{row['check_name']}, {row['status'].split(':')[0]}" for row in rows)
    return {"rows": len(rows), **dict(counts.most_common())}


def check_responses(study: Study, home: Path, report: Reporter) -> Rows:
    """Run each check of a study where its part is missing; returns the rows of all."""
    assert study.teachers is not None
    parts, rows = parts_of(home), []
    for name in study.teachers.checks:
        for responses in responses_of(parts, study):
            run_id = check_run_id(name, responses.run_id)
            part = part_path(parts, RESPONSE_CHECKS.name, study.study_id, run_id)
            if part.exists():
                renew_run(parts, RESPONSE_CHECKS.name, study.study_id, run_id)
                rows += part_rows(part)
                continue
            found = _checked(name, study, responses, home, report)
            write_part(parts, RESPONSE_CHECKS, found, study_id=study.study_id, run_id=run_id)
            rows += found
    return rows


def _checked(name: CheckName, study: Study, responses: Responses, home: Path, report: Reporter) -> Rows:
    """Rows of response_checks for the responses of a policy to a prompt set."""
    parts = parts_of(home)
    given = part_rows(part_path(parts, RESPONSES.name, study.study_id, responses.run_id))
    prompts = {row["prompt_id"]: row for row in prompt_rows(parts, study, responses.prompt_set)}
    report.say(f"{name}: {len(given):,} {responses.name}")
    if name == CODE_TESTS and not code_tests.is_isolated():
        report.say(
            f"{name}: programs cannot be kept apart here ({code_tests.REFUSED}); on Linux with user namespaces and "
            f"util-linux they can. To check again, remove the parts of {RESPONSE_CHECKS.name}"
        )
    with (
        _check(name) as check,
        ThreadPoolExecutor(default_processes()) as pool,
        progress(report, f"{name}: {responses.name}: checked", len(given)) as counter,
    ):

        def verdict_on(row: Mapping[str, Any]) -> Verdict:
            return _verdict(name, row, prompts.get(row["prompt_id"], {}), check)

        rows = []
        for row, verdict in zip(given, pool.map(verdict_on, given), strict=True):
            rows.append({"check_name": name} | {one: row[one] for one in RESPONSE_KEY} | vars(verdict))
            counter.advance()
    return rows


@contextmanager
def _check(name: CheckName) -> Iterator[Check]:
    """The check, for several threads at once."""
    if name == CODE_TESTS:
        yield code_tests.check
        return
    idle: SimpleQueue[MathAnswers] = SimpleQueue()
    with ExitStack() as workers:
        for _ in range(default_processes()):
            idle.put(workers.enter_context(MathAnswers()))

        def check(text: str, gold: str | None) -> Verdict:
            one = idle.get()
            try:
                return one.check(text, gold)
            finally:
                idle.put(one)

        yield check


def _verdict(name: CheckName, row: Mapping[str, Any], prompt: Mapping[str, Any], check: Check) -> Verdict:
    kind = prompt.get("gold_kind")
    if kind != name:
        return Verdict(NOT_APPLICABLE, detail=f"the prompt has gold for {kind}" if kind else "the prompt has no gold")
    if without_text(row) is not None:
        return Verdict(NOT_APPLICABLE, detail="there is no text")
    return check(row["text"], prompt["gold"])


main = partial(run_job, "run_checks")

if __name__ == "__main__":
    main()
