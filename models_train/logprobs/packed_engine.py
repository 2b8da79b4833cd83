"""Log-probabilities by Transformers models on packs of whole documents, without padding and without a logits matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from models_train.errors import UserError
from models_train.logprobs.engine import Request, TokenScores, failed, vocabulary_rows
from models_train.logprobs.head import Head, Statistics, head_of
from models_train.metering import default_device
from models_train.modeling.base_models import ModelSource, context_length, load_model
from models_train.modeling.packed_attention import packed_inputs, use_packed_attention
from models_train.modeling.packing import Pack, bins, same_frequencies

MOST_CPU_TOKENS = 1024
"""Most tokens of a pack on a CPU: more leave its caches. A longer document has a pack to itself."""


@dataclass(frozen=True)
class PackedEngine:
    """A causal language model of Transformers; an `Engine`.

    tokens_per_pack: most tokens that go through the model at once. standardise: also give scores for Min-K%++.
    """

    model: PreTrainedModel
    head: Head
    n_vocabulary: int
    tokens_per_pack: int
    standardise: bool
    name: str = "packed"

    @property
    def dtype(self) -> str:
        """Number format of the weights."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def context(self) -> int | None:
        """Most tokens of a document, BOS included."""
        return context_length(self.model.config)

    def scored(self, requests: Sequence[Request]) -> Iterator[tuple[int, TokenScores]]:
        """Scores pack by pack, longest documents first."""
        is_gpu = self.model.device.type == "cuda"
        most = self.tokens_per_pack if is_gpu else min(self.tokens_per_pack, MOST_CPU_TOKENS)

        def begun(places: list[int]) -> _Pack:
            return self._begun(places, [requests[place] for place in places])

        for packs in self._packs([len(request.token_ids) - 1 for request in requests], most):
            for pack in (_one_ahead if is_gpu else _side_by_side)(begun, packs):
                yield from pack.finished()

    def _packs(self, lengths: Sequence[int], most: int) -> Iterator[list[list[int]]]:
        """Packs, as indices of their documents; in groups of those that may be at work together."""
        try:
            groups = same_frequencies(self.model.config, lengths) if lengths else []
        except ValueError as error:
            reason = str(error).split(";")[0]
            raise UserError(f"{reason}; set `max_document_tokens` in the study file to that") from error
        for group in groups:
            members = bins([lengths[place] for place in group], most)
            yield [[group[member] for member in one] for one in members]

    def _begun(self, places: list[int], requests: list[Request]) -> _Pack:
        """A pack whose statistics are under way; where it does not fit in memory, each half is tried by itself."""
        try:
            return _Pack(places, [len(request.token_ids) - 1 for request in requests], self.statistics(requests))
        except torch.OutOfMemoryError:
            n_tokens = sum(len(request.token_ids) for request in requests)
        # Not inside `except`: there, the traceback holds the memory that the halves need.
        if len(places) == 1:
            return _Pack(places, [], None, f"too large: {n_tokens} tokens do not fit in the device's memory")
        middle = len(places) // 2
        first = self._begun(places[:middle], requests[:middle])
        return _Pack.joined(first, self._begun(places[middle:], requests[middle:]))

    @torch.inference_mode()
    def statistics(self, requests: Sequence[Request]) -> Statistics:
        """Statistics of the scored tokens of all requests, one after another."""
        device = self.model.device
        inputs = packed_inputs(_pack([request.token_ids[:-1] for request in requests]).to(device))
        targets = torch.from_numpy(np.concatenate([request.token_ids[1:] for request in requests])).to(device)
        hidden = self.model.base_model(**inputs).last_hidden_state[0]
        return self.head.statistics(hidden, targets, self.standardise)


@dataclass(frozen=True)
class _Pack:
    """Documents whose statistics are computed, perhaps still on the device."""

    places: list[int]
    lengths: list[int]
    statistics: Statistics | None
    problem: str = ""
    later: tuple[_Pack, ...] = ()

    @staticmethod
    def joined(first: _Pack, second: _Pack) -> _Pack:
        return _Pack(first.places, first.lengths, first.statistics, first.problem, (*first.later, second))

    def finished(self) -> Iterator[tuple[int, TokenScores]]:
        if self.statistics is None:
            yield self.places[0], failed(self.problem)
        else:
            cuts = list(accumulate(self.lengths))[:-1]
            logprobs = np.split(self.statistics.logprobs.float().cpu().numpy(), cuts)
            standardised: Sequence[np.ndarray | None] = [None] * len(logprobs)
            if self.statistics.standardised is not None:
                standardised = np.split(self.statistics.standardised.float().cpu().numpy(), cuts)
            for place, values, others in zip(self.places, logprobs, standardised, strict=True):
                yield place, TokenScores(values, others)
        for pack in self.later:
            yield from pack.finished()


def _one_ahead(begin: Callable[[list[int]], _Pack], packs: Sequence[list[int]]) -> Iterator[_Pack]:
    """Packs on a GPU, which works while the next one is made ready here."""
    at_work: _Pack | None = None
    for members in packs:
        begun = begin(members)
        if at_work is not None:
            yield at_work
        at_work = begun
    if at_work is not None:
        yield at_work


def _side_by_side(begin: Callable[[list[int]], _Pack], packs: Sequence[list[int]]) -> Iterator[_Pack]:
    """Packs on a CPU, one on each thread.

    Threads that share every single operation wait for each other thousands of times per pack, and long where other
    programs use the cores, too. So the numbers do not depend on the number of threads, either.
    """
    n_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(begin, packs)
    finally:
        torch.set_num_threads(n_threads)


def model_on_device(source: ModelSource, dtype: torch.dtype) -> PreTrainedModel:
    """The causal language model, on a GPU where there is one. Raises UserError where it cannot be loaded."""
    model = load_model(source, AutoModelForCausalLM, dtype)
    try:
        torch.nn.Module.to(model, default_device())
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"{source.name}: its weights in {dtype} do not fit in the device's memory; take a larger device, or "
            "`precision: bfloat16`"
        ) from error
    return model


def packed_engine(
    name: str, model: PreTrainedModel, largest_token_id: int, tokens_per_pack: int, standardise: bool
) -> PackedEngine:
    """The engine for a model that is loaded. Raises UserError where packs cannot go through it.

    A head that changes logits in a way that `head_of` does not know is found by the trial (`trial.py`).
    """
    try:
        use_packed_attention(model)
    except ValueError as error:
        raise UserError(f"{name}: the packed engine cannot run it: {error}; or set `engine: vllm`") from error
    n_vocabulary = rows_that_count(model, largest_token_id)
    return PackedEngine(model, head_of(model, n_vocabulary), n_vocabulary, tokens_per_pack, standardise)


def rows_that_count(model: PreTrainedModel, largest_token_id: int) -> int:
    """Rows of the model's head that take part (`vocabulary_rows`)."""
    return vocabulary_rows(model.get_output_embeddings().weight.shape[0], largest_token_id)


def _pack(sequences: Sequence[np.ndarray]) -> Pack:
    """A pack of token ids that are arrays already: some thousand tokens go to a GPU many times a second."""
    lengths = tuple(len(sequence) for sequence in sequences)
    boundaries = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(boundaries[-1]) - np.repeat(boundaries[:-1], lengths)
    return Pack(
        torch.from_numpy(np.concatenate(sequences)),
        torch.from_numpy(positions),
        torch.from_numpy(boundaries.astype(np.int32)),
        lengths,
    )
