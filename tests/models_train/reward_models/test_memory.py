"""Plans for the shapes of the paper's largest models, from configurations alone; a clear error if none fits."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, LlamaConfig, PreTrainedConfig

from models_train.errors import UserError
from models_train.machine import WORKERS, memory_limit
from models_train.modeling.packing import pack
from models_train.reward_models import memory
from models_train.reward_models.distributed import Processes
from models_train.reward_models.memory import MemoryPlan, ModelShape, model_shape, plan_memory
from models_train.reward_models.model import RewardModel
from models_train.reward_models.search import shared_plan
from tests.support.families import tiny_config
from tests.support.tiny_models import FAMILIES, SIZES, classifier_of

GB = 10**9
LLAMA_8B = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}
FALCON3_10B = {
    "hidden_size": 3072,
    "intermediate_size": 23040,
    "num_hidden_layers": 40,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 131072,
}
LLAMA_70B = LLAMA_8B | {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
}


def planned(config: dict[str, Any], devices: list[int], **changes: Any) -> MemoryPlan:
    """A plan for pairs of up to 4,096 tokens each."""
    settings: dict[str, Any] = {
        "precision": "bfloat16",
        "device_bytes": devices,
        "host_bytes": 200 * GB,
        "longest_example": 8192,
        "longest_sequence": 4096,
    }
    return plan_memory(llama_shape(tuple(config.items())), **settings | changes)


@cache
def llama_shape(config: tuple[tuple[str, Any], ...]) -> ModelShape:
    return model_shape(LlamaConfig(**dict(config)), 1, torch.bfloat16)


def test_8b_on_one_device_of_141_gb() -> None:
    plan = planned(LLAMA_8B, [141 * GB])
    assert (plan.optimizer, plan.gradient_checkpointing, plan.n_devices) == ("adamw_8bit", True, 1)
    assert plan.tokens_per_pack >= 8192 and plan.memory.host == 0
    n_weights = 7_504_924_672 + 4096
    assert plan.memory.weights == 2 * n_weights and plan.memory.gradients == 4 * n_weights
    assert plan.memory.optimizer == pytest.approx((4 + 2 + 2 * 4 / 256) * n_weights)
    assert plan.memory.device < 0.92 * 141 * GB
    assert plan.describe().startswith("bfloat16 compute, float32 master weights, 8-bit AdamW, gradient checkpointing")


def test_10b_on_eight_devices_of_48_gb() -> None:
    plan = planned(FALCON3_10B, [48 * GB] * 8)
    assert (plan.optimizer, plan.n_devices) == ("adamw", 8)
    n_weights = 9_903_000_576 + 3072
    shares = plan.memory.weights + plan.memory.gradients + plan.memory.optimizer
    assert shares == pytest.approx(16 * n_weights / 8)
    assert plan.memory.device < 0.92 * 48 * GB
    assert "8 devices, sharded" in plan.describe()


def test_8b_on_one_device_of_80_gb_puts_its_state_on_the_host() -> None:
    plan = planned(LLAMA_8B, [80 * GB])
    assert plan.optimizer == "adamw_offloaded" and plan.memory.optimizer == 0
    assert plan.memory.host == 16 * (7_504_924_672 + 4096)
    assert "on the host" in plan.describe()
    with pytest.raises(UserError, match=r"111\.8 GiB on the host, which has 59\.6 GiB"):
        planned(LLAMA_8B, [80 * GB], host_bytes=64 * GB)


def test_70b_on_one_device_of_24_gb_is_refused_in_words() -> None:
    with pytest.raises(UserError) as error:
        planned(LLAMA_70B, [24 * GB])
    text = str(error.value)
    assert text.startswith("training 69.5 billion weights does not fit on 1 device of 22.4 GiB (19.6 GiB of each can")
    assert "No number of such devices would do" in text
    assert text.endswith("or shorten max_tokens of the recipe, or take a smaller model")


def test_what_would_fit_does_fit() -> None:
    with pytest.raises(UserError, match=r"Sharded with torchrun, (\d+) such devices would do") as error:
        planned(LLAMA_8B, [24 * GB] * 2, host_bytes=0)
    n_devices = int(str(error.value).split("torchrun, ")[1].split()[0])
    assert planned(LLAMA_8B, [24 * GB] * n_devices, host_bytes=0).optimizer == "adamw"
    with pytest.raises(UserError):
        planned(LLAMA_8B, [24 * GB] * (n_devices - 1), host_bytes=0)


def test_more_memory_never_makes_a_plan_worse() -> None:
    ranks = []
    for size in range(60, 400, 20):
        plan = planned(LLAMA_8B, [size * GB])
        kinds = ["adamw_offloaded", "adamw_8bit", "adamw"]
        ranks.append((kinds.index(plan.optimizer), not plan.gradient_checkpointing, plan.tokens_per_pack))
    assert ranks == sorted(ranks)
    assert ranks[-1][:2] == (2, True)


def test_a_study_may_choose_the_size_of_its_packs() -> None:
    assert planned(LLAMA_8B, [141 * GB], tokens_per_pack=1000).tokens_per_pack == 1000
    small = planned(LLAMA_8B, [141 * GB], tokens_per_pack=1000).memory.activations
    assert small == planned(LLAMA_8B, [141 * GB], tokens_per_pack=8192).memory.activations, "the longest pair counts"


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_counted_exactly(family: str) -> None:
    for n_outputs in (1, 5):
        config = FAMILIES[family]()
        config.num_labels = n_outputs
        model = AutoModelForSequenceClassification.from_config(config)
        shape = model_shape(FAMILIES[family](), n_outputs, torch.float32)
        assert shape.n_weights == sum(weight.numel() for weight in model.parameters())


def test_a_model_of_one_layer_has_a_shape() -> None:
    config = FAMILIES["qwen2"]()
    config.num_hidden_layers, config.layer_types = 1, config.layer_types[:1]
    model = AutoModelForSequenceClassification.from_config(config)
    assert model_shape(config, 2, torch.float32).n_weights == sum(weight.numel() for weight in model.parameters())


MIXTURES = ("deepseek_v3", "dots1", "granitemoe", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe")


@pytest.mark.parametrize("family", MIXTURES)
def test_mixtures_of_experts_have_a_shape_in_either_precision(family: str) -> None:
    """Also those whose first layers are dense: the weights are those of all layers, not of the first ones."""
    full, half = (model_shape(tiny_config(family), 1, dtype) for dtype in (torch.float32, torch.bfloat16))
    backbone = AutoModel.from_config(tiny_config(family))
    assert full.n_weights == half.n_weights == sum(weight.numel() for weight in backbone.parameters()) + 32
    assert 1.3 * half.layer_bytes < full.layer_bytes <= 2 * half.layer_bytes
    layer = max(sum(one.numel() for one in layer.parameters()) for layer in backbone.layers)
    assert full.largest_unit >= layer


@pytest.mark.parametrize("family", ["jamba", "gemma4_text", "granitemoehybrid", "lfm2_moe", "gemma3n_text"])
def test_layers_of_several_kinds_have_a_shape(family: str) -> None:
    backbone = AutoModel.from_config(tiny_config(family))
    shape = model_shape(tiny_config(family), 1, torch.float32)
    assert shape.n_weights == sum(weight.numel() for weight in backbone.parameters()) + 32


def kept_bytes(config: PreTrainedConfig, n_tokens: int) -> int:
    """What autograd really keeps of a pack, weights apart."""
    model = RewardModel(classifier_of(config, 1))
    own = {one.untyped_storage().data_ptr() for one in (*model.module.parameters(), *model.module.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.rewards(pack([[3] * n_tokens]))
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("family", ["llama3", "qwen2", "gemma", "gemma2", "phi3", "stablelm", "nemotron"])
def test_activations_are_estimated_within_a_third(family: str) -> None:
    """Against what autograd keeps of a real pack; the estimate adds one layer for the backward pass."""
    n_tokens = 200
    config = FAMILIES[family]()
    config.num_hidden_layers = 6
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types * 3
    shape = model_shape(config, 1, torch.float32)
    estimate = shape.activation_bytes(n_tokens, n_tokens, False)
    backward = n_tokens * (shape.layer_bytes + shape.squared_bytes * n_tokens)
    assert (estimate - backward) / kept_bytes(config, n_tokens) == pytest.approx(1, abs=1 / 3)


def test_a_configuration_that_is_no_model_is_told_in_words() -> None:
    with pytest.raises(UserError, match=r"no llama model can be built .*Correct config\.json"):
        model_shape(LlamaConfig(**SIZES | {"hidden_act": "none such"}), 1, torch.float32)


@pytest.mark.parametrize(("n_processes", "n_jobs"), [(1, 1), (2, 1), (1, 2), (1, 3)])
def test_processes_and_jobs_on_a_cpu_share_its_memory(n_processes: int, n_jobs: int) -> None:
    found = memory.machine_of(Processes(0, n_processes, torch.device("cpu")), n_jobs)
    assert found.device_type == "cpu" and found.host_bytes == 0
    each = memory_limit().n_bytes // (n_processes * n_jobs) - memory.PROCESS_BYTES
    assert found.device_bytes == (each,) * n_processes


def test_processes_of_several_machines_share_each_of_them() -> None:
    """The second of two on its machine, of four in all."""
    found = memory.machine_of(Processes(3, 4, torch.device("cpu"), local_rank=1, local_n=2))
    assert found.device_bytes == (memory_limit().n_bytes // 2 - memory.PROCESS_BYTES,) * 4


def test_a_search_that_goes_on_keeps_its_optimizer() -> None:
    """On a device where another one would be chosen for a search that begins."""
    config = LLAMA_8B
    assert planned(config, [80 * GB]).optimizer == "adamw_offloaded"
    assert planned(config, [80 * GB] * 8).optimizer == "adamw"
    assert planned(config, [80 * GB] * 8, optimizer="adamw_offloaded").optimizer == "adamw_offloaded"


MIB = 1024**2


def test_a_job_alone_leaves_room_for_the_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that waits holds its libraries and data: together they stay below the limit."""
    shape = model_shape(LlamaConfig(**SIZES | {"hidden_size": 512, "intermediate_size": 2048}), 1, torch.float32)

    def planned(machine: memory.Machine) -> MemoryPlan:
        return plan_memory(
            shape,
            precision="float32",
            device_bytes=machine.device_bytes,
            host_bytes=machine.host_bytes,
            longest_example=512,
            longest_sequence=256,
            tokens_per_pack=512,
            device_type="cpu",
        )

    def shared(limit: int, workers: int) -> tuple[MemoryPlan, bool]:
        monkeypatch.setenv("SLURM_MEM_PER_NODE", str(limit))
        monkeypatch.setenv(WORKERS, str(workers))
        return shared_plan(planned, Processes(0, 1, torch.device("cpu")))

    process = memory.PROCESS_BYTES // MIB
    least = shared(100_000, 1)[0].memory.device / (1 - memory.MARGIN) / MIB
    assert not shared(int(2 * (process + least)) + 2, 2)[1]
    plan, is_alone = shared(int(2 * process + least) + 2, 2)
    assert is_alone and plan.memory.device / MIB < least
    with pytest.raises(UserError, match=rf"beside a job that waits: .*SLURM_MEM_PER_NODE.*; set {WORKERS}=1$"):
        shared(int(process + least) + 2, 2)
    assert not shared(int(process + least) + 2, 1)[1]
    with pytest.raises(UserError, match=r"take a smaller model; there are 0.5 GiB \(limit of Slurm, SLURM_"):
        shared(int(process) + 2, 2)
