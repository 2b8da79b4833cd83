"""Score the sampled documents of a study under one base model, shard by shard (paper, Section 5.2).

Every finished shard is a part; it is never done twice. Started several times at once, for instance once per GPU, the
processes share the shards of the model; each ends when all shards are done.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter as Statuses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from models_train.data.samples import n_documents, read_sample
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.plan import write_planned
from models_train.jobs.reporting import Counter, Reporter, progress
from models_train.jobs.training_job import beside_others, model_of, scoring_of, study_of
from models_train.logprobs.engine import OK, Request
from models_train.logprobs.scorer import Scorer, engines_to_try, load_engine
from models_train.logprobs.shards import DOCUMENT_SCORES, Shards, documents_of, sample_content
from models_train.logprobs.tokenization import DocumentTokenizer, most_tokens
from models_train.metering import default_device, library_versions, measure
from models_train.modeling.base_models import (
    ModelSource,
    context_length,
    load_config,
    load_tokenizer,
    model_source,
)
from models_train.parts import part_path, part_rows, renew_run, write_part
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


def run(path: Path, model_id: str, home: Path, report: Reporter) -> dict[str, Any]:
    """Score what is left; returns figures over all documents. Raises UserError, OSError."""
    return ScoringJob(path, model_id, home, report).run()


class ScoringJob:
    """The scoring of a study's documents under one of its models."""

    def __init__(self, path: Path, model_id: str, home: Path, report: Reporter) -> None:
        self._report, self._home, self._parts, self._path = report, home, home / "parts", path
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
        cuts = cut(n_documents(self._sample), self._scoring.documents_per_shard)
        begun = self._begun(cuts)
        engine = begun[0] if begun else None
        if engine is None or self._shards(engine, cuts).left():
            with beside_others(self._home, lambda text: self._report.say(f"{model_id}: {text}")):
                engine = self._score(cuts, begun)
        elif self._costs_part(engine).exists():
            self._report.say(f"{model_id}: all {len(cuts)} shards are done; nothing to do")
            for table in (DOCUMENT_SCORES, RUN_COSTS):
                renew_run(self._parts, table.name, self._study.study_id, self._run_ids[engine])
        return self._finish(engine, self._shards(engine, cuts))

    def _shards(self, engine: EngineName, cuts: list[Shard]) -> Shards:
        run_id = self._run_ids[engine]
        return Shards(self._folder / run_id, self._parts, self._study.study_id, run_id, cuts)

    def _costs_part(self, engine: EngineName) -> Path:
        return part_path(self._parts, RUN_COSTS.name, self._study.study_id, self._run_ids[engine])

    def _begun(self, cuts: list[Shard]) -> list[EngineName]:
        """Engines of the study that finished a shard of this model, the one with most first."""
        done = {engine: n_finished(self._shards(engine, cuts), cuts) for engine in self._run_ids}
        return sorted((engine for engine in done if done[engine]), key=lambda engine: -done[engine])

    def _score(self, cuts: list[Shard], begun: Sequence[EngineName]) -> EngineName:
        """Score what is left; returns the engine that did. begun: engines that finished a shard before."""
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
        shards = self._shards(engine, cuts)
        shards.agree(facts)
        shards.add_costs(f"start-{uuid.uuid4().hex[:8]}", meter.costs)
        with progress(self._report, "documents", cuts[-1].stop, n_finished(shards, cuts)) as counter:
            while shards.left():
                counter.done = n_finished(shards, cuts)
                with shards.claimed() as shard:
                    if shard is not None:
                        self._score_shard(shard, shards, scorer, counter)
                if shard is None:
                    counter.advance(0, text="other processes are at the last shards")
                    time.sleep(SECONDS_BETWEEN_CHECKS)
        return engine

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

    def _score_shard(self, shard: Shard, shards: Shards, scorer: Scorer, counter: Counter) -> None:
        documents = documents_of(self._sample, shard)
        with measure(default_device()) as meter:

            def count(n_documents: int, n_tokens: int) -> None:
                meter.add_tokens(n_tokens)
                counter.advance(n_documents, n_tokens, f"shard {shard.name}")

            rows = scorer.rows(documents, self._scoring.corpus.name, shard.name, count)
        # Costs first: a shard whose part is there is never looked at again.
        shards.add_costs(shard.name, meter.costs)
        run_id = shards.part_id(shard)
        write_part(self._parts, DOCUMENT_SCORES, rows, study_id=self._study.study_id, run_id=run_id)

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


def n_finished(shards: Shards, cuts: Sequence[Shard]) -> int:
    """Documents in finished shards, those of other processes included."""
    return sum(shard.stop - shard.start for shard in set(cuts) - set(shards.left()))


main = partial(run_job, "score_documents")

if __name__ == "__main__":
    main()
