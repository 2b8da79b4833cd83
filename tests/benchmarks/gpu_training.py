"""Training speed on one CUDA device at the shape of 8 billion weights: `python tests/benchmarks/gpu_training.py`.

First that packs equal padded batches on a small shape in bfloat16; then, in one run: the matrix-multiply peak, our real
tokens per second and their share of that peak, and those of a padded loop (TRL's RewardTrainer, where it is installed).
Weights are random; lengths are spread as in HelpSteer2. `--layers 4` makes a short run of it.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, LlamaConfig, PreTrainedModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models_train.reward_models.data import TokenPair, n_tokens
from models_train.reward_models.distributed import current_processes
from models_train.reward_models.memory import model_shape, plan_memory
from models_train.reward_models.model import RewardModel
from models_train.reward_models.training import TrainingState, add_gradient
from models_train.study.training import Recipe
from tests.benchmarks.gpu_time import peak_flops, seconds_of
from tests.benchmarks.helpsteer_lengths import pairs_of_lengths

RECIPE = Recipe(learning_rates=(1e-6,))
VOCABULARY = 128256
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "num_labels": 1,
    "pad_token_id": 0,
}
SMALL = SHAPE | {"vocab_size": 1024, "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 8}
PADDED_PAIRS = 8
TOLERANCE = 0.03


def classifier(shape: dict[str, int], layers: int, dtype: torch.dtype) -> PreTrainedModel:
    """A random model, made on the device."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        return AutoModelForSequenceClassification.from_config(
            LlamaConfig(**shape, num_hidden_layers=layers), dtype=dtype, attn_implementation="sdpa"
        ).eval()


def check() -> None:
    """Loss and gradient of packs against a padded batch of the same weights in float32; both round to bfloat16."""
    examples = pairs_of_lengths(16, SMALL["vocab_size"], 0.25)
    reference = classifier(SMALL, 2, torch.float32)
    state, _ = trained(lambda: RewardModel(copy.deepcopy(reference)), SMALL, 2, examples)
    state.begin_step(1e-6)
    loss = add_gradient(state.model, examples, 4096, current_processes())
    padded_loss(reference, examples).backward()
    gradients = state.masters._gradients()
    for name, weight in reference.named_parameters():
        wanted, given = weight.grad, gradients[f"classifier.{name}"]
        assert wanted is not None
        far = float((given - wanted).norm() / wanted.norm())
        assert far < TOLERANCE, f"the gradient of {name} is {far:.3f} off"
    with torch.no_grad():
        assert abs(float(loss) - float(padded_loss(reference, examples))) < TOLERANCE
    print(f"packs equal padded batches: loss {float(loss):.4f}, gradients within {TOLERANCE:.0%}")


def padded_loss(model: PreTrainedModel, examples: Sequence[TokenPair]) -> torch.Tensor:
    """Mean Bradley-Terry loss of one padded batch."""
    rows = [torch.tensor(ids) for example in examples for ids in example.sequences]
    token_ids = pad_sequence(rows, batch_first=True).cuda()
    logits = model(input_ids=token_ids, attention_mask=(token_ids != 0).long(), use_cache=False).logits.float()
    return -torch.nn.functional.logsigmoid(logits[0::2] - logits[1::2]).mean()


def trained(
    load: Callable[[], RewardModel], shape: dict[str, int], layers: int, examples: Sequence[TokenPair]
) -> tuple[TrainingState, int]:
    """A training state by the memory plan of this device, and the tokens of a pack."""
    plan = plan_memory(
        model_shape(LlamaConfig(**shape, num_hidden_layers=layers), 1, torch.bfloat16),
        precision="bfloat16",
        device_bytes=[torch.cuda.get_device_properties(0).total_memory],
        host_bytes=0,
        longest_example=max(map(n_tokens, examples)),
        longest_sequence=max(len(ids) for example in examples for ids in example.sequences),
    )
    print(plan.describe())
    return TrainingState(load, RECIPE, plan, current_processes()), plan.tokens_per_pack


def ours(layers: int, examples: Sequence[TokenPair]) -> tuple[float, int]:
    """Real tokens per second of whole steps, optimizer included, and the peak memory."""
    state, tokens_per_pack = trained(
        lambda: RewardModel(classifier(SHAPE, layers, torch.float32)), SHAPE, layers, examples
    )

    def step() -> None:
        state.begin_step(1e-6)
        add_gradient(state.model, examples, tokens_per_pack, current_processes())
        state.masters.step(state.optimizer, state.masters.gradient_norm(), 1.0)

    return sum(map(n_tokens, examples)) / seconds_of(step, n=2), torch.cuda.max_memory_allocated()


def padded(layers: int, examples: Sequence[TokenPair]) -> tuple[str, float]:
    """Name and real tokens per second of the peer: weights and AdamW in bfloat16, gradient checkpointing."""
    model = classifier(SHAPE, layers, torch.bfloat16)
    if find_spec("trl"):
        from tests.support.trl_runs import trl_trainer

        with tempfile.TemporaryDirectory() as folder:
            device = {"bf16": True, "use_cpu": False, "gradient_checkpointing": True}
            ordered = [*examples, *examples]
            trainer = trl_trainer(model, ordered, RECIPE, 1e-6, Path(folder), micro_batch=PADDED_PAIRS, **device)
            seconds = trainer.train().metrics["train_runtime"]
        return "TRL's RewardTrainer", 2 * sum(map(n_tokens, examples)) / seconds
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)

    def step() -> None:
        for start in range(0, len(examples), PADDED_PAIRS):
            batch = examples[start : start + PADDED_PAIRS]
            (padded_loss(model, batch) * len(batch) / len(examples)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return "a padded loop (trl is not installed)", sum(map(n_tokens, examples)) / seconds_of(step, n=2)


def flops_per_step(layers: int, examples: Sequence[TokenPair]) -> float:
    """Of forward and backward: 6 per matrix weight and token, and of causal attention 6 x width x length^2 a layer."""
    shape = model_shape(LlamaConfig(**SHAPE, num_hidden_layers=layers), 1, torch.bfloat16)
    matrices = shape.n_weights - VOCABULARY * SHAPE["hidden_size"]
    lengths = [len(ids) for example in examples for ids in example.sequences]
    attention = sum(length**2 for length in lengths) * 6 * layers * SHAPE["hidden_size"]
    return 6 * matrices * sum(lengths) + attention


def main() -> None:
    """Check, then measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=32, help="32: 8 billion weights")
    layers = parser.parse_args().layers
    if not torch.cuda.is_available():
        sys.exit("This benchmark needs a CUDA device and finds none; `make bench` measures on the CPU.")
    print(torch.cuda.get_device_name(0), torch.__version__)
    check()
    peak = peak_flops()
    examples = pairs_of_lengths(RECIPE.global_batch, VOCABULARY)
    speed, memory = ours(layers, examples)
    torch.cuda.empty_cache()
    name, peer = padded(layers, examples)
    used = speed / sum(map(n_tokens, examples)) * flops_per_step(layers, examples)
    print(f"matrix-multiply peak {peak / 1e12:.0f} TFLOP/s")
    print(f"ours {speed:,.0f} real tokens/s, {used / peak:.1%} of the peak, {memory / 1e9:.0f} GB at most")
    print(f"{name} {peer:,.0f} real tokens/s; ratio {speed / peer:.2f}")


if __name__ == "__main__":
    main()
