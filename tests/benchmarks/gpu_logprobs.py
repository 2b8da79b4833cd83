"""Log-prob scoring on one CUDA device: `python tests/benchmarks/gpu_logprobs.py`, with `--vllm` against vLLM, too.

For random models in bfloat16 at the shapes of 8 and of 1 billion weights, in one run: the matrix-multiply peak, the
packed engine's tokens per second and their share of that peak, and the memory that its head takes. Before that, on a
small shape, that its numbers are those of the whole logits matrix in float64. `--layers 4` makes a short run of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models_train.logprobs.engine import Engine, Request, score
from models_train.logprobs.packed_engine import PackedEngine, packed_engine
from models_train.logprobs.vllm_engine import load_vllm_engine
from models_train.modeling.base_models import ModelSource
from tests.benchmarks.gpu_time import peak_flops, seconds_of
from tests.support.plain_scores import double, plain_scores, random_documents, requests

VOCABULARY, MEDIAN, SPREAD, LONGEST = 128_256, 900.0, 1.0, 2049
COMMON = {"vocab_size": VOCABULARY, "max_position_embeddings": 4096, "bos_token_id": 1, "eos_token_id": 2}
SHAPES = {
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
}
TOKENS_PER_PACK = 16_384
WANTED = {"8B": {"share of the peak": 0.75, "against vLLM": 1.4}, "1B": {"against vLLM": 3.0}}
HEAD_BYTES = 1 << 30


def random_model(config: LlamaConfig, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    """Made on the device."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def documents(n: int) -> list[Request]:
    """Requests of log-normal lengths, cut at what is scored of a document."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(np.log(MEDIAN), SPREAD, n).astype(int), 8, LONGEST)
    ids = [np.concatenate([[1], random.integers(3, VOCABULARY, length - 1)]) for length in lengths]
    return [Request(str(place), one.astype(np.int64)) for place, one in enumerate(ids)]


def check() -> None:
    """Small model: in float32 the packed engine on the device gives the numbers of plain Transformers in float64."""
    shape = SHAPES["1B"] | {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "head_dim": 64}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = random_model(LlamaConfig(**COMMON | shape), torch.float32)
    plain = double(model).cpu()
    asked = random_documents(VOCABULARY, (300, 2, 77, 128))
    for dtype, close in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        engine = packed_engine("check", model.to(dtype), VOCABULARY - 1, TOKENS_PER_PACK, True)
        for found, ids in zip(score(engine, requests(asked)), asked, strict=True):
            logprobs, standardised = plain_scores(plain, ids, VOCABULARY)
            assert found.standardised is not None
            assert abs(float(found.logprobs.mean() - logprobs.mean())) < close
            assert abs(float(found.standardised.mean() - standardised.mean())) < 10 * close
        print(f"{dtype}: mean log-probabilities within {close} of float64")


def flops(config: LlamaConfig, asked: Sequence[Request]) -> float:
    """2 per matrix weight and token, and of causal attention 2 x width x length^2 a layer."""
    width, heads = config.hidden_size, config.num_key_value_heads * config.head_dim
    layer = 2 * width * width + 2 * width * heads + 3 * width * config.intermediate_size
    matrices = config.num_hidden_layers * layer + VOCABULARY * width
    lengths = [len(request.token_ids) - 1 for request in asked]
    attention = 2 * config.num_hidden_layers * width * sum(length**2 for length in lengths)
    return 2 * matrices * sum(lengths) + attention


def head_bytes(engine: PackedEngine) -> int:
    """Memory that the head takes above hidden states, for a full pack."""
    hidden = torch.randn(TOKENS_PER_PACK, engine.head.weight.shape[1], device="cuda", dtype=engine.head.weight.dtype)
    targets = torch.randint(VOCABULARY, (TOKENS_PER_PACK,), device="cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        engine.head.statistics(hidden, targets, engine.standardise)
    return torch.cuda.max_memory_allocated() - before


def tokens_per_second(engine: Engine, asked: Sequence[Request]) -> float:
    """Scored tokens per second, warm."""
    n_tokens = sum(len(request.token_ids) - 1 for request in asked)
    return n_tokens / seconds_of(lambda: score(engine, asked))


def measure(name: str, config: LlamaConfig, asked: Sequence[Request], peak: float, folder: Path | None) -> None:
    """Measure one shape and print it; folder: for the weights, where vLLM is asked, too."""
    model = random_model(config)
    if folder is not None:
        model.save_pretrained(folder)
    speeds = {}
    for standardise in (False, True):
        engine = packed_engine(name, model, VOCABULARY - 1, TOKENS_PER_PACK, standardise)
        speeds[standardise] = tokens_per_second(engine, asked)
        share = speeds[standardise] / sum(len(one.token_ids) - 1 for one in asked) * flops(config, asked) / peak
        taken = head_bytes(engine)
        what = "with what Min-K%++ needs" if standardise else "log-probabilities alone"
        print(f"{name}, {what}: {speeds[standardise]:,.0f} tokens/s, {share:.1%} of the peak;", end=" ")
        print(f"head {taken / 2**20:,.0f} MiB")
        assert taken <= HEAD_BYTES, "the head's memory"
        if not standardise and "share of the peak" in WANTED[name]:
            print(f"{name}: wanted {WANTED[name]['share of the peak']:.0%} of the peak")
    if folder is not None:
        del model, engine
        torch.cuda.empty_cache()
        source = ModelSource(name, str(folder))
        peer = load_vllm_engine(source, VOCABULARY - 1, torch.bfloat16, LONGEST, TOKENS_PER_PACK)
        speed = tokens_per_second(peer, asked)
        ratio, wanted = speeds[False] / speed, WANTED[name]["against vLLM"]
        print(f"{name}, vLLM: {speed:,.0f} tokens/s; ratio {ratio:.2f}, wanted {wanted}")


def main() -> None:
    """Check, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, action="append", help="default: both")
    parser.add_argument("--layers", type=int, help="layers instead of the shape's own")
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--vllm", action="store_true", help="needs vllm, and disk space for the weights")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("This benchmark needs a CUDA device and finds none; `make bench` measures on the CPU.")
    print(torch.cuda.get_device_name(0), torch.__version__)
    check()
    peak = peak_flops()
    print(f"matrix-multiply peak {peak / 1e12:.0f} TFLOP/s")
    asked = documents(options.documents)
    for name in options.shape or SHAPES:
        config = LlamaConfig(**COMMON | SHAPES[name])
        config.num_hidden_layers = options.layers or config.num_hidden_layers
        with tempfile.TemporaryDirectory() as folder:
            measure(name, config, asked, peak, Path(folder) if options.vllm else None)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
