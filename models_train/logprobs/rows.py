"""Documents -> tokens -> an engine -> presence arithmetic -> rows of the contract document_scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from models_train.data.records import Document
from models_train.logprobs.engine import OK, Engine, Progress, Request, TokenScores, failed, score
from models_train.logprobs.score_scaling import Presence, presence
from models_train.logprobs.tokenization import DocumentTokenizer, Tokenized

NO_SCORES: dict[str, float | None] = {field.name: None for field in fields(Presence)}


@dataclass(frozen=True)
class Scorer:
    """A base model ready to score. n_tokens: of a document that are kept at most. versions: JSON."""

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
            found = next(scores) if one.status == OK else failed(document.document_id, one.status)
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
