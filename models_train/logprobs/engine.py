"""The interface of the engines: token ids in, log-probabilities of the tokens out, in the order of the requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models_train.errors import UserError

Floats = npt.NDArray[np.float32]

OK = "ok"
NOT_FINITE = "not finite: the model gives NaN or infinity for one of the tokens"
NOTHING_TO_SCORE = "too short: one token, and scores begin with the second"
EMPTY = "empty: the tokenizer makes no token of it"

Progress = Callable[[int, int], None]
"""Called with a number of finished documents, and of their tokens."""


@dataclass(frozen=True)
class Request:
    """A document to score. token_ids: (n,) int64, BOS included; every token but the first is scored."""

    document_id: str
    token_ids: npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenScores:
    """Scores of a document's tokens, or why there are none.

    logprobs: (n - 1,) natural log-probability of every token but the first, given those before it. standardised:
    (n - 1,) the same minus its mean over the vocabulary, over its standard deviation, both under the model; None where
    the engine cannot. Both are empty unless the status is `ok`.
    """

    logprobs: Floats
    standardised: Floats | None
    status: str = OK


class Engine(Protocol):
    """A base model that scores documents."""

    @property
    def name(self) -> str:
        """Name of the engine in the settings."""

    @property
    def dtype(self) -> str:
        """Number format of the weights."""

    @property
    def n_vocabulary(self) -> int:
        """Rows of the vocabulary that take part (`vocabulary_rows`)."""

    @property
    def context(self) -> int | None:
        """Most tokens of a request, BOS included; None for no limit."""

    def scored(self, requests: Sequence[Request]) -> Iterator[tuple[int, TokenScores]]:
        """Place and scores of the requests, all of them accepted by `unfit`, each once, in any order.

        A document's scores do not depend on the other requests, nor on their order.
        """


def score(engine: Engine, requests: Sequence[Request], progress: Progress | None = None) -> list[TokenScores]:
    """Scores of all requests, in their order. One that cannot be scored has a status and does not stop the others."""
    problems = [unfit(request, engine.n_vocabulary, engine.context) for request in requests]
    results = [failed(problem or "") for problem in problems]
    fit = [place for place, problem in enumerate(problems) if problem is None]
    for place, found in engine.scored([requests[place] for place in fit]):
        request = requests[fit[place]]
        results[fit[place]] = _checked(request, found)
        if progress is not None:
            progress(1, len(request.token_ids))
    return results


def failed(status: str) -> TokenScores:
    """The result of a document without scores."""
    return TokenScores(np.empty(0, np.float32), None, status)


def unfit(request: Request, n_vocabulary: int, context: int | None) -> str | None:
    """Reason why no engine can score a request, or None. An unknown token would crash a GPU's process."""
    ids = request.token_ids
    if len(ids) == 0:
        return EMPTY
    if len(ids) == 1:
        return NOTHING_TO_SCORE
    worst = int(ids.min()) if ids.min() < 0 else int(ids.max())
    if not 0 <= worst < n_vocabulary:
        return f"unknown token: {worst} is outside the model's vocabulary of {n_vocabulary}"
    if context is not None and len(ids) > context:
        return f"too long: {len(ids)} tokens, and the model takes {context}"
    return None


def vocabulary_rows(n_model_rows: int, largest_token_id: int) -> int:
    """Number of the first rows of the vocabulary that count: those that the tokenizer has a token for.

    Models often have more rows than their tokenizer has tokens, for the speed of the matrix product. No text can
    produce those, so they stay out of every log-sum-exp, mean and standard deviation, in every engine.
    """
    return min(n_model_rows, largest_token_id + 1)


def _checked(request: Request, one: TokenScores) -> TokenScores:
    n_scored = len(request.token_ids) - 1
    if one.status != OK:
        return one
    for values in (one.logprobs, one.standardised):
        if values is not None and len(values) != n_scored:
            raise UserError(f"{len(values)} scores for {n_scored} tokens of document {request.document_id}")
        if values is not None and not np.isfinite(values).all():
            return failed(NOT_FINITE)
    return one
