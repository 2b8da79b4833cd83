"""Responses of a policy by Transformers: a batch of sequences at a time, over one cache of keys and values.

Every sampling argument is the policy's own; what the model's generation_config.json says counts only for the tokens
that end a response. Each response has its own seed, of policy, prompt and number, so that it does not depend on the
batch that it is drawn in, beyond the rounding of the model's logits.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from models_train.data.chat import NO_LIMIT, Asked, Renderer, RenderError
from models_train.data.records import Turn
from models_train.errors import UserError, first_line
from models_train.logprobs.engine import NOT_FINITE
from models_train.logprobs.trial import TOLERANCES
from models_train.modeling.base_models import ModelSource, context_length, model_source
from models_train.modeling.packed_attention import FORWARD_ERRORS
from models_train.modeling.packing import same_frequencies
from models_train.policies.prompts import PolicyPrompt, text_hash
from models_train.study.models import LOCAL, StudyModel
from models_train.study.study import Study
from models_train.study.teachers import Policy
from warehouse.contracts.responses import EMPTY, OK

STOP, LENGTH, ERROR = "stop", "length", "error"
"""Reasons why a response ends: by itself, at max_tokens, or because nothing could be sampled."""
MOST_ROWS = 256
"""Most sequences of a batch: more make the rows that have ended, and still count, too many."""
MOST_BATCH_TOKENS = 1 << 17
"""Most tokens of a batch, prompts and room for responses together, which the cache holds."""
SHARE_AT_WORK = 0.8
"""Share of a batch's sequences that are at work from which on those that have ended leave the batch."""
TRIED = 4
"""Responses of the trial: the first ones, compared with a forward without cache and padding."""
REMEDY = "set `engine: vllm` for it, or take another policy"

_PROBE = (Turn("user", "Hello."),)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Request:
    """A response to sample. token_ids: of the prompt, BOS included. seed: of its draws."""

    token_ids: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class Sampled:
    """A sampled response.

    token_ids: the end included where it has one. logprobs: of each token under the model itself, at temperature 1 and
    with all tokens allowed, in nats.
    """

    token_ids: list[int]
    logprobs: list[float]
    is_finished: bool

    @property
    def logprob(self) -> float:
        """Sum over the tokens, in nats."""
        return float(np.sum(self.logprobs, dtype=np.float64))


class SamplingEngine(Protocol):
    """A model that samples."""

    @property
    def name(self) -> str:
        """Name of the engine in the settings."""

    @property
    def n_at_once(self) -> int:
        """Responses that are best asked for together."""

    @property
    def n_vocabulary(self) -> int:
        """Rows of the vocabulary that count: a token beyond them would crash a GPU's process."""

    def sampled(self, requests: Sequence[Request]) -> list[Sampled]:
        """The responses, in the order of the requests."""


def draw_seed(policy: Policy, prompt: PolicyPrompt, response_no: int) -> int:
    """Seed of a response, 0 to 2^63 - 1."""
    name = f"{policy.seed}/{policy.policy_id}/{prompt.prompt_set}/{prompt.prompt_id}/{response_no}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 1


def policy_source(policy: Policy, study: Study, study_folder: Path) -> ModelSource:
    """Source of a policy's model, at its commit; raises as `model_source`."""
    if policy.model_id is not None:
        return model_source(study.by_id[policy.model_id], study_folder)
    place = policy.hub_id or str(policy.path)
    if policy.path is not None and not place.startswith(LOCAL):
        place = f"./{place}"
    model = StudyModel(
        model_id=policy.policy_id,
        hub_id=place,
        revision=policy.revision,
        remote_code=policy.remote_code,
        family=policy.family or policy.policy_id,
        stage=policy.stage or "base",
    )
    return model_source(model, study_folder)


class PolicyText:
    """Between texts and token ids of a policy: prompts as its tokenizer asks them, responses as text.

    Raises UserError where the prompt format is not the tokenizer's, or where max_tokens leaves no room for prompts.
    """

    def __init__(self, policy: Policy, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
        if policy.prompt_format == "chat_template" and not tokenizer.chat_template:
            raise UserError(
                f"{policy.policy_id}: its tokenizer has no chat template; set `prompt_format: plain`, or add "
                "chat_template.jinja to its files"
            )
        self.prompt_format = policy.prompt_format or ("chat_template" if tokenizer.chat_template else "plain")
        if self.prompt_format == "plain":
            tokenizer = copy.deepcopy(tokenizer)
            tokenizer.chat_template = None
        self.policy, self.tokenizer = policy, tokenizer
        self._eos = config.get_text_config().eos_token_id
        context = context_length(config)
        room = NO_LIMIT if context is None else context - policy.max_tokens
        if room < 1:
            raise UserError(
                f"{policy.policy_id}: max_tokens is {policy.max_tokens}, and the model takes {context} tokens, prompt "
                "included; lower max_tokens"
            )
        try:
            self._renderer = Renderer(tokenizer, room, context=context)
            self._turn_end = Renderer(tokenizer, NO_LIMIT).ask(_PROBE).end_id
        except RenderError as error:
            raise UserError(f"{policy.policy_id}: {first_line(error)}; correct its chat template") from error

    @property
    def most_prompt_tokens(self) -> int | None:
        """Most tokens of a prompt; None for no limit."""
        return self._renderer.limit if self._renderer.limit < NO_LIMIT else None

    @property
    def largest_token_id(self) -> int:
        """Largest id of the tokenizer's tokens."""
        return max(self.tokenizer.get_vocab().values())

    def ends(self, source: ModelSource) -> tuple[int, ...]:
        """Tokens that end a response: all those that generation_config.json, config.json and the tokenizer name, and
        the end of a turn in the chat template."""
        stated = [self._eos, self.tokenizer.eos_token_id, self._turn_end]
        with suppress(OSError, ValueError):  # many models have no such file
            stated.append(GenerationConfig.from_pretrained(source.place, local_files_only=True).eos_token_id)
        found = [one for ids in stated for one in (ids if isinstance(ids, list | tuple) else [ids])]
        return tuple(sorted({int(one) for one in found if one is not None}))

    def ask(self, prompt: PolicyPrompt) -> Asked | str:
        """Token ids of a prompt, or the reason why it cannot be asked."""
        try:
            return self._renderer.ask(prompt.turns)
        except RenderError as error:
            return first_line(error)

    def text(self, asked: Asked, sampled: Sampled) -> str:
        """The response as text: without special tokens, and without what the template writes before a response."""
        said = self.tokenizer.decode(sampled.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(said).removeprefix(asked.lead)


def sampled_rows(
    engine: SamplingEngine,
    text: PolicyText,
    prompts: Sequence[PolicyPrompt],
    response_nos: Sequence[int],
    advance: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Rows of the raw table responses: to each prompt those of these numbers, in this order.

    A prompt that cannot be asked has rows with a status. advance: takes numbers of responses, and of their tokens and
    those of their prompts, each prompt once.
    """
    asked = [_known(text.ask(prompt), engine.n_vocabulary) for prompt in prompts]
    requests = [
        Request(tuple(one.token_ids), draw_seed(text.policy, prompt, number))
        for prompt, one in zip(prompts, asked, strict=True)
        if isinstance(one, Asked)
        for number in response_nos
    ]
    found = iter(engine.sampled(requests)) if requests else iter(())
    rows = []
    for prompt, one in zip(prompts, asked, strict=True):
        for number in response_nos:
            sampled = next(found) if isinstance(one, Asked) else None
            rows.append(_row(text, prompt, number, one, sampled))
            if advance is not None:
                n_prompt = len(one.token_ids) if isinstance(one, Asked) and number == response_nos[0] else 0
                advance(1, n_prompt + (0 if sampled is None else len(sampled.token_ids)))
    return rows


def _known(asked: Asked | str, n_vocabulary: int) -> Asked | str:
    """A prompt whose tokens the model has, or why it cannot be asked."""
    if isinstance(asked, Asked) and (worst := max(asked.token_ids)) >= n_vocabulary:
        return f"unknown token: {worst} is outside the model's vocabulary of {n_vocabulary}"
    return asked


def _row(
    text: PolicyText, prompt: PolicyPrompt, response_no: int, asked: Asked | str, sampled: Sampled | None
) -> dict[str, Any]:
    said, status, reason = "", OK, ERROR
    logprob: float | None = None
    if isinstance(asked, str) or sampled is None:
        status = str(asked)
    elif not np.isfinite(sampled.logprobs).all():
        status = NOT_FINITE
    else:
        said, logprob = text.text(asked, sampled), sampled.logprob
        status = OK if said.strip() else EMPTY
        reason = STOP if sampled.is_finished else LENGTH
    return {
        "policy_id": text.policy.policy_id,
        "prompt_set": prompt.prompt_set,
        "prompt_id": prompt.prompt_id,
        "response_no": response_no,
        "text": said,
        "content_hash": text_hash(said),
        "n_tokens": len(sampled.token_ids) if sampled is not None and reason != ERROR else None,
        "n_bytes": len(said.encode()),
        "logprob": logprob,
        "reference_logprob": None,
        "finish_reason": reason,
        "status": status,
    }


class TransformersEngine:
    """A causal language model of Transformers that samples; a `SamplingEngine`.

    n_vocabulary: rows of the vocabulary that count. The first responses are compared with the model's plain forward.
    """

    name = "transformers"
    n_at_once = MOST_ROWS

    def __init__(self, model: PreTrainedModel, policy: Policy, ends: Iterable[int], n_vocabulary: int) -> None:
        if getattr(model.config.get_text_config(), "attn_logit_softcapping", None) is not None:
            model.set_attn_implementation("eager")  # SDPA leaves soft-capping out without a warning
        self.model, self.policy, self.n_vocabulary = model, policy, n_vocabulary
        self._ends = torch.tensor(sorted(one for one in ends if one < n_vocabulary), device=model.device)
        self._accepted = inspect.signature(model.forward).parameters
        self._is_tried = False

    def sampled(self, requests: Sequence[Request]) -> list[Sampled]:
        """The responses, in the order of the requests. Raises UserError where Transformers cannot run the model."""
        self._refuse_two_frequencies(requests)
        found: list[Sampled] = []
        for batch in self._batches(requests):
            try:
                found += self._halved(batch)
            except FORWARD_ERRORS as error:
                what = f"{self.policy.policy_id}: Transformers cannot sample from it: {first_line(error)}; {REMEDY}"
                raise UserError(what) from error
        if not self._is_tried:
            self._refuse_unlike(requests[:TRIED], found[:TRIED])
            self._is_tried = True
        return found

    def _refuse_two_frequencies(self, requests: Sequence[Request]) -> None:
        """Raise UserError where the model's position encoding changes with the length of a batch (LongRoPE)."""
        lengths = [len(one.token_ids) for one in requests]
        ends = [min(lengths), max(lengths) + self.policy.max_tokens]
        try:
            is_one = len(same_frequencies(self.model.config, ends)) == 1
        except ValueError:
            is_one = False
        if not is_one:
            raise UserError(
                f"{self.policy.policy_id}: the model encodes positions in another way beyond some length between "
                f"{ends[0]} and {ends[1]} tokens, prompt included, so that responses would depend on their batch; "
                "lower max_tokens, leave out the longest prompts, or set `engine: vllm`"
            )

    def _batches(self, requests: Sequence[Request]) -> Iterator[Sequence[Request]]:
        """Requests side by side, as many as the limits allow."""
        first = longest = 0
        for place, one in enumerate(requests):
            longer = max(longest, len(one.token_ids) + self.policy.max_tokens)
            n = place - first + 1
            if n > 1 and (n > MOST_ROWS or n * longer > MOST_BATCH_TOKENS):
                yield requests[first:place]
                first, longer = place, len(one.token_ids) + self.policy.max_tokens
            longest = longer
        yield requests[first:]

    def _halved(self, requests: Sequence[Request]) -> list[Sampled]:
        """A batch, in halves where it does not fit in the device's memory. Raises UserError where one does not."""
        try:
            return _Batch(self, requests).run()
        except torch.OutOfMemoryError:
            pass  # not here: the traceback holds the memory that the halves need
        if len(requests) == 1:
            n_tokens = len(requests[0].token_ids) + self.policy.max_tokens
            raise UserError(
                f"{self.policy.policy_id}: a response with its prompt, {n_tokens} tokens at most, does not fit in the "
                "device's memory beside the weights; lower max_tokens, or take a larger device"
            )
        middle = len(requests) // 2
        return self._halved(requests[:middle]) + self._halved(requests[middle:])

    def forward(
        self, cache: DynamicCache | None, mask: torch.Tensor, token_ids: torch.Tensor
    ) -> tuple[Any, torch.Tensor]:
        """The cache after further tokens, and (rows, n_vocabulary) float32 logits of what follows the last of them.

        mask: (rows, all tokens so far). token_ids: (rows, further tokens). Paddings are on the left.
        """
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -token_ids.shape[1] :]
        optional = {"position_ids": positions, "logits_to_keep": 1}  # not every model takes them
        more = {name: value for name, value in optional.items() if name in self._accepted}
        outputs = self.model(
            input_ids=token_ids, attention_mask=mask, past_key_values=cache, use_cache=True, return_dict=True, **more
        )
        return outputs.past_key_values, outputs.logits[:, -1, : self.n_vocabulary].float()

    def drawn(self, logits: torch.Tensor, seen: torch.Tensor | None, uniform: torch.Tensor) -> torch.Tensor:
        """(rows,) a token of each row, by the policy's sampling.

        logits: (rows, n_vocabulary) float32. seen: (rows, n_vocabulary), True for tokens that occurred; None without
        repetition penalty. uniform: (rows,) float64, 0 to 1.
        """
        policy, scores = self.policy, logits
        if seen is not None:
            penalty = policy.repetition_penalty
            scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
        if policy.temperature != 1:
            scores = scores / policy.temperature
        nothing: Any = None  # the token ids so far, which these do not look at
        if policy.top_k:
            scores = TopKLogitsWarper(policy.top_k)(nothing, scores)
        if policy.top_p < 1:
            scores = TopPLogitsWarper(policy.top_p)(nothing, scores)
        summed = scores.softmax(-1).cumsum(-1, dtype=torch.float64)
        wanted = uniform[:, None] * summed[:, -1:]
        return torch.searchsorted(summed, wanted, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)

    def is_end(self, token_ids: torch.Tensor) -> torch.Tensor:
        """True for tokens that end a response."""
        return torch.isin(token_ids, self._ends)

    @torch.inference_mode()
    def _refuse_unlike(self, requests: Sequence[Request], found: Sequence[Sampled]) -> None:
        """Raise UserError where the log-probabilities are not those of a forward without cache and padding.

        A family whose cache or padding works otherwise is found here.
        """
        differences = [
            self._plain(request, one) - np.array(one.logprobs) for request, one in zip(requests, found, strict=True)
        ]
        size = np.abs(np.concatenate(differences))
        dtype = str(self.model.dtype).removeprefix("torch.")
        allowed = TOLERANCES.get(dtype, TOLERANCES["bfloat16"])
        if np.isfinite(size).all() and not (size.mean() <= allowed.mean and size.max() <= allowed.token):
            raise UserError(
                f"{self.policy.policy_id}: its log-probabilities with a cache differ from those without one by "
                f"{size.max():.2g} nats, where {allowed.token:g} is allowed; nothing was sampled; {REMEDY}"
            )

    def _plain(self, request: Request, found: Sampled) -> Floats:
        """(n,) log-probabilities of a response's tokens by the model's plain forward."""
        ids = torch.tensor([[*request.token_ids, *found.token_ids]], device=self.model.device)
        logits = self.model(input_ids=ids[:, :-1], use_cache=False).logits[0, len(request.token_ids) - 1 :]
        logprobs = logits[:, : self.n_vocabulary].float().log_softmax(-1)
        chosen: Floats = logprobs.gather(-1, ids[0, len(request.token_ids) :, None])[:, 0].double().cpu().numpy()
        return chosen


class _Batch:
    """Sequences that are sampled side by side. Rows that have ended leave from time to time."""

    def __init__(self, engine: TransformersEngine, requests: Sequence[Request]) -> None:
        self.engine, self.requests, self.most = engine, requests, engine.policy.max_tokens
        device = engine.model.device
        self.tokens = torch.zeros((len(requests), self.most), dtype=torch.int64, device=device)
        self.logprobs = torch.zeros((len(requests), self.most), dtype=torch.float32, device=device)
        self.lengths = torch.zeros(len(requests), dtype=torch.int64, device=device)
        self.finished = torch.zeros(len(requests), dtype=torch.bool, device=device)

    @torch.inference_mode()
    def run(self) -> list[Sampled]:
        """Sample all of them to their ends."""
        engine = self.engine
        uniform = self._uniform()
        rows = torch.arange(len(self.requests), device=self.tokens.device)
        at_work = torch.ones_like(rows, dtype=torch.bool)
        cache, mask, logits, seen = self._read()
        for step in range(self.most):
            drawn = engine.drawn(logits, seen, uniform[rows, step])
            self.tokens[rows, step] = drawn
            self.logprobs[rows, step] = logits.gather(-1, drawn[:, None])[:, 0] - logits.logsumexp(-1)
            self.lengths[rows] += at_work
            ended = at_work & engine.is_end(drawn)
            self.finished[rows] |= ended
            at_work &= ~ended
            share = float(at_work.float().mean())
            if share == 0 or step == self.most - 1:
                break
            if seen is not None:
                seen.scatter_(1, drawn[:, None], True)
            if share < SHARE_AT_WORK:
                kept = at_work.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                rows, at_work, drawn, mask = rows[kept], at_work[kept], drawn[kept], mask[kept]
                seen = None if seen is None else seen[kept]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            cache, logits = engine.forward(cache, mask, drawn[:, None])
        return self._sampled()

    def _uniform(self) -> torch.Tensor:
        """(rows, most) a number from 0 to 1 for each draw, by the seed of the row alone."""
        drawn = [np.random.default_rng(one.seed).random(self.most) for one in self.requests]
        return torch.from_numpy(np.stack(drawn)).to(self.tokens.device)

    def _read(self) -> tuple[DynamicCache, torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Cache, attention mask and next logits after the prompts, each of which is read once; and tokens seen."""
        places = {ids: place for place, ids in enumerate(dict.fromkeys(one.token_ids for one in self.requests))}
        longest = max(map(len, places))
        token_ids = torch.zeros((len(places), longest), dtype=torch.int64)
        mask = torch.zeros_like(token_ids)
        for ids, place in places.items():
            token_ids[place, longest - len(ids) :] = torch.tensor(ids)
            mask[place, longest - len(ids) :] = 1
        device = self.tokens.device
        mask = mask.to(device)
        cache, logits = self.engine.forward(None, mask, token_ids.to(device))
        if not isinstance(cache, DynamicCache):
            raise TypeError(f"it has a {type(cache).__name__} for a cache of keys and values")
        rows = torch.tensor([places[one.token_ids] for one in self.requests], device=device)
        cache.batch_select_indices(rows)
        return cache, mask[rows], logits[rows], self._seen()

    def _seen(self) -> torch.Tensor | None:
        """(rows, n_vocabulary) True for tokens of the prompts; None where no penalty asks for it."""
        if self.engine.policy.repetition_penalty == 1:
            return None
        n_vocabulary = self.engine.n_vocabulary
        seen = torch.zeros((len(self.requests), n_vocabulary), dtype=torch.bool)
        for row, one in enumerate(self.requests):
            seen[row, [token for token in one.token_ids if token < n_vocabulary]] = True
        return seen.to(self.tokens.device)

    def _sampled(self) -> list[Sampled]:
        lengths = self.lengths.tolist()
        tokens, logprobs = self.tokens.tolist(), self.logprobs.tolist()
        finished = self.finished.tolist()
        return [
            Sampled(tokens[row][:length], logprobs[row][:length], finished[row]) for row, length in enumerate(lengths)
        ]
