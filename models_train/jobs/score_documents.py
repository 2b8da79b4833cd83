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

from models_train.data.samples import n_documents
from models_train.errors import UserError
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Counter, Reporter, progress
from models_train.jobs.training_job import beside_others, model_of, scoring_of
from models_train.logprobs.engine import OK
from models_train.logprobs.scorer import Scorer, load_engine
from models_train.logprobs.shards import DOCUMENT_SCORES, Shard, Shards, cut, documents_of, sample_content
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
from models_train.study.study import load_study
from warehouse.contracts import REWARD_MODEL_TABLES

JOB = "score_documents"
RUN_COSTS = REWARD_MODEL_TABLES["run_costs"]
SECONDS_BETWEEN_CHECKS = 1.0
"""Time between two checks of the shards that other processes hold, in seconds; an abandoned one is scored here."""


def run(path: Path, model_id: str, home: Path, report: Reporter) -> dict[str, Any]:
    """Score what is left; returns figures over all documents. Raises UserError, OSError."""
    return ScoringJob(path, model_id, home, report).run()


class ScoringJob:
    """The scoring of a study's documents under one of its models."""

    def __init__(self, path: Path, model_id: str, home: Path, report: Reporter) -> None:
        self._report, self._home, self._parts, self._path = report, home, home / "parts", path
        self._study = load_study(path, home)
        self._model = model_of(self._study, path, model_id, home)
        self._scoring = scoring_of(self._study, path)
        self._sample = home / "documents" / sample_run_id(self._scoring.corpus, path.parent)
        self._run_id = scoring_run_id(self._model, self._scoring, path.parent)
        self._folder = home / "document_scores" / self._study.study_id / self._run_id

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
        shards = Shards(self._folder, self._parts, self._study.study_id, self._run_id, cuts)
        if shards.left():
            with beside_others(self._home, lambda text: self._report.say(f"{model_id}: {text}")):
                self._score(shards, cuts)
        elif self._costs_part.exists():
            self._report.say(f"{model_id}: all {len(cuts)} shards are done; nothing to do")
            for table in (DOCUMENT_SCORES, RUN_COSTS):
                renew_run(self._parts, table.name, self._study.study_id, self._run_id)
        return self._finish(shards)

    @property
    def _costs_part(self) -> Path:
        return part_path(self._parts, RUN_COSTS.name, self._study.study_id, self._run_id)

    def _score(self, shards: Shards, cuts: Sequence[Shard]) -> None:
        source = model_source(self._model, self._path.parent)
        tokenizer = DocumentTokenizer(source.name, load_tokenizer(source))
        config = load_config(source)
        shards.agree(
            {
                "the tokenizer": tokenizer.content,
                "the sample of documents": sample_content(self._sample),
                "the model": source.stated_revision,
            }
        )
        with measure(default_device()) as meter:
            scorer = self._scorer(source, config, tokenizer)
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

    def _scorer(self, source: ModelSource, config: PreTrainedConfig, tokenizer: DocumentTokenizer) -> Scorer:
        has_bos = tokenizer.bos_token_id is not None
        n_tokens = most_tokens(self._scoring.max_document_tokens, context_length(config), has_bos)
        engine = load_engine(self._scoring, source, tokenizer.largest_token_id, n_tokens + has_bos)
        self._report.say(
            f"{source.name}: {engine.name} engine, {engine.dtype} on {default_device()}, the first {n_tokens:,} tokens "
            f"of a document, {'a BOS token before them' if has_bos else 'no BOS token: the first is not scored'}"
        )
        return Scorer(source.name, engine, tokenizer, n_tokens, library_versions())

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

    def _finish(self, shards: Shards) -> dict[str, Any]:
        """The costs of all shards, written once, and figures over all documents. Raises UserError where all failed."""
        statuses = Statuses(status.split(":")[0] for status in shards.statuses())
        n_rows, n_ok = statuses.total(), statuses.pop(OK, 0)
        if not n_ok:
            found = ", ".join(f"{status} ({n:,})" for status, n in statuses.most_common(3))
            raise UserError(
                f"{self._model.model_id}: none of {n_rows:,} documents could be scored: {found}; correct the model, "
                "its tokenizer or the documents"
            )
        if not self._costs_part.exists():
            row = shards.costs().row(self._model.model_id, JOB, self._scoring.engine)
            write_part(self._parts, RUN_COSTS, [row], study_id=self._study.study_id, run_id=self._run_id)
        (costs,) = part_rows(self._costs_part)
        return {
            "rows": n_rows,
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
