"""Score the sampled documents of a study under one base model, shard by shard (paper, Section 5.2).

Every finished shard is a part; it is never done twice. Started several times at once, for instance once per GPU, the
processes share the shards of the model; each ends when all shards are done. The tasks of a job array take a share each
(`--split i/n`), and the workers of a Ray cluster whatever is next (`models_train/jobs/cluster.py`).
"""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter as Statuses
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from models_train.data.samples import n_documents, read_sample
from models_train.errors import UserError
from models_train.jobs.cluster import Facts, Split, on_cluster, run_shards
from models_train.jobs.command_line import run_job
from models_train.jobs.plan import planned_actors, write_planned
from models_train.jobs.reporting import Notes, Reporter, progress
from models_train.jobs.training_job import beside_others, model_of, scoring_of, study_of
from models_train.logprobs.engine import OK, Request
from models_train.logprobs.scorer import Scorer, engines_to_try, load_engine
from models_train.logprobs.shards import DOCUMENT_SCORES, Shards, documents_of, sample_content
from models_train.logprobs.tokenization import DocumentTokenizer, most_tokens
from models_train.metering import Costs, default_device, device_name, library_versions, measure
from models_train.modeling.base_models import (
    ModelSource,
    context_length,
    load_config,
    load_tokenizer,
    model_source,
)
from models_train.parts import part_path, part_rows, renew_run, write_part
from models_train.store import Parts, Place, parts_of
from models_train.study.fingerprints import donors, sample_run_id, scoring_run_id
from models_train.study.scoring import Engine as EngineName
from models_train.study.scoring import Shard, cut
from warehouse.contracts import REWARD_MODEL_TABLES

JOB = "score_documents"
RUN_COSTS = REWARD_MODEL_TABLES["run_costs"]
TRIAL_DOCUMENTS = 64
"""Documents of the sample that the trial of the engine chooses from."""
SECONDS_BETWEEN_CHECKS = 1.0
"""Time between two checks of the shards that other processes hold, in seconds; an abandoned one is scored here."""


def run(path: Path, model_id: str, home: Path, split: str | None, report: Reporter) -> dict[str, Any]:
    """Score what is left; returns figures over all documents. split: `i/n`, a share. Raises UserError, OSError."""
    return ScoringJob(path, model_id, home, report, split).run()


class ScoringJob:
    """The scoring of a study's documents under one of its models."""

    def __init__(self, path: Path, model_id: str, home: Path, report: Reporter, split: str | None = None) -> None:
        self._split = None if split is None else Split.parse(split)
        self._is_on_cluster = on_cluster()
        self._report, self._home, self._parts, self._path = report, home, parts_of(home), path
        self._study = study_of(path, home)
        self._model = model_of(self._study, path, model_id, home)
        self._scoring = scoring_of(self._study, path)
        self._sample = home / "documents" / sample_run_id(self._scoring.corpus, path.parent)
        self._folder = home / "document_scores" / self._study.study_id
        self._run_ids = {
            engine: scoring_run_id(self._model, self._scoring, path.parent, engine) for engine in self._scoring.engines
        }

    def run(self) -> dict[str, Any]:
        """Score what is left; returns figures over all documents."""
        model_id = self._model.model_id
        donor = donors(self._study).get(model_id, model_id)
        if donor != model_id:
            self._report.say(
                f"{model_id}: its scores are those of {donor}, which has the same family and pre-training tokens; "
                "nothing to do (`share_within_family: false` in the study file scores each model)"
            )
            return {"donor": donor}
        cuts = self._cuts()
        share = cuts if self._split is None else cuts[self._split.index :: self._split.n]
        if not share:
            self._report.say(f"{model_id}: no shard in this share of {len(cuts)}; nothing to do")
            return {"rows": 0}
        begun = self._begun(cuts)
        engine = begun[0] if begun else None
        if engine is None or self._shards(engine, share).left():
            if self._is_on_cluster:
                engine = self._score_on_cluster(share, begun)
            else:
                with beside_others(self._home, lambda text: self._report.say(f"{model_id}: {text}")):
                    engine = self._score(share, begun)
        elif self._costs_part(engine).exists():
            self._report.say(f"{model_id}: all {len(cuts)} shards are done; nothing to do")
            for table in (DOCUMENT_SCORES, RUN_COSTS):
                renew_run(self._parts, table.name, self._study.study_id, self._run_ids[engine])
        n_left = len(self._shards(engine, cuts).left())
        if n_left and self._split is None:
            raise UserError(
                f"{model_id}: {n_left} of {len(cuts)} shards have no part, though all were worked on; let nothing "
                "remove parts, and start this again"
            )
        if n_left:
            self._report.say(f"{model_id}: this share is done; {n_left} of {len(cuts)} shards are left to others")
            return {"rows": n_of(share), "engine": engine}
        return self._finish(engine, self._shards(engine, cuts))

    def _cuts(self) -> list[Shard]:
        """All shards of the sample."""
        return cut(n_documents(self._sample), self._scoring.documents_per_shard)

    def _shards(self, engine: EngineName, cuts: list[Shard]) -> Shards:
        run_id = self._run_ids[engine]
        return Shards(self._folder / run_id, self._parts, self._study.study_id, run_id, cuts)

    def _costs_part(self, engine: EngineName) -> Path | Place:
        return part_path(self._parts, RUN_COSTS.name, self._study.study_id, self._run_ids[engine])

    def _begun(self, cuts: list[Shard]) -> list[EngineName]:
        """Engines of the study that finished a shard of this model, the one with most first."""
        done = {engine: n_finished(self._shards(engine, cuts), cuts) for engine in self._run_ids}
        return sorted((engine for engine in done if done[engine]), key=lambda engine: -done[engine])

    def _score(self, share: list[Shard], begun: Sequence[EngineName]) -> EngineName:
        """Score what is left in this process; returns the engine that did. begun: engines that finished a shard."""
        worker = self.ready(begun)
        shards = self._shards(worker.engine, share)
        with progress(self._report, "documents", n_of(share), n_finished(shards, share)) as counter:
            for shard in self._claimed(shards):
                counter.done = n_finished(shards, share)
                if shard is None:
                    counter.advance(0, text="other processes are at the last shards")
                    time.sleep(SECONDS_BETWEEN_CHECKS)
                else:
                    worker.score(shard, partial(counter.advance, text=f"shard {shard.name}"))
        return worker.engine

    def _claimed(self, shards: Shards) -> Iterator[Shard | None]:
        """What is left, shard by shard; None while other processes hold it. A share is nobody else's."""
        if self._split is not None:
            yield from shards.left()
            return
        while shards.left():
            with shards.claimed() as shard:
                yield shard

    def _score_on_cluster(self, share: list[Shard], begun: Sequence[EngineName]) -> EngineName:
        """Score what is left on the cluster; returns the engine that did."""
        engine = begun[0] if begun else None
        left = share if engine is None else self._shards(engine, share).left()
        n_done = n_of(share) - n_of(left)
        devices: Statuses[str] = Statuses()
        said: set[str] = set()
        with progress(self._report, "documents", n_of(share), n_done) as counter:
            most = planned_actors(self._home, self._study.study_id, self._model.model_id)
            work = DocumentWork(self, begun, library_versions())
            for facts in run_shards([shard.index for shard in left], work, most):
                for text in set(facts["said"]) - said:
                    self._report.say(f"{facts['host']}: {text}")
                said |= set(facts["said"])  # most workers say the same
                engine = facts["engine"]
                devices[facts["device"]] += 1
                counter.advance(facts["documents"], facts["tokens"], f"shard {facts['shard']} on {facts['host']}")
        if len(devices) > 1:
            found = ", ".join(f"{device} ({n} shards)" for device, n in devices.most_common())
            self._report.say(f"{self._model.model_id}: scored on several kinds of device: {found}; its costs name them")
        if engine is None:
            raise UserError(
                f"{self._model.model_id}: the cluster returned no shard; see Ray's logs, and start it again"
            )
        return engine

    def ready(self, begun: Sequence[EngineName], agree: Callable[[str, str], str] | None = None) -> DocumentWorker:
        """Load the model, and check that its scores go with those that are there.

        begun: engines that finished a shard before. agree: takes a choice, returns that of the first worker.
        """
        cuts = self._cuts()
        source = model_source(self._model, self._path.parent)
        tokenizer = DocumentTokenizer(source.name, load_tokenizer(source))
        config = load_config(source)
        facts = {
            "the tokenizer": tokenizer.content,
            "the sample of documents": sample_content(self._sample),
            "the model": source.stated_revision,
        }
        for one in begun:
            self._shards(one, cuts).agree(facts)
        with measure(default_device()) as meter:
            scorer = self._scorer(source, config, tokenizer, begun)
        engine = next(one for one in self._run_ids if one == scorer.engine.name)
        agreed = engine if agree is None else agree("engine", begun[0] if begun else engine)
        if agreed != engine:
            raise UserError(
                f"{source.name}: the {engine} engine would score here, and the {agreed} engine scores other shards; "
                "set `engine` in the study file to one that runs on all machines"
            )
        shards = self._shards(engine, cuts)
        shards.agree(facts)
        shards.add_costs(f"start-{uuid.uuid4().hex[:8]}", meter.costs)
        return DocumentWorker(scorer, engine, shards, self._scoring.corpus.name, self._sample, self._parts)

    def _scorer(
        self,
        source: ModelSource,
        config: PreTrainedConfig,
        tokenizer: DocumentTokenizer,
        begun: Sequence[EngineName],
    ) -> Scorer:
        has_bos = tokenizer.bos_token_id is not None
        n_tokens = most_tokens(self._scoring.max_document_tokens, context_length(config), has_bos)
        engines, reason = engines_to_try(self._scoring, begun)
        engine = load_engine(
            self._scoring,
            engines,
            source,
            tokenizer.largest_token_id,
            n_tokens + has_bos,
            self._trial_documents(tokenizer, n_tokens),
            self._report.say,
        )
        self._report.say(
            f"{source.name}: {engine.name} engine{f' ({reason})' if reason else ''}, {engine.dtype} on "
            f"{default_device()}, like plain Transformers on documents of the sample; the first {n_tokens:,} tokens of "
            f"a document, from the second on{', a BOS token before them' if has_bos else ''}"
        )
        return Scorer(source.name, engine, tokenizer, n_tokens, library_versions())

    def _trial_documents(self, tokenizer: DocumentTokenizer, n_tokens: int) -> list[Request]:
        """The first documents of the sample, whose order is that of their hashes: a mixture of all domains."""
        documents = read_sample(self._sample, 0, TRIAL_DOCUMENTS)
        tokenized = tokenizer.tokenized([document.text for document in documents], n_tokens)
        return [Request("trial", one.token_ids) for one in tokenized if one.status == OK]

    def _finish(self, engine: EngineName, shards: Shards) -> dict[str, Any]:
        """The costs of all shards, written once, and figures over all documents. Raises UserError where all failed."""
        statuses = Statuses(status.split(":")[0] for status in shards.statuses())
        n_rows, n_ok = statuses.total(), statuses.pop(OK, 0)
        if not n_ok:
            found = ", ".join(f"{status} ({n:,})" for status, n in statuses.most_common(3))
            raise UserError(
                f"{self._model.model_id}: none of {n_rows:,} documents could be scored: {found}; correct the model, "
                "its tokenizer or the documents"
            )
        part = self._costs_part(engine)
        if not part.exists():
            row = shards.costs().row(self._model.model_id, JOB, engine)
            write_part(self._parts, RUN_COSTS, [row], study_id=self._study.study_id, run_id=self._run_ids[engine])
        (costs,) = part_rows(part)
        write_planned(
            self._home, self._study.study_id, self._model.model_id, self._run_ids[engine], engine, costs["device"]
        )
        return {
            "rows": n_rows,
            "engine": engine,
            "failed documents": n_rows - n_ok,
            "share of failed documents": (n_rows - n_ok) / n_rows,
            **{f"documents, {status}": n for status, n in sorted(statuses.items())},
            "tokens": costs["n_tokens"],
            "tokens per second": round(costs["n_tokens"] / costs["device_seconds"], 1),
            "device seconds": round(costs["device_seconds"], 1),
            "device": costs["device"],
        }


@dataclass(frozen=True)
class DocumentWorker:
    """A process that is ready to score shards. sample: folder of the documents."""

    scorer: Scorer
    engine: EngineName
    shards: Shards
    corpus: str
    sample: Path
    parts: Parts

    def score(self, shard: Shard, count: Callable[[int, int], None] | None = None) -> Costs:
        """Score a shard and write its part, unless another process did meanwhile; returns what it cost."""
        documents = documents_of(self.sample, shard)
        with measure(default_device()) as meter:

            def counted(n_documents: int, n_tokens: int) -> None:
                meter.add_tokens(n_tokens)
                if count is not None:
                    count(n_documents, n_tokens)

            rows = self.scorer.rows(documents, self.corpus, shard.name, counted)
        self._keep(shard, rows, meter.costs)
        return meter.costs

    def do(self, shard: int) -> Facts:
        """Score a shard by its number, unless its part is there; returns what came of it."""
        one = self.shards.numbered(shard)
        if self.shards.part(one).exists():
            return self._facts(one, 0)
        return self._facts(one, self.score(one).n_tokens)

    def give_up(self, shard: int, reason: str) -> Facts:
        """Write rows without scores for a shard that killed its workers."""
        one = self.shards.numbered(shard)
        rows = self.scorer.failed_rows(documents_of(self.sample, one), self.corpus, one.name, reason)
        with measure(default_device()) as meter:
            pass
        self._keep(one, rows, meter.costs)
        said = f"shard {one.name} is given up: {reason}; remove {self.shards.part(one)} to score it again"
        return self._facts(one, 0) | {"said": [said]}

    def _facts(self, shard: Shard, n_tokens: int) -> Facts:
        return {
            "shard": shard.name,
            "engine": self.engine,
            "documents": shard.stop - shard.start,
            "tokens": n_tokens,
            "device": device_name(default_device()),
        }

    def _keep(self, shard: Shard, rows: list[dict[str, Any]], costs: Costs) -> None:
        own: dict[str, Any] = {"study_id": self.shards.study_id, "run_id": self.shards.part_id(shard)}
        if write_part(self.parts, DOCUMENT_SCORES, rows, **own, new=True, costs=vars(costs)) is None:
            self.shards.add_costs(f"again-{shard.name}-{uuid.uuid4().hex[:8]}", costs)


@dataclass(frozen=True)
class DocumentWork:
    """The scoring of a model, as it is sent to workers on other machines. begun: engines that finished a shard.
    versions: of the libraries of this process, as JSON."""

    job: ScoringJob
    begun: Sequence[EngineName]
    versions: str

    def __post_init__(self) -> None:
        job = copy(self.job)
        job._report = Notes(print)  # that of this process cannot be sent
        object.__setattr__(self, "job", job)

    def begin(self, agree: Callable[[str, str], str], say: Callable[[str], None]) -> DocumentWorker:
        """Load the model on this machine. Raises UserError where it differs from the others."""
        self._compare(json.loads(self.versions), json.loads(library_versions()))
        self.job._report = Notes(say)
        return self.job.ready(self.begun, agree)

    def _compare(self, wanted: dict[str, str], found: dict[str, str]) -> None:
        different = [
            f"{name} {found.get(name, 'missing')} instead of {wanted.get(name, 'none')}"
            for name in sorted(wanted.keys() | found.keys())
            if wanted.get(name) != found.get(name)
        ]
        if different:
            raise UserError(
                f"a machine of the cluster has other libraries than that of the job: {', '.join(different)}; install "
                "requirements.lock on all of them"
            )


def n_of(shards: Iterable[Shard]) -> int:
    """Documents in shards."""
    return sum(shard.stop - shard.start for shard in shards)


def n_finished(shards: Shards, cuts: Sequence[Shard]) -> int:
    """Documents in finished shards, those of other processes included."""
    return n_of(set(cuts) - set(shards.left()))


main = partial(run_job, "score_documents")

if __name__ == "__main__":
    main()
