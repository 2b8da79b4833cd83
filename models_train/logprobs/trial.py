"""The trial of an engine: some documents of the sample, scored beside plain Transformers on the same device.

It comes before the first shard, so that an engine that is wrong with this model, this device or these versions of
libraries makes no scores: no test can have seen them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from transformers import PreTrainedModel

from models_train.errors import UserError, first_line
from models_train.logprobs.engine import OK, Engine, Request, score, unfit
from models_train.modeling.base_models import context_length
from models_train.modeling.packed_attention import FORWARD_ERRORS

Values = npt.NDArray[np.float32]

MOST_DOCUMENTS = 6
"""Documents of a trial: the longest, the shortest, and some between."""
MOST_LOGITS = 1 << 28
"""Most logits of a document, 1 GiB in float32; with a larger vocabulary only the beginning of a document is tried."""
ROWS = 256
"""Tokens whose logits are widened to float32 at once."""


@dataclass(frozen=True)
class Tolerance:
    """Largest differences from plain Transformers, in nats.

    shift: of the mean log-probability, beyond three standard errors. mean: of a token, in the mean. token: of a token.
    """

    shift: float
    mean: float
    token: float


TOLERANCES = {"float32": Tolerance(1e-4, 1e-4, 1e-3), "bfloat16": Tolerance(0.01, 0.08, 1.5)}
"""By number format of the weights. In bfloat16 two sound ways to compute the same model differ: SmolLM2-135M by 0.001,
0.04 and 0.6; with a second BOS it differs by 0.02, 0.10 and 1.9."""
ROUNDED = 0.9
"""Share of log-probabilities without low bits from which on they count as rounded: of sound ones it is 1 in 256."""


@dataclass(frozen=True)
class Trial:
    """Requests, and the log-probabilities of their tokens by plain Transformers: for each (n - 1,)."""

    requests: Sequence[Request]
    plain: Sequence[Values]


def trial_requests(requests: Sequence[Request], n_vocabulary: int, context: int | None) -> list[Request]:
    """The longest, the shortest and some requests between; a made-up one where none of them can be scored."""
    most = MOST_LOGITS // n_vocabulary
    fit = sorted(
        (
            Request(request.document_id, request.token_ids[:most])
            for request in requests
            if unfit(request, n_vocabulary, context) is None
        ),
        key=lambda request: len(request.token_ids),
    )
    if not fit:
        return [Request("made up", np.arange(8, dtype=np.int64) * 7 % n_vocabulary)]
    places = np.linspace(0, len(fit) - 1, MOST_DOCUMENTS).round().astype(int)
    return [fit[place] for place in sorted(set(places.tolist()))]


def plain_trial(name: str, model: PreTrainedModel, requests: Sequence[Request], n_vocabulary: int) -> Trial:
    """Score some of the requests one by one, with eager attention, the whole matrix of logits and no engine.

    n_vocabulary: rows of the vocabulary that count. Raises UserError where Transformers cannot run the model.
    """
    # Not the default attention: SDPA leaves soft-capping out without a warning.
    model.set_attn_implementation("eager")
    chosen = trial_requests(requests, n_vocabulary, context_length(model.config))
    try:
        return Trial(chosen, [_plain(model, request, n_vocabulary) for request in chosen])
    except torch.OutOfMemoryError as error:
        longest = max(len(request.token_ids) for request in chosen)
        raise UserError(
            f"{name}: a document of {longest} tokens does not fit in the device's memory beside the weights; take a "
            "larger device, or lower `max_document_tokens`"
        ) from error
    except FORWARD_ERRORS as error:
        raise UserError(f"{name}: Transformers cannot run it: {first_line(error)}; take another model") from error


@torch.inference_mode()
def _plain(model: PreTrainedModel, request: Request, n_vocabulary: int) -> Values:
    ids = torch.from_numpy(request.token_ids).to(model.device)
    logits = model(input_ids=ids[None, :-1], use_cache=False).logits[0, :, :n_vocabulary]
    parts = [
        rows.to(torch.float32).log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        for rows, targets in zip(logits.split(ROWS), ids[1:].split(ROWS), strict=True)
    ]
    return torch.cat(parts).cpu().numpy()


def refuse_unlike(name: str, engine: Engine, trial: Trial) -> None:
    """Score the documents of a trial all together. Raises UserError where the engine is not like plain Transformers."""
    pairs = [
        (given, plain)
        for given, plain in zip(_given(name, engine, trial), trial.plain, strict=True)
        if given is not None
    ]
    if not pairs:
        return
    tried = f"{name}: the {engine.name} engine, {engine.dtype}, tried on {len(pairs)} documents of the sample"
    problem = _problem(
        np.concatenate([given.astype(np.float64) - plain for given, plain in pairs]),
        TOLERANCES.get(engine.dtype, TOLERANCES["bfloat16"]),
    )
    if problem:
        raise UserError(
            f"{tried}, differs from plain Transformers on the same device by {problem}; nothing was scored; "
            f"{_remedy(engine)}"
        )
    if _are_rounded(np.concatenate([given for given, _ in pairs])):
        raise UserError(
            f"{tried}, gives log-probabilities that are rounded to bfloat16 or float16, too coarse for sums; nothing "
            f"was scored; {_remedy(engine)}"
        )


def _problem(differences: npt.NDArray[np.float64], tolerance: Tolerance) -> str:
    """The differences of all tokens where they are too large, in numbers, or nothing."""
    size = np.abs(differences)
    if not (size.mean() <= tolerance.mean and size.max() <= tolerance.token):
        return (
            f"{size.mean():.2g} nats per token in the mean and {size.max():.2g} at most, where {tolerance.mean:g} and "
            f"{tolerance.token:g} are allowed"
        )
    shift, error = abs(differences.mean()), differences.std() / np.sqrt(len(differences))
    if shift > tolerance.shift + 3 * error:
        return f"{shift:.2g} nats in the mean log-probability, where {tolerance.shift:g} is allowed"
    return ""


def _given(name: str, engine: Engine, trial: Trial) -> Iterator[Values | None]:
    """The engine's log-probabilities of each document; None for one that plain Transformers gives no numbers for."""
    for found, plain in zip(score(engine, trial.requests), trial.plain, strict=True):
        if not np.isfinite(plain).all() or found.status.startswith("too large"):
            yield None
        elif found.status != OK:
            raise UserError(
                f"{name}: the {engine.name} engine cannot score a document that plain Transformers can ({found.status})"
                f"; {_remedy(engine)}"
            )
        else:
            yield found.logprobs


def _are_rounded(logprobs: Values) -> bool:
    """True where the numbers have the digits of a 16-bit format only.

    Near 0 sound ones lack low bits, too, as differences of close numbers: those above -1 do not count.
    """
    bits = np.ascontiguousarray(logprobs[logprobs < -1.0], np.float32).view(np.uint32)
    return len(bits) >= 8 and float(np.mean(bits & 0xFF == 0)) > ROUNDED


def _remedy(engine: Engine) -> str:
    other = "packed" if engine.name == "vllm" else "vllm"
    wider = "" if engine.dtype == "float32" else "`precision: float32` or "
    return f"set {wider}`engine: {other}`"
