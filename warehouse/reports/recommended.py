"""Recommended base models under limits, from the published marts."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from models_train.errors import UserError
from warehouse.connection import Connection, has_table
from warehouse.contracts.leads import is_distinguishable
from warehouse.contracts.sizes import is_within
from warehouse.reports import labels, queries
from warehouse.training_memory import way_within, ways_to_train

OF_POLICIES = "fct_teacher_recommendations"


@dataclass(frozen=True)
class Limits:
    """What a model must fit in. params_b: billions of parameters. memory_gib: of the device to train on. None: any."""

    params_b: float | None = None
    memory_gib: float | None = None

    def __str__(self) -> str:
        """` of at most 8 B parameters, trainable in 24 GiB`, or nothing."""
        size = "" if self.params_b is None else f" of at most {self.params_b:g} B parameters"
        if self.memory_gib is None:
            return size
        return f"{size}{',' if size else ''} trainable in {self.memory_gib:g} GiB"

    def hold(self, row: Mapping[str, Any]) -> bool:
        """True where a model fits. row: with model_id, params_b and family."""
        name, params_b = row["model_id"], row["params_b"]
        if self.params_b is not None and not is_within(name, params_b, self.params_b):
            return False
        return self.memory_gib is None or way_within(params_b, row["family"] or "", self.memory_gib) is not None


@dataclass(frozen=True)
class Recommendation:
    """The answer for one study and objective.

    rows: best first, as dictionaries with rank, model_id, params_b, basis, expected_score, interval_low,
    interval_high, gain_points_over_default, probability_best, reason, and is_level: not distinguishable from the
    first. n_within: how many models were ranked.
    abstained: (model, reason). is_stored: the limit is one that probabilities are stored for.
    """

    objective: str
    rows: tuple[dict[str, Any], ...]
    n_within: int
    abstained: tuple[tuple[str, str], ...]
    is_stored: bool
    stored_limits: tuple[float, ...]


def recommendations(
    connection: Connection, limits: Limits, objective: str | None, study_id: str | None, top: int
) -> list[tuple[dict[str, Any], list[Recommendation]]]:
    """The best `top` base models within the limits: per study, as a row of dim_studies, one answer per objective.

    objective, study_id: None is all that there are. Raises UserError for a limit or a number of models that is not
    positive, an unknown objective or study, and limits that no model is within.
    """
    for name, number, unit, example in (
        ("MAX_PARAMS", limits.params_b, "billions of parameters", 8),
        ("MEMORY", limits.memory_gib, "GiB of device memory", 24),
    ):
        if number is not None and not (math.isfinite(number) and number > 0):
            raise UserError(f"{name} is {number:g}: give a positive number of {unit}, for example {example}")
    if top < 1:
        raise UserError(f"{top} models were asked for: ask for at least one")
    answers = []
    for study in _studies(connection, study_id):
        models = queries.base_models(connection, study["study_id"])
        answers.append((study, with_size(queries.recommendations(connection, study["study_id"]), models), models))
    frames = [frame for _, frame, _ in answers]
    wanted = _objectives(frames, objective)
    shown = []
    for study, frame, models in answers:
        found = [recommendation(frame.filter(objective=name), models, limits, top) for name in wanted]
        shown.append((study, [one for one in found if one.rows or one.abstained]))
    if not any(one.rows for _, found in shown for one in found):
        raise UserError(_nothing(frames, wanted, limits))
    return shown


def recommendation(frame: pl.DataFrame, models: pl.DataFrame, within: Limits, top: int) -> Recommendation:
    """The best `top` models of one study and objective within the limits.

    frame: rows of `with_size` of one objective; models: of queries.base_models. For a stored size limit alone
    its rows are taken as they are. For any other, the rows without limit are filtered and ranked again, with
    new reasons and without a probability, which would be that of another set of models.
    """
    max_params = within.params_b
    objective = str(frame["objective"][0]) if frame.height else ""
    limits = tuple(sorted({float(limit) for limit in frame["size_limit_b"].drop_nulls()}))
    stored = within.memory_gib is None and (max_params is None or max_params in limits)
    limit = pl.lit(max_params if stored else None, pl.Float64)
    mine = frame.filter(pl.col("size_limit_b").eq_missing(limit))
    if not stored:
        fitting = [within.hold(row) for row in mine.iter_rows(named=True)]
        mine = mine.filter(pl.Series("fitting", fitting, pl.Boolean))
    ranked = mine.filter(pl.col("rank").is_not_null() & pl.col("expected_score").is_not_null()).sort("rank", "model_id")
    rows = ranked.to_dicts()
    rows = [row | {"is_level": is_level(row, rows[0])} for row in rows]
    if not stored:
        defaults = {row["size_group"]: row["model_id"] for row in models.filter("is_default").iter_rows(named=True)}
        groups = dict(models.select("model_id", "size_group").iter_rows())
        for rank, row in enumerate(rows, start=1):
            default = defaults.get(groups.get(row["model_id"]))
            row |= {"rank": rank, "probability_best": None}
            row["reason"] = _reason(row, rows, within, default)
    left = mine.filter(pl.col("rank").is_null()).sort("model_id")
    return Recommendation(
        objective=objective,
        rows=tuple(rows[:top]),
        n_within=len(rows),
        abstained=tuple(left.select("model_id", "reason").unique(maintain_order=True).iter_rows()),
        is_stored=stored,
        stored_limits=limits,
    )


def is_level(row: Mapping[str, Any], first: Mapping[str, Any]) -> bool:
    """Whether a ranked model is not distinguishable from the first; the first itself is not."""
    ends, best = ((one["interval_low"], one["interval_high"]) for one in (row, first))
    told = is_distinguishable(row["expected_score"], ends, first["expected_score"], best)
    return not told and row["model_id"] != first["model_id"]


def _reason(row: dict[str, Any], rows: list[dict[str, Any]], within: Limits, default: str | None) -> str:
    among = f"{labels.plural(len(rows), 'model')}{within}"
    score = labels.number(row["expected_score"])
    if row["basis"] == "predicted":
        ends = labels.interval(row["interval_low"], row["interval_high"])
        text = f"No reward model was trained on it; predicted {score}{f' ({ends})' if ends else ''}"
    else:
        text = f"Measured {score}"
    if row["rank"] == 1:
        text += f", the highest of {among}"
    else:
        behind = labels.number(rows[0]["expected_score"] - row["expected_score"])
        text += f", rank {row['rank']} of {among}, {behind} points behind {rows[0]['model_id']}"
        text += f", not distinguishable from {rows[0]['model_id']}" if row["is_level"] else ""
    gain = row["gain_points_over_default"]
    if row["model_id"] == default:
        text += "; it is the default of its size group"
    elif gain is not None:
        side = "above" if gain >= 0 else "below"
        text += f"; {labels.number(abs(gain))} points {side} the default {default or 'of its size group'}"
    return f"{text}."


def studies_named(connection: Connection, study_id: str | None) -> list[dict[str, Any]]:
    """Rows of queries.studies: all, or that of the name. Raises UserError where there is none."""
    known = queries.studies(connection).to_dicts()
    found = [study for study in known if study_id in (None, study["study_id"])]
    if study_id is not None and not found:
        names = labels.listing([plain(str(study["study_id"])) for study in known])
        raise UserError(f"There is no study {plain(study_id)!r}; the snapshot holds: {names or 'none'}.")
    return found


def _studies(connection: Connection, study_id: str | None) -> list[dict[str, Any]]:
    """The studies to answer for: those with recommendations, or the one that was named."""
    if not has_table(connection, "marts", "fct_recommendations"):
        raise UserError("The published snapshot holds no recommendations yet: run `make run` first.")
    found = [
        study
        for study in studies_named(connection, study_id)
        if queries.recommendations(connection, study["study_id"]).height
    ]
    if not found:
        which = f"study {plain(study_id)}" if study_id else "any study of the snapshot"
        raise UserError(
            f"There are no recommendations for {which}: it has no results to rank. Run `make run` after adding some."
        )
    return found


def _objectives(frames: list[pl.DataFrame], objective: str | None) -> list[str]:
    known = list(dict.fromkeys(str(name) for frame in frames for name in frame["objective"]))
    if objective is None:
        return known
    wanted = objective.strip().lower().replace("-", "_").replace(" ", "_")
    for name in known:
        if name.lower() == wanted or name == objective:
            return [name]
    raise UserError(
        f"There is no objective {plain(objective)!r}; there are: {labels.listing([plain(name) for name in known])}."
    )


def with_size(frame: pl.DataFrame, models: pl.DataFrame) -> pl.DataFrame:
    """The recommendations with family, and params_b, infinite where it is not known: it fits under no limit."""
    columns = models.select("model_id", "params_b", "family")
    sized = frame.join(columns, on="model_id", how="left", maintain_order="left")
    return sized.with_columns(pl.col("params_b").fill_null(math.inf))


def _nothing(frames: list[pl.DataFrame], objectives: list[str], limits: Limits) -> str:
    ranked = [frame.filter(pl.col("rank").is_not_null(), pl.col("objective").is_in(objectives)) for frame in frames]
    models = pl.concat([frame.select("model_id", "params_b", "family") for frame in ranked]).filter(
        pl.col("params_b").is_finite()
    )
    if not models.height or (limits.params_b is None and limits.memory_gib is None):
        return "No model can be recommended: every candidate is an abstention, and no result is there to rank."
    smallest = models.sort("params_b", "model_id").row(0, named=True)
    name = f"the smallest one that can be recommended is {plain(smallest['model_id'])}"
    if limits.params_b is not None and not replace(limits, memory_gib=None).hold(smallest):
        return f"No model has at most {limits.params_b:g} billion parameters: {name} with {smallest['params_b']:g}."
    least = ways_to_train(smallest["params_b"], smallest["family"] or "")[-1]
    return f"No model{limits} can be recommended: {name}, which needs about {least.device_gib:.1f} GiB."


def plain(text: str) -> str:
    """Text without escape sequences and line breaks, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else "�" for letter in str(text))


def recommendations_for_policy(
    connection: Connection,
    policy: str | None,
    use: str | None,
    max_params: float | None,
    objective: str | None,
    study_id: str | None,
) -> list[tuple[dict[str, Any], pl.DataFrame]]:
    """The recommendation for a policy (None: every policy) and a use (None: every use): per study, as a row of
    dim_studies, rows of fct_teacher_recommendations.

    Raises UserError for a policy, use, objective, study or size limit that is not there, naming what is near or there.
    """
    wanted_use = None if use is None else _known(use, labels.USES, "use", folded=True)
    if not has_table(connection, "marts", OF_POLICIES):
        raise UserError("The published snapshot holds no recommendations for policies yet: run `make run` first.")
    studies = studies_named(connection, study_id)
    frames = [queries.teacher_recommendations(connection, study["study_id"]) for study in studies]
    found = [frame for frame in frames if frame.height]
    if not found:
        which = "the study has" if study_id else "no study has"
        raise UserError(
            f"There is no recommendation for a policy: {which} policies with responses and a gold reward. Add "
            "`teachers` to a study file and run `make run`."
        )
    every = pl.concat(found)
    conditions = {
        "policy_id": None if policy is None else _known(policy, every["policy_id"], "policy"),
        "use": wanted_use,
        "objective": None if objective is None else _known(objective, every["objective"], "objective", folded=True),
    }
    limit = _limit(every, max_params)
    shown = []
    for study, frame in zip(studies, frames, strict=True):
        for column, value in conditions.items():
            frame = frame if value is None or frame.is_empty() else frame.filter(pl.col(column) == value)
        if frame.height:
            frame = frame.filter(pl.col("size_limit_b").eq_missing(pl.lit(limit, pl.Float64)))
        if frame.height:
            shown.append((study, frame))
    if not shown:
        asked = [f"{name.removesuffix('_id')} {plain(value)}" for name, value in conditions.items() if value]
        asked += [] if limit is None else [f"at most {limit:g} billion parameters"]
        which = labels.listing(asked)
        raise UserError(f"There is no recommendation for {which}: no base model is a candidate there.")
    return shown


def _known(asked: str, known: Sequence[str] | pl.Series | dict[str, str], what: str, *, folded: bool = False) -> str:
    """The value that is meant. Raises UserError with near ones, else with those that there are."""
    names = list(dict.fromkeys(str(name) for name in known))
    text = asked.strip()
    text = text.lower().replace("-", "_").replace(" ", "_") if folded else text
    if text in names:
        return text
    by_case = {name.casefold(): name for name in names}
    near = [plain(by_case[name]) for name in difflib.get_close_matches(text.casefold(), by_case, n=3, cutoff=0.5)]
    if near:
        raise UserError(f"There is no {what} {plain(asked)!r}; did you mean {_or(near)}?")
    raise UserError(
        f"There is no {what} {plain(asked)!r}; there are: {labels.listing([plain(name) for name in names])}."
    )


def _or(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _limit(frame: pl.DataFrame, max_params: float | None) -> float | None:
    """The stored size limit that is meant: chances of being best are those of all base models within a limit."""
    stored = sorted(frame["size_limit_b"].drop_nulls().unique().to_list())
    if max_params is None or max_params in stored:
        return max_params
    names = labels.listing([f"{limit:g}" for limit in stored])
    raise UserError(
        f"MAX_PARAMS is {max_params:g}: for a policy give one of {names}, or leave it out for any size."
        if stored
        else f"MAX_PARAMS is {max_params:g}: no base model of known size is a candidate; leave it out."
    )
