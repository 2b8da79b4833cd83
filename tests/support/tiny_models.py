"""Tiny random models of the paper's families, a tokenizer of bytes, and rewards by Transformers alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    NemotronConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    StableLmConfig,
)

VOCABULARY = 272
"""Rows of the embedding: 3 special tokens, 256 bytes, 13 unused."""

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LONG_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.1, 1.2, 1.3],
    "long_factor": [1.0, 2.0, 4.0, 8.0],
    "original_max_position_embeddings": 24,
}

FAMILIES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama3": lambda: LlamaConfig(**SIZES, rope_parameters=LLAMA3_ROPE),
    "falcon3": lambda: LlamaConfig(**SIZES | {"num_key_value_heads": 1}, head_dim=16),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "qwen2_sliding": lambda: Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=6, max_window_layers=1),
    "gemma": lambda: GemmaConfig(**SIZES, head_dim=16),
    "gemma2": lambda: Gemma2Config(
        **SIZES, head_dim=16, sliding_window=6, query_pre_attn_scalar=16, attn_logit_softcapping=2.0
    ),
    "phi3": lambda: Phi3Config(**SIZES, sliding_window=8),
    "phi3_longrope": lambda: Phi3Config(
        **SIZES, rope_parameters=LONG_ROPE, original_max_position_embeddings=24, sliding_window=None
    ),
    "mistral": lambda: MistralConfig(**SIZES, sliding_window=5),
    "stablelm": lambda: StableLmConfig(**SIZES, use_qkv_bias=True),
    "stablelm_normed": lambda: StableLmConfig(**SIZES, qk_layernorm=True, use_parallel_residual=True),
    "nemotron": lambda: NemotronConfig(**SIZES),
}


def randomize(model: torch.nn.Module, seed: int = 0, scale: float = 0.2) -> None:
    """Weights so large that attention, windows and soft-capping matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator) * scale
            weight.copy_(1 + noise if "norm" in name and weight.dim() == 1 and "bias" not in name else noise)


def random_base(config: PreTrainedConfig, seed: int = 0) -> PreTrainedModel:
    """A causal language model in float32."""
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomize(model, seed)
    return model.eval()


def byte_tokenizer(
    template: str | None = None, names: tuple[str, ...] = ("<unk>", "<s>", "</s>"), **special: str | None
) -> PreTrainedTokenizerFast:
    """The special tokens `names`, then the bytes. special: pad_token, and others as they are to be; None: without."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*names, *alphabet])}
    tokenizer = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(names))
    tokens = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"} | special
    given = {name: token for name, token in tokens.items() if token is not None}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, chat_template=template, **given)


def write_base(
    folder: Path,
    config: PreTrainedConfig | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    seed: int = 0,
) -> Path:
    """A folder with a base model and its tokenizer, as a study names one; by default a Llama."""
    random_base(config or LlamaConfig(**SIZES), seed).save_pretrained(folder)
    (tokenizer or byte_tokenizer()).save_pretrained(folder)
    return folder


def sequences(seed: int = 0, lengths: tuple[int, ...] = (13, 1, 40, 7, 25, 2, 30)) -> list[list[int]]:
    """Token ids without special ones, of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 259, (length,), generator=generator).tolist() for length in lengths]


UNUSED = 270
"""A token id that no sequence holds: the reference pads with it."""


def classifier_of(config: PreTrainedConfig, n_outputs: int = 5) -> PreTrainedModel:
    """A random sequence classification model with eager attention; equal arguments give equal weights."""
    config.num_labels = n_outputs
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32, attn_implementation="eager")
    randomize(model)
    return model.eval()


def padded(model: PreTrainedModel, token_ids: list[list[int]], side: str, pad: int = UNUSED) -> torch.Tensor:
    """Rewards by Transformers alone, in one batch padded on a side."""
    longest = max(map(len, token_ids))
    rows, masks = [], []
    for ids in token_ids:
        fill = [pad] * (longest - len(ids))
        rows.append(fill + ids if side == "left" else ids + fill)
        masks.append([0] * len(fill) + [1] * len(ids) if side == "left" else [1] * len(ids) + [0] * len(fill))
    logits: torch.Tensor = model(input_ids=torch.tensor(rows), attention_mask=torch.tensor(masks)).logits
    return logits


def one_by_one(model: PreTrainedModel, token_ids: list[list[int]]) -> torch.Tensor:
    """Rewards by Transformers alone, without padding."""
    return torch.cat([model(input_ids=torch.tensor([ids]), use_cache=False).logits for ids in token_ids])
