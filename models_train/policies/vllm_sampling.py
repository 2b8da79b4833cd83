"""Responses of a policy by vLLM: token ids in and out, a request per response, each with its own seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models_train.errors import UserError, first_line
from models_train.logprobs.engine import vocabulary_rows
from models_train.logprobs.vllm_engine import load_llm, refusal
from models_train.modeling.base_models import ModelSource, context_length, load_config
from models_train.policies.sampling import Request, Sampled
from models_train.study.teachers import Policy

REMEDY = "set `engine: transformers` for it"
AT_ONCE = 4096
"""Responses asked for together: the engine runs less than full only towards their end."""
TOKENS_PER_BATCH, CPU_TOKENS_PER_BATCH = 8192, 2048
"""Most tokens of a step of the engine."""


@dataclass(frozen=True)
class VllmSampler:
    """A model in vLLM; a `SamplingEngine`. ends: tokens that end a response. n_vocabulary: rows that count."""

    llm: Any
    policy: Policy
    ends: tuple[int, ...]
    n_vocabulary: int
    name: str = "vllm"
    n_at_once: int = AT_ONCE

    def sampled(self, requests: Sequence[Request]) -> list[Sampled]:
        """The responses, in the order of the requests. Raises UserError where vLLM fails, in whichever way."""
        prompts = [{"prompt_token_ids": list(one.token_ids)} for one in requests]
        try:
            outputs = self.llm.generate(prompts, [self._arguments(one) for one in requests], use_tqdm=False)
        except Exception as error:
            raise UserError(f"{self.policy.policy_id}: vLLM failed: {first_line(error)}; {REMEDY}") from error
        return [_of_output(output.outputs[0]) for output in outputs]

    def _arguments(self, request: Request) -> Any:
        """All arguments that change what is drawn: none is left to the model's own defaults."""
        from vllm import SamplingParams

        return SamplingParams(
            n=1,
            seed=request.seed,
            temperature=self.policy.temperature,
            top_p=self.policy.top_p,
            top_k=self.policy.top_k,
            min_p=0.0,
            repetition_penalty=self.policy.repetition_penalty,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            max_tokens=self.policy.max_tokens,
            min_tokens=0,
            stop=None,
            stop_token_ids=list(self.ends),
            ignore_eos=False,
            logit_bias=None,
            allowed_token_ids=None,
            bad_words=None,
            logprobs=0,
            prompt_logprobs=None,
            detokenize=False,
        )


def _of_output(output: Any) -> Sampled:
    """A response with the log-probability of each token, which come without temperature and cuts (`raw_logprobs`)."""
    ids = list(output.token_ids)
    logprobs = [float(of_token[token].logprob) for token, of_token in zip(ids, output.logprobs, strict=True)]
    return Sampled(ids, logprobs, output.finish_reason == "stop")


def load_vllm_sampler(
    source: ModelSource, policy: Policy, ends: Iterable[int], largest_token_id: int, most_prompt_tokens: int
) -> VllmSampler:
    """The sampler of a policy. most_prompt_tokens: of its prompts.

    Raises UserError where vLLM is not installed, cannot run the model, or the model is not found.
    """
    config = load_config(source).get_text_config()
    n_vocabulary = vocabulary_rows(config.vocab_size, largest_token_id)
    most = most_prompt_tokens + policy.max_tokens
    most = min(most, context_length(config) or most)
    n_tokens = TOKENS_PER_BATCH if torch.cuda.is_available() else CPU_TOKENS_PER_BATCH
    llm = load_llm(
        source,
        getattr(torch, policy.precision),
        most,
        n_tokens,
        REMEDY,
        generation_config="vllm",
        logprobs_mode="raw_logprobs",
        enable_prefix_caching=True,  # the responses to a prompt share it
        # After a part of a prompt vLLM takes a draw back, which it cannot do on a CPU.
        enable_chunked_prefill=False,
    )
    sampler = VllmSampler(llm, policy, tuple(one for one in ends if one < n_vocabulary), n_vocabulary)
    try:
        llm.apply_model(lambda model: _never_draw_beyond(model, n_vocabulary))
        sampler.sampled([Request((0, 0), 0)])  # some models fail only at their first tokens
    except UserError:
        raise
    except Exception as error:
        raise refusal(source, error, REMEDY) from error
    return sampler


def _never_draw_beyond(model: torch.nn.Module, n_vocabulary: int) -> None:
    """Give the rows of the vocabulary that no token has a probability of 0, as Transformers' engine does.

    vLLM's own cut of its padding would not do: its penalties count tokens of the whole vocabulary.
    """
    from vllm.model_executor.layers.logits_processor import LogitsProcessor

    def masked(_: torch.nn.Module, __: object, logits: torch.Tensor | None) -> torch.Tensor | None:
        if logits is not None:
            logits[..., n_vocabulary:] = -torch.inf
        return logits

    processors = [module for module in model.modules() if isinstance(module, LogitsProcessor)]
    if not processors:
        raise ValueError(f"{type(model).__name__} has no LogitsProcessor to leave out unused tokens by")
    for processor in processors:
        processor.register_forward_hook(masked)
