"""From documents to rows of `document_scores`: tokens, an engine's log-probabilities, presence scores.

Presence scores say how well a base model knows a document (definitions, Section 7; Equation 10 of the paper).
`load_engine` is the list of engines: a new engine is added there.
"""

from __future__ import annotations

import gc
import math
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models_train.data.records import Document
from models_train.errors import UserError
from models_train.logprobs.engine import OK, Engine, Progress, Request, TokenScores, failed, score
from models_train.logprobs.packed_engine import model_on_device, packed_engine, rows_that_count
from models_train.logprobs.tokenization import DocumentTokenizer, Tokenized
from models_train.logprobs.trial import plain_trial, refuse_unlike
from models_train.logprobs.vllm_engine import load_vllm_engine, why_not_here
from models_train.modeling.base_models import ModelSource
from models_train.study.scoring import Engine as Name
from models_train.study.scoring import Scoring

Scores = npt.NDArray[np.floating]

LOWEST_PERCENT = 20
"""k of Min-K% and Min-K%++, in percent of the tokens."""


@dataclass(frozen=True)
class Presence:
    """Scores of one document; natural logarithms.

    logprob_sum: of the scored tokens. presence_score: logprob_sum / scored tokens. bits_per_byte: comparable across
    tokenizers; None where the tokens cover no byte, as is logprob_per_zlib_byte. min_k_plus_plus: None where the engine
    gives no standardised scores.
    """

    logprob_sum: float
    presence_score: float
    bits_per_byte: float | None
    min_k: float
    min_k_plus_plus: float | None
    logprob_per_zlib_byte: float | None


NO_SCORES: dict[str, float | None] = {field.name: None for field in fields(Presence)}


def engines_to_try(scoring: Scoring, begun: Collection[Name]) -> tuple[tuple[Name, ...], str]:
    """Engines for a model in the order of preference, and why it is that, for `auto`.

    begun: engines that scored some of its documents, most first. Scores of two engines are never mixed, so that
    `auto` goes on with the one that began, where this machine can.
    """
    if scoring.engine != "auto":
        return (scoring.engine,), ""
    reason = why_not_here()
    if reason is not None:
        return ("packed",), reason
    if [*begun, "vllm"][0] == "packed":
        return ("packed",), "it scored the first shards"
    return ("vllm", "packed"), ""


def load_engine(
    scoring: Scoring,
    engines: Sequence[Name],
    source: ModelSource,
    largest_token_id: int,
    most_tokens: int,
    documents: Sequence[Request],
    say: Callable[[str], None] = print,
) -> Engine:
    """The first engine that can run the base model, and that passed its trial on some of the documents.

    engines: of `engines_to_try`. most_tokens: of a document, BOS included. say: takes the reason where the first
    engine cannot. Raises UserError where the model cannot be loaded, or the last engine cannot run it or fails the
    trial.
    """
    dtype = getattr(torch, scoring.precision)
    model = model_on_device(source, dtype)
    trial = plain_trial(source.name, model, documents, rows_that_count(model, largest_token_id))
    if "vllm" in engines:
        del model
        _free_memory()
        try:
            engine = load_vllm_engine(source, largest_token_id, dtype, most_tokens, scoring.tokens_per_pack)
            refuse_unlike(source.name, engine, trial)
            return engine
        except UserError as error:
            if "packed" not in engines:
                raise
            reason = str(error).rpartition("; ")[0]  # without the remedy, which is this
            say(f"{reason}; the packed engine scores instead")
        _free_memory()
        model = model_on_device(source, dtype)
    packed = packed_engine(source.name, model, largest_token_id, scoring.tokens_per_pack, scoring.min_k_plus_plus)
    refuse_unlike(source.name, packed, trial)
    return packed


def _free_memory() -> None:
    """Give back the memory of models that nothing refers to, which the next one may need."""
    gc.collect()
    torch.cuda.empty_cache()


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
        common = self._common(corpus, shard)
        rows = []
        for document, one in zip(documents, tokenized, strict=True):
            found = next(scores) if one.status == OK else failed(one.status)
            rows.append(common | {"document_id": document.document_id, "domain": document.domain} | _scores(one, found))
        return rows

    def failed_rows(self, documents: Sequence[Document], corpus: str, shard: str, status: str) -> list[dict[str, Any]]:
        """A row with a status, and no scores, for every document of a shard that cannot be scored."""
        nothing = Tokenized(np.empty(0, np.int64), b"", False, status=status)
        found = _scores(nothing, failed(status))
        common = self._common(corpus, shard)
        return [common | {"document_id": one.document_id, "domain": one.domain} | found for one in documents]

    def _common(self, corpus: str, shard: str) -> dict[str, Any]:
        return {
            "model_id": self.model_id,
            "corpus": corpus,
            "shard": shard,
            "engine": self.engine.name,
            "bos_policy": self.tokenizer.bos_policy,
            "dtype": self.engine.dtype,
            "versions": self.versions,
        }


def _scores(tokenized: Tokenized, found: TokenScores) -> dict[str, Any]:
    is_ok = found.status == OK
    start = tokenized.n_context - 1  # engines score the first token of the document after BOS, too
    logprobs = found.logprobs[start:]
    standardised = None if found.standardised is None else found.standardised[start:]
    return {
        "n_tokens_scored": len(logprobs),
        "n_bytes_scored": len(tokenized.scored_text) if is_ok else 0,
        "is_truncated": tokenized.is_truncated,
        "status": found.status,
        **(asdict(presence(logprobs, standardised, tokenized.scored_text)) if is_ok else NO_SCORES),
    }


def presence(logprobs: Scores, standardised: Scores | None, scored_text: bytes) -> Presence:
    """Scores of a document.

    logprobs: (n,) log p(t_i | t_<i) of the scored tokens. standardised: (n,) the same minus the mean of the log-prob
    over the vocabulary, over its standard deviation; both under the model (Min-K%++, arXiv 2404.02936, Equation 3).
    scored_text: the bytes that those tokens cover. Raises ValueError for no tokens and for values that are not finite.
    """
    for values in (logprobs, standardised):
        if values is not None and not (len(values) and np.isfinite(values).all()):
            raise ValueError("a presence score needs at least one token, and finite values")
    total = float(np.sum(logprobs, dtype=np.float64))
    n_bytes = len(scored_text)
    return Presence(
        logprob_sum=total,
        presence_score=total / len(logprobs),
        bits_per_byte=-total / (math.log(2) * n_bytes) if n_bytes else None,
        min_k=lowest_mean(logprobs),
        min_k_plus_plus=None if standardised is None else lowest_mean(standardised),
        logprob_per_zlib_byte=total / len(zlib.compress(scored_text)) if n_bytes else None,
    )


def lowest_mean(values: Scores) -> float:
    """Mean of the lowest LOWEST_PERCENT % of the values (Min-K%, arXiv 2310.16789, Equation 2)."""
    n = n_lowest(len(values))
    return float(np.partition(values, n - 1)[:n].mean(dtype=np.float64))


def n_lowest(n_tokens: int) -> int:
    """Tokens that are LOWEST_PERCENT % of n_tokens: rounded down, as the authors' code does, but at least one."""
    return max(1, n_tokens * LOWEST_PERCENT // 100)
