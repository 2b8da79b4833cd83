"""The reader's own question: every choice of purpose, objective and limit that the page offers, with its answer.

The page carries all of them and needs no network; the answer card is one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from warehouse.connection import has_table
from warehouse.reports import labels, queries
from warehouse.reports.elements import Study
from warehouse.reports.recommended import Limits, Recommendation, recommendation, with_size
from warehouse.training_memory import way_within

MEMORIES_GIB = (16.0, 24.0, 48.0, 80.0, 141.0)
"""Memory of devices that the page offers, in GiB."""
SHOWN = 3
"""Models of an answer."""
ANY = Limits()


@dataclass(frozen=True)
class Place:
    """A model of an answer. text: its figure with interval. low, value, high: the same as numbers, None if unknown."""

    name: str
    text: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Choice:
    """One question and its answer. The keys make its address; the labels are what the page offers.

    pick: model, or '' where nothing can be recommended. sure: how certain it is. why: the reason. places: the first of
    the ranking. sql: a query of the snapshot that gives the ranking.
    """

    study: str
    purpose: str
    purpose_label: str
    objective: str
    objective_label: str
    limit: str
    limit_label: str
    question: str
    pick: str
    figure: str
    sure: str
    why: str
    unit: str
    places: tuple[Place, ...]
    sql: str
    is_synthetic: bool

    @property
    def text(self) -> str:
        """Question and answer as plain text."""
        lines = [self.question, f"{self.pick or 'No recommendation'}{f': {self.figure}' if self.figure else ''}"]
        others = [f"{place.name} {place.text}" for place in self.places[1:]]
        lines += [self.sure, self.why, f"Next: {'; '.join(others)}." if others else ""]
        lines.append("Synthetic data: the figures say nothing about real models." if self.is_synthetic else "")
        return "\n".join(line for line in lines if line)

    def record(self) -> dict[str, Any]:
        """The choice for the page, with its text."""
        return asdict(self) | {"text": self.text}


def choices(study: Study) -> list[Choice]:
    """Every choice of a study, in the order that the page offers: by score, on benchmarks, for policies."""
    return [*_by_score(study), *on_benchmarks(study), *_for_policies(study)]


def _by_score(study: Study) -> Iterator[Choice]:
    models = queries.base_models(study.connection, study.study_id)
    frame = queries.recommendations(study.connection, study.study_id)
    if not frame.height:
        return
    sized = with_size(frame, models)
    for objective, part in queries.parts(sized, "objective"):
        stored = sorted({float(limit) for limit in part["size_limit_b"].drop_nulls()})
        n_trainable = 0
        for within in (ANY, *map(Limits, stored), *(Limits(memory_gib=memory) for memory in MEMORIES_GIB)):
            found = recommendation(part, models, within, len(part))
            if within.memory_gib is not None:
                if found.n_within == n_trainable:
                    continue  # more memory that admits no further model: the same answer
                n_trainable = found.n_within
            if found.rows:
                yield of_score(study, objective, within, found)


def of_score(study: Study, objective: str, within: Limits, found: Recommendation) -> Choice:
    """The choice of a base model by the study's score. found: the whole ranking within the limits."""
    first, *_ = found.rows
    level = [row["model_id"] for row in found.rows if row["is_level"]]
    sure = f"Not distinguishable from it: {labels.listing(level, labels.MOST_NAMED)}" if level else _alone(found)
    by = labels.objective(objective)
    way = within.memory_gib and way_within(first["params_b"], first["family"] or "", within.memory_gib)
    return Choice(
        study=study.study_id,
        purpose="score",
        purpose_label=f"{labels.capital(study.basis.text)}",
        objective=objective,
        objective_label=by,
        limit=_limit_key(within),
        limit_label=limit_label(within),
        question=f"Which base model{within} should I train my reward model on? Objective: {by}.",
        pick=first["model_id"],
        figure=_scored(first),
        sure=f"{sure}.",
        why=labels.sentence(first["reason"]) + (f" Training: {way}." if way else ""),
        unit="score",
        places=tuple(
            Place(row["model_id"], _scored(row), row["expected_score"], row["interval_low"], row["interval_high"])
            for row in found.rows[:SHOWN]
        ),
        sql=_score_sql(study.study_id, objective, within, found),
        is_synthetic=study.synthetic,
    )


def _alone(found: Recommendation) -> str:
    if found.n_within == 1:
        return "It is the only model within the limit"
    return "Distinguishable from every other model within the limit"


def limit_label(within: Limits) -> str:
    """'any size', 'at most 8 B parameters', 'trainable in 24 GiB'."""
    return str(within).removeprefix(" of ").strip() or "any size"


def _limit_key(within: Limits) -> str:
    if within.memory_gib is not None:
        return f"{within.memory_gib:g}GiB"
    return "any" if within.params_b is None else f"{within.params_b:g}B"


def _scored(row: Mapping[str, Any]) -> str:
    ends = labels.interval(row["interval_low"], row["interval_high"])
    text = f"{labels.number(row['expected_score'])}{f' (90 % interval {ends})' if ends else ' (no interval)'}"
    return text + ("" if row["basis"] == "observed" else ", predicted")


def _score_sql(study_id: str, objective: str, within: Limits, found: Recommendation) -> str:
    stored = None if within.memory_gib is not None or not found.is_stored else within.params_b
    conditions = [f"study_id = {_quoted(study_id)}", f"objective = {_quoted(objective)}"]
    conditions.append("size_limit_b is null" if stored is None else f"size_limit_b = {stored:g}")
    if within != ANY and stored is None:
        # Which models are within is no column: they are named.
        conditions.append(f"model_id in ({', '.join(_quoted(row['model_id']) for row in found.rows)})")
    return (
        "select model_id, expected_score, interval_low, interval_high, probability_best, reason\n"
        f"from fct_recommendations\nwhere {' and '.join(conditions)} and rank is not null\norder by rank;"
    )


def on_benchmarks(study: Study) -> Iterator[Choice]:
    """The best reward model of any kind on each benchmark."""
    scores = queries.reward_scores(study.connection, study.study_id)
    for benchmark, part in queries.parts(scores, "benchmark"):
        rows = [row for row in part.to_dicts() if row["value"] is not None]
        if not rows:
            continue
        name = labels.reward_benchmark(benchmark)
        pick, figure, remarks = labels.best_reward(rows)
        yield Choice(
            study=study.study_id,
            purpose=f"benchmark:{benchmark}",
            purpose_label=f"Best reward model on {name}",
            objective="any",
            objective_label="any kind",
            limit="any",
            limit_label="any size",
            question=f"Which reward model is best on {name}?",
            pick=pick,
            figure=figure,
            sure=" ".join(labels.sentence(remark) for remark in remarks),
            why="",
            unit=f"percent on {name}",
            places=tuple(
                Place(row["reward_id"], _in_percent(row), row["value"], row["low"], row["high"]) for row in rows[:SHOWN]
            ),
            sql="select reward_id, value, low, high, n\nfrom fct_benchmark_scores\nwhere "
            f"study_id = {_quoted(study.study_id)} and benchmark = {_quoted(benchmark)} and is_main\n"
            "order by value desc nulls last;",
            is_synthetic=study.synthetic,
        )


def _in_percent(row: Mapping[str, Any]) -> str:
    ends = labels.interval(row["low"], row["high"])
    return f"{labels.number(row['value'])} ({ends or 'no interval'})"


def _for_policies(study: Study) -> Iterator[Choice]:
    """The base model of the reward model for each policy and use."""
    if not has_table(study.connection, "marts", "fct_teacher_recommendations"):
        return
    frame = queries.teacher_recommendations(study.connection, study.study_id)
    names_gold = frame.height > 0 and frame["gold_id"].n_unique() > 1
    yield from (of_policy(study, row, names_gold=names_gold) for row in frame.to_dicts())


def of_policy(study: Study, row: Mapping[str, Any], *, names_gold: bool) -> Choice:
    """The choice of a base model for a policy and use. row: of queries.teacher_recommendations. names_gold: whether the
    study has several gold rewards."""
    use = labels.USES.get(row["use"], row["use"])
    gold = f", gold reward {row['gold_id']}" if names_gold else ""
    within = Limits(row["size_limit_b"])
    return Choice(
        study=study.study_id,
        purpose=f"policy:{row['policy_id']}:{row['use']}" + (f":{row['gold_id']}" if gold else ""),
        purpose_label=f"Policy {row['policy_id']}, {use}{gold}",
        objective=row["objective"],
        objective_label=labels.objective(row["objective"]),
        limit=_limit_key(within),
        limit_label=limit_label(within),
        question=f"Which base model{within} should the reward model for {row['policy_id']} be trained on, for "
        f"{use}{gold}? Objective: {labels.objective(row['objective'])}.",
        pick=row["base_model"] or "",
        figure=_expected(row),
        sure=_sure_for_policy(row),
        why=labels.sentence(row["reason"]),
        unit=labels.MEASURES.get(row["measure"], row["measure"] or ""),
        places=(Place(row["base_model"], _expected(row), row["expected"], row["low"], row["high"]),)
        if row["base_model"]
        else (),
        sql="select use, base_model, expected, low, high, probability_best, runner_up, level_with, reason\n"
        f"from fct_teacher_recommendations\nwhere study_id = {_quoted(study.study_id)} and "
        f"policy_id = {_quoted(row['policy_id'])} and use = {_quoted(row['use'])} and "
        f"gold_id = {_quoted(row['gold_id'])}\n  and objective = {_quoted(row['objective'])} and "
        + ("size_limit_b is null;" if row["size_limit_b"] is None else f"size_limit_b = {row['size_limit_b']:g};"),
        is_synthetic=study.synthetic,
    )


def _expected(row: Mapping[str, Any]) -> str:
    if not row["base_model"] or row["expected"] is None:
        return ""
    measure = labels.MEASURES.get(row["measure"], row["measure"])
    ends = labels.interval(row["low"], row["high"], 2)
    return f"{measure} {labels.number(row['expected'], 2)} ({f'95 % interval {ends}' if ends else 'no interval'})"


def _sure_for_policy(row: Mapping[str, Any]) -> str:
    sentences = []
    if row["base_model"] and row["probability_best"] is not None:
        sentences.append(f"Best in {labels.percent(row['probability_best'])} of draws.")
    if row["level_with"]:
        sentences.append(f"Not distinguishable from it: {row['level_with']}.")
    return " ".join(sentences)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
