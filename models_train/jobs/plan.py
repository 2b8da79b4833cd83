"""Plan the document scoring that is left of a study: hours, bottleneck, models at once, actors per model, cost.

The plan is kept in `<home>/plans/<study>.json`: pools of actors take their size from it, and a scoring that ends writes
what was planned beside what it took.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from huggingface_hub.constants import HF_HUB_CACHE

from models_train.data.samples import has_sample, n_documents
from models_train.errors import UserError
from models_train.files import write_text
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter
from models_train.logprobs.kept_costs import kept_costs
from models_train.parts import part_path, part_rows, read_table, write_part
from models_train.plan import (
    ESTIMATE,
    WEIGHT_BYTES,
    Finished,
    Interval,
    ModelWork,
    Plan,
    loading,
    make_plan,
    peak_of,
    speed,
)
from models_train.store import Place, Store, parts_of
from models_train.study.fingerprints import donors, sample_run_id, scoring_run_id
from models_train.study.models import StudyModel
from models_train.study.scoring import Engine, Scoring, Shard, cut
from models_train.study.study import load_study
from warehouse.contracts import REWARD_MODEL_TABLES

JOB = "score_documents"
PLANNED_COSTS = REWARD_MODEL_TABLES["planned_costs"]
DOCUMENT_TOKENS = 900
"""Tokens of a document of which at most 2,048 are scored, where nothing is known of the corpus: SlimPajama's mean."""
CHARACTERS_PER_TOKEN = 4
"""Of English text, to estimate tokens from the lengths of the sample."""
PROCESS_SECONDS = 6.0
"""Start of a process with torch and Transformers, which the costs of a start do not count."""
MOST_GPUS, MOST_PRICE, MOST_PREEMPTIONS = 100_000, 10_000.0, 10.0
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}")


def run(
    path: Path, home: Path, gpus: str, device: str, price: str, preemption: str, probe: str, report: Reporter
) -> dict[str, Any]:
    """Plan what is left and describe it; returns where it is kept. probe: `1` scores two shards first.

    Raises UserError for arguments that are no plan's, for a device that nothing is known of, and OSError.
    """
    n_gpus = _whole(gpus, "GPUS", MOST_GPUS)
    usd = _number(price, "PRICE", MOST_PRICE, "a price in dollars per GPU and hour", "3.2") if price.strip() else None
    if usd == 0:
        raise UserError("PRICE=0: state what a GPU costs per hour, or leave PRICE out: then no cost is given")
    losses = 0.0
    if preemption.strip():
        what = "how often a GPU is taken away per hour"
        losses = _number(preemption, "PREEMPTION", MOST_PREEMPTIONS, what, "0.05")
    if probe.strip() not in ("", "0", "1"):
        raise UserError(f"PROBE={probe}: write PROBE=1 to score a shard first, or leave it out")
    left = StudyWork(path, home)
    probed = left.probe(report) if probe.strip() == "1" else None
    known = left.device(device.strip(), probed)
    works = left.works(known)
    if not works:
        report.say(f"{left.study.study_id}: nothing is left to plan: every shard of every donor is there")
        return {}
    plan = make_plan(works, n_gpus, preemptions=losses, fetch_bytes=left.fetch_bytes(works))
    left.keep(plan, known)
    for line in described(plan, left, known, usd, losses):
        report.say(line)
    return {"kept in": plan_file(home, left.study.study_id)}


def _whole(text: str, name: str, most: int) -> int:
    """A whole number from 1 on. Raises UserError."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not 1 <= int(text) <= most:
        shown = text if text.strip() else "(empty)"
        raise UserError(f"{name}={shown}: state how many GPUs there are, a whole number from 1 to {most:,}")
    return int(text)


def _number(text: str, name: str, most: float, what: str, example: str) -> float:
    """A number from 0 to `most`. Raises UserError."""
    if not _NUMBER.fullmatch(text.strip()) or float(text) > most:
        raise UserError(f"{name}={text}: state {what}, a number from 0 to {most:,g}, such as {example}")
    return float(text)


@dataclass(frozen=True)
class Device:
    """A device and what finished there. load_seconds: of the starts that were measured."""

    name: str
    is_gpu: bool
    finished: tuple[Finished, ...]
    load_seconds: tuple[float, ...]


@dataclass(frozen=True)
class _Piece:
    """Measured work of a model: shards, or a whole scoring (then with its loading); a start has no tokens."""

    model_id: str
    params_b: float | None
    run_id: str
    device: str
    is_gpu: bool
    n_tokens: int
    seconds: float
    n_shards: int


class StudyWork:
    """The document scoring of a study: what is there, what is left, and what was measured."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path, self._home = path, home
        self.study = load_study(path, home)
        if self.study.scoring is None:
            raise UserError(
                f"{path}: the study {self.study.study_id} scores no documents, so there is nothing to plan; add a "
                "group `scoring` to it"
            )
        self.scoring: Scoring = self.study.scoring
        self._sample_id = sample_run_id(self.scoring.corpus, path.parent)
        self._probe_load: float | None = None
        self._look()

    def _look(self) -> None:
        """List the parts, and forget what was known of them: a probe adds some."""
        self._parts = Store.at(parts_of(self._home)).looked()
        self._names = {run_id for run_id, _ in _parts_of(self._parts, "document_scores", self.study.study_id)}
        self._pieces = list(self._measured())

    @cached_property
    def has_sample(self) -> bool:
        """True where the documents are sampled; else their number is the most that the settings allow."""
        return has_sample(self._home / "documents" / self._sample_id)

    @cached_property
    def cuts(self) -> list[Shard]:
        """All shards of a model."""
        corpus = self.scoring.corpus
        most = len(corpus.domains) * corpus.documents_per_domain
        n = n_documents(self._home / "documents" / self._sample_id) if self.has_sample else most
        return cut(n, self.scoring.documents_per_shard)

    @cached_property
    def donors(self) -> list[StudyModel]:
        """Models whose documents are scored: of models that share scores, the donor alone."""
        return [self.study.by_id[model_id] for model_id in dict.fromkeys(donors(self.study).values())]

    @cached_property
    def _run_ids(self) -> dict[str, dict[Engine, str]]:
        """Run ids of each donor, by engine."""
        return {
            model.model_id: {
                engine: scoring_run_id(model, self.scoring, self.path.parent, engine) for engine in self.scoring.engines
            }
            for model in self.donors
        }

    def _left(self, model: StudyModel) -> list[Shard]:
        """Shards of a model that no engine finished; those of the engine that finished most count."""
        names = self._names
        of_engine = [
            [shard for shard in self.cuts if f"{run_id}-{shard.name}" not in names]
            for run_id in self._run_ids[model.model_id].values()
        ]
        return min(of_engine, key=len)

    @property
    def remaining(self) -> dict[str, int]:
        """Shards left of each model that has any."""
        found = {model.model_id: len(self._left(model)) for model in self.donors}
        return {model_id: n for model_id, n in found.items() if n}

    def probe(self, report: Reporter) -> str | None:
        """Score one shard of the smallest and one of the largest model that have any left; returns the device.

        Raises UserError where a job fails; what it scored is kept, like any other shard.
        """
        if not self.has_sample:
            raise UserError(
                f"{self.study.study_id}: a probe scores documents, and they are not sampled yet; run `make run`, or "
                f"`python -m models_train.jobs sample_documents --study {self.path} --home {self._home}`, first"
            )
        left = sorted((model for model in self.donors if self._left(model)), key=lambda one: one.params_b or 0.0)
        device = None
        for model in dict.fromkeys(one.model_id for one in (*left[:1], *left[-1:])):
            report.say(f"probe: a shard of {model}")
            before = self._names
            began = time.monotonic()
            self._score_one(model)
            seconds = time.monotonic() - began
            self._look()
            own = self._run_ids[model].values()  # models of one content have the same
            new = [piece for piece in self._pieces if piece.n_tokens and piece.run_id in own]
            if not new or self._names == before:
                raise UserError(f"the probe of {model} scored no shard; run `make run`, which says what is wrong")
            last = new[-1]
            device = last.device
            load = max(0.0, seconds - last.seconds / last.n_shards)
            self._probe_load = max(load, self._probe_load or 0.0)
        return device

    def _score_one(self, model_id: str) -> None:
        left = self._left(self.study.by_id[model_id])
        split = f"{left[0].index}/{len(self.cuts)}"
        command = [sys.executable, "-m", f"models_train.jobs.{JOB}", "--study", str(self.path), "--model", model_id]
        done = subprocess.run(
            [*command, "--home", str(self._home), "--split", split], capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise UserError(f"the probe of {model_id} failed: {lines[-1]}")

    def device(self, asked: str, probed: str | None) -> Device:
        """The device that is planned for. asked: its name or a part of it; probed: that of the probe.

        Raises UserError where none is named and several, or none, were measured, and where the probe ran on another.
        """
        pieces = self._pieces
        measured = sorted({piece.device for piece in pieces})
        if probed is not None:
            if asked and not _is_called(probed, asked):
                raise UserError(
                    f"DEVICE={asked}: the probe ran here, on {probed}; probe on such a device, or leave it out"
                )
            name = probed
        elif asked:
            found = [one for one in measured if _is_called(one, asked)]
            if len(found) > 1 and asked not in found:
                raise UserError(f"DEVICE={asked} may be {' or '.join(found)}; write the whole name")
            name = asked if asked in found or not found else found[0]
        elif len(measured) == 1:
            name = measured[0]
        else:
            which = f"one of {', '.join(measured)}" if measured else "such as H200: nothing was scored here yet"
            raise UserError(f"state the device as DEVICE=..., {which}; or score a shard on it first (PROBE=1)")
        own = [piece for piece in pieces if piece.device == name]
        finished = tuple(
            Finished(piece.model_id, piece.params_b, piece.n_tokens, piece.seconds)
            for piece in own
            if piece.n_tokens and piece.params_b
        )
        loads = [piece.seconds + PROCESS_SECONDS for piece in own if not piece.n_tokens]
        if self._probe_load is not None:
            loads = [self._probe_load]
        is_gpu = any(piece.is_gpu for piece in own) or peak_of(name) is not None
        return Device(name, is_gpu, finished, tuple(loads))

    def works(self, device: Device) -> list[ModelWork]:
        """What is left of each model on a device. Raises UserError where its speed there is not known."""
        remaining, tokens = self.remaining, self.tokens_per_document()
        per_shard = len(self.cuts) and self.cuts[-1].stop / len(self.cuts)
        found = []
        for model in self.donors:
            if model.model_id not in remaining:
                continue
            if model.params_b is None:
                raise UserError(f"{self.path}: {model.model_id} states no params_b, by which speeds are scaled; add it")
            one = speed(model.model_id, model.params_b, device.name, device.finished)
            seconds = one.seconds.times(per_shard * tokens.get(model.model_id, tokens[""]))
            load = loading(device.load_seconds, device.is_gpu)
            found.append(ModelWork(model.model_id, model.params_b, remaining[model.model_id], seconds, load, one.basis))
        return found

    def tokens_per_document(self) -> dict[str, float]:
        """Mean tokens per document, by model; "" for a model that finished none: of the others, else an estimate."""
        per_shard = max(1.0, self.cuts[-1].stop / len(self.cuts)) if self.cuts else 1.0
        ids = {run_id for of_model in self._run_ids.values() for run_id in of_model.values()}
        found: dict[str, list[int]] = {}
        for piece in self._pieces:
            if piece.run_id in ids and piece.n_tokens:
                tokens, shards = found.setdefault(piece.model_id, [0, 0])
                found[piece.model_id] = [tokens + piece.n_tokens, shards + piece.n_shards]
        means = {model: tokens / (shards * per_shard) for model, (tokens, shards) in found.items()}
        return {"": sum(means.values()) / len(means) if means else self._tokens_of_sample(), **means}

    def _tokens_of_sample(self) -> float:
        most = self.scoring.max_document_tokens
        part = part_path(self._parts, "documents", self.study.study_id, self._sample_id)
        try:
            lengths = read_table(part, columns=["n_characters"])["n_characters"]
        except (OSError, pa.ArrowException):
            return float(min(DOCUMENT_TOKENS, most))
        return float(
            pc.mean(pc.min_element_wise(pc.divide(pc.cast(lengths, "double"), CHARACTERS_PER_TOKEN), most)).as_py() or 1
        )

    def _measured(self) -> Iterator[_Piece]:
        """All that was measured of document scoring in this home. Of a scoring with kept shards these count, without
        their loading; of others the whole, which includes it."""
        own = {run_id: model for model, of_model in self._run_ids.items() for run_id in of_model.values()}
        ended = set()
        for study_id in sorted({item.key.split("/")[1] for item in self._parts.list("run_costs")}):
            sizes = _sizes(self._parts, study_id)
            if study_id == self.study.study_id:
                sizes |= {model.model_id: model.params_b for model in self.study.by_id.values()}
            for run_id, part in _parts_of(self._parts, "run_costs", study_id):
                for row in part_rows(part):
                    if row["job"] == JOB and row["n_tokens"] and row["device_seconds"] > 0:
                        ended.add((study_id, run_id))
                        params_b = sizes.get(row["model_id"])
                        kept = list(self._kept(study_id, run_id, row["model_id"], params_b))
                        yield from kept or [_piece(row, row["model_id"], params_b, run_id, len(self.cuts))]
        for run_id, model_id in own.items():
            if (self.study.study_id, run_id) not in ended:
                yield from self._kept(self.study.study_id, run_id, model_id, self.study.by_id[model_id].params_b)

    def _kept(self, study_id: str, run_id: str, model_id: str, params_b: float | None) -> Iterator[_Piece]:
        """Kept costs of the starts and shards of a scoring, oldest first."""
        folder = self._home / "document_scores" / study_id / run_id
        for name, row in kept_costs(self._parts, folder, study_id, run_id).items():
            if name.startswith("start-"):
                yield _piece(row | {"n_tokens": 0}, model_id, params_b, run_id, 0)
            elif row["n_tokens"]:
                yield _piece(row, model_id, params_b, run_id, 1)

    def fetch_bytes(self, works: list[ModelWork]) -> float:
        """Weights of hub models that the hub's cache on this machine lacks, in bytes."""
        sizes = {work.model_id: work.params_b * 1e9 * WEIGHT_BYTES for work in works}
        cache = Path(HF_HUB_CACHE)
        return sum(
            sizes[model.model_id]
            for model in self.donors
            if model.model_id in sizes
            and not model.is_local
            and not (cache / f"models--{model.hub_id.replace('/', '--')}" / "snapshots").is_dir()
        )

    def keep(self, plan: Plan, device: Device) -> None:
        """Keep the plan: actors per model, and its device seconds as a whole, shards that are there included."""
        models = {
            work.model_id: {
                "actors": plan.actors[work.model_id],
                "basis": work.basis,
                "device_seconds": [
                    getattr(work.shard_seconds, end) * len(self.cuts)
                    + getattr(work.load_seconds, end) * plan.actors[work.model_id]
                    for end in ("low", "value", "high")
                ],
            }
            for work in plan.works
        }
        kept = {
            "device": device.name,
            "gpus": plan.gpus,
            "wall_hours": plan.wall_hours.value,
            "models_at_once": plan.models_at_once,
            "models": models,
        }
        write_text(plan_file(self._home, self.study.study_id), json.dumps(kept, indent=1))


def _is_called(name: str, asked: str) -> bool:
    """True where a device's name has all words that were asked for, such as H200 for `NVIDIA H200`."""
    return set(asked.lower().split()) <= set(name.lower().split())


def _parts_of(parts: Store, table: str, study_id: str) -> Iterator[tuple[str, Path | Place]]:
    """Run ids of the parts of a table and study, and where each is."""
    for item in parts.list(f"{table}/{study_id}"):
        if item.key.endswith(".parquet"):
            yield PurePosixPath(item.key).stem, parts.place(item.key)


def _sizes(parts: Store, study_id: str) -> dict[str, float | None]:
    """Billions of parameters of a study's models, as its parts say."""
    found: dict[str, float | None] = {}
    for _, part in _parts_of(parts, "base_models", study_id):
        found |= {row["model_id"]: row["params_b"] for row in part_rows(part)}
    return found


def _piece(costs: Mapping[str, Any], model_id: str, params_b: float | None, run_id: str, n_shards: int) -> _Piece:
    device, is_gpu = costs["device"], costs["is_gpu"]
    return _Piece(model_id, params_b, run_id, device, is_gpu, costs["n_tokens"], costs["device_seconds"], n_shards)


def plan_file(home: Path, study_id: str) -> Path:
    """Where the last plan of a study is kept."""
    return home / "plans" / f"{study_id}.json"


def kept_plan(home: Path, study_id: str) -> dict[str, Any] | None:
    """The last plan of a study; None where there is none that can be read."""
    try:
        found = json.loads(plan_file(home, study_id).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("models"), dict) else None


def planned_actors(home: Path, study_id: str, model_id: str) -> int | None:
    """Most actors of a model's pool, as planned; None without a plan of it."""
    plan = kept_plan(home, study_id)
    one = plan["models"].get(model_id) if plan else None
    return int(one["actors"]) if one else None


def write_planned(home: Path, study_id: str, model_id: str, run_id: str, engine: str, device: str) -> None:
    """Write what was planned for a scoring that ended, where there is a plan for this device."""
    plan = kept_plan(home, study_id)
    one = plan["models"].get(model_id) if plan else None
    if plan is None or one is None or not _is_called(device, plan["device"]):
        return
    low, value, high = one["device_seconds"]
    row = {
        "model_id": model_id,
        "job": JOB,
        "variant": engine,
        "device_seconds": value,
        "device_seconds_low": low,
        "device_seconds_high": high,
        "basis": one["basis"],
    }
    write_part(parts_of(home), PLANNED_COSTS, [row], study_id=study_id, run_id=run_id)


def described(plan: Plan, left: StudyWork, device: Device, usd: float | None, losses: float) -> Iterator[str]:
    """The plan as text, a line each."""
    n_shards = sum(work.n_shards for work in plan.works)
    n_donors, n_models = len(left.donors), len(donors(left.study))
    yield (
        f"{left.study.study_id} on {plan.gpus:,} x {device.name}: {n_shards:,} of {n_donors * len(left.cuts):,} shards "
        f"are left, of {len(plan.works)} of {n_donors} models"
        + (f" ({n_models - n_donors} others share their scores)" if n_models > n_donors else "")
    )
    if not left.has_sample:
        yield "documents: not sampled yet; counted is the most that the settings allow"
    yield f"speed: {_bases(plan, device)}"
    yield f"GPU hours: {_shown(plan.gpu_hours)}"
    yield (f"wall hours: {_shown(plan.wall_hours)}; one model after another: {plan.one_by_one_hours:.2f}")
    yield (
        f"lost to loading: {plan.loading_share:.1%} of the bill in {plan.n_loads:,} loads (one after another "
        f"{plan.one_by_one_loading_share:.1%}, waiting included); waiting: {plan.idle_share:.1%}"
    )
    yield f"bottleneck: {plan.bottleneck}"
    if losses:
        yield f"preemptions: {losses:g} per GPU and hour, about {plan.redone_shards:.0f} shards begun twice"
    yield f"models at once: {plan.models_at_once} (REWARDBASE_WORKERS={plan.models_at_once})"
    yield f"actors: {', '.join(f'{model} {n}' for model, n in plan.actors.items())}"
    if usd is None:
        yield "cost: none without a price (PRICE=, dollars per GPU and hour)"
    else:
        bill = _shown(plan.billed_hours.times(usd))
        yield f"cost: {bill} dollars, at {usd:g} a GPU and hour from first to last second"


def _bases(plan: Plan, device: Device) -> str:
    bases = {basis: sum(work.basis == basis for work in plan.works) for basis in {work.basis for work in plan.works}}
    if ESTIMATE in bases:
        return f"an ESTIMATE from the data sheet of {device.name}, no measurement; PROBE=1 on it would give one"
    return (
        ", ".join(
            f"{n} {'model' if n == 1 else 'models'} {'by own shards' if basis == 'measured' else 'scaled by weights'}"
            for basis, n in sorted(bases.items())
        )
        + f", measured on {device.name}"
    )


def _shown(interval: Interval) -> str:
    digits = 1 if interval.value >= 10 else 2 if interval.value >= 0.1 else 4
    return f"{interval.value:,.{digits}f} ({interval.low:,.{digits}f} to {interval.high:,.{digits}f})"


main = partial(run_job, "plan")

if __name__ == "__main__":
    main()
