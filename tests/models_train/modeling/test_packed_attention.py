"""Packed attention against attention written out in float64, and in whole models against Transformers' eager one."""

from __future__ import annotations

import copy
import itertools
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPT2Config,
    GptOssConfig,
    JambaConfig,
    LlamaConfig,
    MixtralConfig,
    PreTrainedConfig,
)

from models_train.modeling.packed_attention import NAME, packed_attention, packed_inputs, use_packed_attention
from models_train.modeling.packing import pack
from tests.support.families import tiny_config
from tests.support.tiny_models import FAMILIES, SIZES, random_base, randomize, sequences

LENGTHS = (5, 1, 9, 3)
MODULE = cast(Any, SimpleNamespace(training=False))


def written_out(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, window: int | None, cap: float | None
) -> torch.Tensor:
    """(1, n_tokens, heads, head_dim): for every sequence, head and token the sum over the tokens that it sees."""
    out = torch.zeros(query.shape[2], query.shape[1], query.shape[3], dtype=torch.float64)
    group = query.shape[1] // key.shape[1]
    start = 0
    for length in LENGTHS:
        for head, token in itertools.product(range(query.shape[1]), range(length)):
            first = 0 if window is None else max(0, token - window + 1)
            seen = range(start + first, start + token + 1)
            q = query[0, head, start + token].double()
            scores = torch.stack([q @ key[0, head // group, other].double() for other in seen]) * scaling
            if cap is not None:
                scores = cap * torch.tanh(scores / cap)
            shares = torch.softmax(scores, 0)
            out[start + token, head] = sum(
                share * value[0, head // group, other].double() for share, other in zip(shares, seen, strict=True)
            )
        start += length
    return out[None]


@pytest.mark.parametrize("window", [None, 1, 2, 4, 9, 100])
@pytest.mark.parametrize("cap", [None, 1.5])
@pytest.mark.parametrize("n_key_heads", [4, 2, 1])
def test_attention_equals_what_is_written_out(window: int | None, cap: float | None, n_key_heads: int) -> None:
    torch.manual_seed(0)
    n_tokens = sum(LENGTHS)
    query = torch.randn(1, 4, n_tokens, 8)
    key, value = torch.randn(2, 1, n_key_heads, n_tokens, 8)
    boundaries = pack([[0] * length for length in LENGTHS]).boundaries
    for scaling in (None, 0.7):
        out, weights = packed_attention(
            MODULE,
            query,
            key,
            value,
            None,
            pack_boundaries=boundaries,
            pack_lengths=LENGTHS,
            scaling=scaling,
            sliding_window=window,
            softcap=cap,
        )
        wanted = written_out(query, key, value, 8**-0.5 if scaling is None else scaling, window, cap)
        assert weights is None and out.shape == (1, n_tokens, 4, 8)
        assert float((out - wanted).abs().max()) < 2e-6


def test_dropout_is_applied_when_it_is_asked_for() -> None:
    query = torch.ones(1, 1, 200, 8)
    value = torch.ones(1, 1, 200, 8)
    for cap in (None, 1.0):
        out, _ = packed_attention(
            MODULE, query, query, value, None,
            pack_boundaries=pack([[0] * 200]).boundaries, pack_lengths=(200,), dropout=0.5, softcap=cap,
        )  # fmt: skip
        assert 0.5 < float(out.mean()) < 1.5 and float(out.std()) > 0.01


@torch.no_grad()
def test_without_a_pack_a_row_is_one_sequence_and_a_batch_is_refused() -> None:
    model = random_base(LlamaConfig(**SIZES))
    wanted = model(input_ids=torch.tensor([[1, 2, 9]])).logits
    use_packed_attention(model)
    assert torch.allclose(model(input_ids=torch.tensor([[1, 2, 9]])).logits, wanted, atol=1e-5)
    with pytest.raises(ValueError, match="takes one row, not 2"):
        model(input_ids=torch.tensor([[1, 2], [3, 4]]))
    one = torch.ones(1, 1, 3, 8)
    with pytest.raises(ValueError, match=r"needs the arguments of packed_inputs\(pack\)"):
        packed_attention(MODULE, one, one, one, None)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_language_models_give_the_logits_of_each_sequence_alone(family: str) -> None:
    reference, model = random_base(FAMILIES[family]()), random_base(FAMILIES[family]())
    reference.set_attn_implementation("eager")
    use_packed_attention(model)
    token_ids = sequences(lengths=(20, 1, 13, 24))
    logits = model(**packed_inputs(pack(token_ids))).logits[0]
    wanted = torch.cat([reference(input_ids=torch.tensor([ids])).logits[0] for ids in token_ids])
    assert float((logits - wanted).abs().max()) < 2e-5 * float(wanted.abs().max())


def test_gradient_checkpointing_passes_the_pack_on() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = random_base(FAMILIES["gemma2"]()).train()
        use_packed_attention(model)
        assert model.training
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        model(**packed_inputs(pack(sequences()))).logits.square().mean().backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None and other is not None and torch.equal(one, other)


SINKS = SIZES | {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1}
REFUSED: dict[str, PreTrainedConfig] = {
    "attention of its own": BloomConfig(vocab_size=272, hidden_size=32, n_head=4, n_layer=2),
    "state space layers": JambaConfig(**SIZES | {"num_experts": 1, "attn_layer_offset": 1, "attn_layer_period": 2}),
    "attention sinks": GptOssConfig(**SINKS, layer_types=["full_attention"] * 2),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", REFUSED)
def test_families_that_would_come_out_wrong_are_refused_and_left_as_they_were(name: str, dtype: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_config(REFUSED[name], dtype=dtype)
    randomize(model, scale=0.5)
    before = model.config._attn_implementation
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[5, 6, 7]])).logits
        with pytest.raises(ValueError, match="ForCausalLM cannot run on packed sequences"):
            use_packed_attention(model)
        assert model.config._attn_implementation == before
        assert torch.equal(model(input_ids=torch.tensor([[5, 6, 7]])).logits, logits)


def test_a_neighbour_that_hardly_shows_is_found() -> None:
    """In bfloat16 a sequence differs from itself alone by more than this neighbour adds."""
    model = AutoModelForCausalLM.from_config(REFUSED["state space layers"], dtype=torch.bfloat16)
    randomize(model, scale=0.03)
    with pytest.raises(ValueError, match="cannot run on packed sequences"):
        use_packed_attention(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_families_are_taken_by_what_they_do(dtype: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_config(MixtralConfig(**SIZES, num_local_experts=4), dtype=dtype)
    randomize(model)
    use_packed_attention(model)
    assert model.config._attn_implementation == NAME


MASKED = {
    "doge": "its attention mask holds more than",
    "llama4_text": "its layers do not take a pack",
    "phimoe": "its attention mask holds more than",
    "qwen2_moe": "its attention mask holds more than",
    "axk2": "its attention takes indices",
    "deepseek_v32": "its attention takes indices",
    "granite_swa": "its attention takes s_aux",
}
LONG = dict.fromkeys(
    ("sliding_window", "attention_chunk_size", "keep_window_size", "index_topk", "sliding_window_size"), 4096
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", MASKED)
def test_what_a_mask_holds_beyond_the_trials_length_is_found(family: str, dtype: torch.dtype) -> None:
    """With windows, chunks and numbers of kept tokens as long as published ones."""
    config = tiny_config(family)
    for name in LONG.keys() & vars(config).keys():
        setattr(config, name, LONG[name])
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    with pytest.raises(ValueError, match=f"cannot run on packed sequences: {MASKED[family]}"):
        use_packed_attention(model)


@pytest.mark.parametrize("family", ["mistral", "gemma3_text", "cohere2", "olmo3", "qwen2", "modernbert-decoder"])
@torch.no_grad()
def test_a_window_that_attention_is_given_is_kept_as_it_is(family: str) -> None:
    config = tiny_config(family)
    config.sliding_window = 24
    model, reference = random_base(copy.deepcopy(config)), random_base(config)
    use_packed_attention(model)
    assert model.config.sliding_window == 24
    reference.set_attn_implementation("eager")
    token_ids = sequences(lengths=(40, 7, 29))
    logits = model(**packed_inputs(pack(token_ids))).logits[0]
    wanted = torch.cat([reference(input_ids=torch.tensor([ids]), use_cache=False).logits[0] for ids in token_ids])
    assert float((logits - wanted).abs().max()) < 1e-5 * max(1.0, float(wanted.abs().max()))


def test_the_verdict_on_one_model_is_not_that_of_another_of_its_architecture() -> None:
    """The trial shares the model's weights and attributes; here one layer looks less far than its mask says."""
    first, second = (AutoModelForCausalLM.from_config(FAMILIES["qwen2_sliding"]()) for _ in range(2))
    use_packed_attention(first)
    second.model.layers[1].self_attn.sliding_window = 2
    with pytest.raises(ValueError, match="its attention mask holds more than"):
        use_packed_attention(second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scaling_that_only_eager_attention_knows_is_found_or_kept(dtype: torch.dtype) -> None:
    config = GPT2Config(vocab_size=272, n_embd=32, n_layer=6, n_head=4, scale_attn_by_inverse_layer_idx=True)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    randomize(model, scale=0.5)
    ids = torch.tensor(sequences(lengths=(20,)))
    model.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = model.eval()(input_ids=ids, use_cache=False).logits
        try:
            use_packed_attention(model)
        except ValueError as error:
            assert "cannot run on packed sequences" in str(error)
        given = model(input_ids=ids, position_ids=torch.arange(20)[None], use_cache=False).logits
    assert float((given - wanted).abs().max()) < (1e-5 if dtype == torch.float32 else 0.1) * float(wanted.abs().max())


def test_a_model_without_weights_is_switched_untried() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    use_packed_attention(model)
    assert model.config._attn_implementation == NAME
