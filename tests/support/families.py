"""A tiny configuration of every family that Transformers can build as a causal language model."""

from __future__ import annotations

import inspect
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.support.tiny_models import SIZES

WINDOW = 6
"""Window, chunk or number of tokens kept, in tokens: shorter than the sequences of the sweep."""

SMALL: dict[str, Any] = SIZES | {
    "attention_chunk_size": 8,
    "attention_window_size": WINDOW,
    "chunk_size": 8,
    "conv_kernel": 4,
    "d_ff": 48,
    "d_model": 32,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "decoder_layers": 2,
    "embedding_size": 32,
    "encoder_layers": 1,
    "expert_layer_offset": 1,
    "ffn_dim": 48,
    "ffn_hidden_size": 48,
    "first_k_dense_replace": 1,
    "head_dim": 8,
    "index_head_dim": 16,
    "index_n_heads": 16,
    "index_topk": WINDOW,
    "index_block_size": 4,
    "index_topk_blocks": 2,
    "keep_window_size": WINDOW,
    "kv_channels": 8,
    "kv_lora_rank": 16,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_value_head_dim": 8,
    "local_attention": 8,
    "lru_width": 32,
    "mamba_chunk_size": 8,
    "mamba_d_head": 16,
    "mamba_d_ssm": 64,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_head_dim": 16,
    "mamba_n_groups": 1,
    "mamba_n_heads": 4,
    "mamba_num_heads": 4,
    "max_window_layers": 1,
    "moe_intermediate_size": 24,
    "n_embd": 32,
    "n_group": 1,
    "n_groups": 1,
    "n_head": 4,
    "n_heads": 4,
    "n_inner": 48,
    "n_layer": 2,
    "n_layers": 2,
    "n_positions": 512,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_heads": 4,
    "num_layers": 2,
    "num_local_experts": 4,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "rotary_dim": 8,
    "shared_expert_intermediate_size": 24,
    "shared_intermediate_size": 24,
    "sliding_window": WINDOW,
    "sliding_window_size": WINDOW,
    "ssm_state_size": 8,
    "state_size": 8,
    "topk_group": 1,
    "use_sliding_window": True,
    "v_head_dim": 8,
}
"""Sizes by the names that the families give them; a family takes those that its configuration has."""

LATENT = {"num_key_value_heads": 4}
MAMBA2 = {"mamba_expand": 2, "mamba_n_heads": 8, "mamba_d_head": 8}
NO_PAD = {"pad_token_id": 0}
OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "axk1",
            "axk2",
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "glm4_moe_lite",
            "glm_moe_dsa",
            "minicpm3",
            "youtu",
        ),
        LATENT,
    ),
    **dict.fromkeys(("camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta"), NO_PAD),
    **dict.fromkeys(("emu3", "modernbert-decoder", "prophetnet", "xlm-roberta-xl"), NO_PAD),
    "gemma3n_text": {
        "num_hidden_layers": 5,
        "layer_types": ["sliding_attention", "full_attention"] * 2 + ["full_attention"],
        "num_kv_shared_layers": 1,
        "vocab_size_per_layer_input": 272,
        "hidden_size_per_layer_input": 8,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0, 0.0],
    },
    "gemma4_text": {"vocab_size_per_layer_input": 272, "hidden_size_per_layer_input": 8, "global_head_dim": 16},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "bamba": {"attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": LATENT | {"zero_expert_num": 2, "expert_ffn_hidden_size": 24, "moe_topk": 2},
    "minimax_m3_vl_text": {"layer_types": ["full_attention", "minimax_m3_sparse"], "index_n_heads": 2},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5_moe_text": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen4_exp_text": {"layer_types": ["linear_attention", "full_attention"]},
    "reformer": {"is_decoder": True},
}
"""Settings that a family needs beside them."""


def tiny_config(model_type: str, **changes: Any) -> PreTrainedConfig:
    """The family's configuration with tiny sizes. Raises what Transformers raises where these do not fit together."""
    kind = CONFIG_MAPPING[model_type]
    settings = SMALL | OWN.get(model_type, {}) | changes
    own = {name: value for name, value in settings.items() if name in fields_of(kind)}
    if "text_config" in fields_of(kind) and "text_config" in kind.sub_configs:
        text = kind.sub_configs["text_config"]
        own["text_config"] = {name: value for name, value in settings.items() if name in fields_of(text)}
    return kind(**own | OWN.get(model_type, {}))


def fields_of(kind: type[PreTrainedConfig]) -> set[str]:
    """Names of a configuration's settings, those by which it calls other ones too."""
    found = set(inspect.signature(kind.__init__).parameters) | set(kind.attribute_map)
    for base in kind.__mro__:
        found |= set(vars(base).get("__annotations__", {}))
    return found


def families() -> list[str]:
    """Every model type that Transformers loads as a causal language model."""
    return sorted(name for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES if name in CONFIG_MAPPING)
