"""From documents to rows of `document_scores`: tokens, an engine's log-probabilities, presence scores.

`load_engine` is the list of engines: a new engine is added there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from models_train.data.records import Document
from models_train.logprobs.engine import OK, Engine, Progress, Request, TokenScores, failed, score
from models_train.logprobs.packed_engine import load_packed_engine
from models_train.logprobs.score_scaling import Presence, presence
from models_train.logprobs.tokenization import DocumentTokenizer, Tokenized
from models_train.logprobs.vllm_engine import load_vllm_engine
from models_train.modeling.base_models import ModelSource
from models_train.study.scoring import Scoring

NO_SCORES: dict[str, float | None] = {field.name: None for field in fields(Presence)}


def load_engine(scoring: Scoring, source: ModelSource, largest_token_id: int, most_tokens: int) -> Engine:
    """The engine with the base model in it. most_tokens: of a document, BOS included.

    Raises UserError where the model cannot be loaded, or the engine cannot run it.
    """
    dtype = getattr(torch, scoring.precision)
    if scoring.engine == "vllm":
        return load_vllm_engine(source, largest_token_id, dtype, most_tokens, scoring.tokens_per_pack)
    return load_packed_engine(source, largest_token_id, dtype, scoring.tokens_per_pack, scoring.min_k_plus_plus)


@dataclass(frozen=True)
class Scorer:
    """A base model ready to score documents. n_tokens: most tokens kept of a document. versions: of libraries, JSON."""

    model_id: str
    engine: Engine
    tokenizer: DocumentTokenizer
    n_tokens: int
    versions: str

    def rows(
        self, documents: Sequence[Document], corpus: str, shard: str, progress: Progress | None = None
    ) -> list[dict[str, Any]]:
        """A row for every document, in their order, without study and run; failures are rows with a status."""
        tokenized = self.tokenizer.tokenized([document.text for document in documents], self.n_tokens)
        requests = [
            Request(document.document_id, one.token_ids)
            for document, one in zip(documents, tokenized, strict=True)
            if one.status == OK
        ]
        scores = iter(score(self.engine, requests, progress))
        common = {
            "model_id": self.model_id,
            "corpus": corpus,
            "shard": shard,
            "engine": self.engine.name,
            "bos_policy": self.tokenizer.bos_policy,
            "dtype": self.engine.dtype,
            "versions": self.versions,
        }
        rows = []
        for document, one in zip(documents, tokenized, strict=True):
            found = next(scores) if one.status == OK else failed(one.status)
            rows.append(common | {"document_id": document.document_id, "domain": document.domain} | _scores(one, found))
        return rows


def _scores(tokenized: Tokenized, found: TokenScores) -> dict[str, Any]:
    is_ok = found.status == OK
    return {
        "n_tokens_scored": len(found.logprobs),
        "n_bytes_scored": len(tokenized.scored_text) if is_ok else 0,
        "is_truncated": tokenized.is_truncated,
        "status": found.status,
        **(asdict(presence(found.logprobs, found.standardised, tokenized.scored_text)) if is_ok else NO_SCORES),
    }
