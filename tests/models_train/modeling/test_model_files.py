"""Folders of models that would be loaded otherwise than they are meant: each is refused in one sentence."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DeepseekV3Config,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from models_train.errors import UserError
from models_train.logprobs.vllm_engine import refuse_further_weights
from models_train.modeling.base_models import ModelSource, load_model, load_tokenizer, model_source
from models_train.study.models import StudyModel
from tests.support.tiny_models import FAMILIES, SIZES, byte_tokenizer, random_base, write_base

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 123456\n"
UP = "model.layers.1.mlp.up_proj.weight"


def source_of(hub_id: str, study_folder: Path) -> ModelSource:
    settings = {"model_id": "tiny", "hub_id": hub_id, "family": "Llama", "stage": "base"}
    return model_source(StudyModel.model_validate(settings), study_folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama; tests that spoil it take a copy."""
    return write_base(tmp_path_factory.mktemp("study") / "base")


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny Llama."""
    return shutil.copytree(base, tmp_path / "base")


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file({name: weight.contiguous() for name, weight in weights.items()}, file, {"format": "pt"})


def edit_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def add(**weights: torch.Tensor) -> Callable[[Path], None]:
    named = {name.replace("__", "."): weight for name, weight in weights.items()}
    return lambda folder: edit_weights(folder, lambda found: found.update(named))


def stated(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "config.json", **changes)


def written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def moved(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def recast(dtype: torch.dtype) -> Callable[[Path], None]:
    return lambda folder: edit_weights(folder, lambda found: found.update({UP: found[UP].to(dtype)}))


def sharded(folder: Path) -> None:
    """The weights in shards of 40 kB, with an index."""
    (folder / "model.safetensors").unlink()
    random_base(LlamaConfig(**SIZES), seed=7).save_pretrained(folder, max_shard_size="40KB")


def shard(folder: Path, number: int = 1) -> Path:
    return sorted(folder.glob("model-*.safetensors"))[number]


def both(*steps: Callable[[Path], object]) -> Callable[[Path], None]:
    def take(folder: Path) -> None:
        for step in steps:
            step(folder)

    return take


def stale_file(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    sharded(folder)
    (folder / "model.safetensors").write_bytes(whole)


def stale_shard(folder: Path) -> None:
    sharded(folder)
    shutil.copy(shard(folder), folder / "model-00009-of-00009.safetensors")


def double(folder: Path) -> None:
    """A tensor in two shards."""
    sharded(folder)
    first, second = load_file(shard(folder, 0)), load_file(shard(folder, 1))
    save_file(first | second, shard(folder, 1), {"format": "pt"})


def prefixed(found: dict[str, torch.Tensor]) -> None:
    for name in list(found):
        found[f"_orig_mod.{name}"] = found.pop(name)


def third_layer(found: dict[str, torch.Tensor]) -> None:
    found.update({name.replace("layers.1.", "layers.2."): found[name].clone() for name in found if "layers.1." in name})


def biased(folder: Path) -> None:
    """A Llama with biases, whose config.json has lost the setting."""
    random_base(LlamaConfig(**SIZES, attention_bias=True)).save_pretrained(folder)
    edit_json(folder / "config.json", attention_bias=False)


def lora(found: dict[str, torch.Tensor]) -> None:
    found["model.layers.0.self_attn.q_proj.lora_A.weight"] = torch.ones(4, 32)
    found["model.layers.0.self_attn.q_proj.lora_B.weight"] = torch.ones(32, 4)


OTHER_WEIGHTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "biases without a setting": (
        biased,
        r"holds 8 weights that the model of config\.json does not take, .*k_proj\.bias",
    ),
    "a layer too many": (
        lambda folder: edit_weights(folder, third_layer),
        r"holds 9 weights that the model of config\.json does not take, such as model\.layers\.2\.",
    ),
    "fewer layers stated": (stated(num_hidden_layers=1), r"holds 9 weights .* such as model\.layers\.1\."),
    "norms of another family": (
        add(model__layers__0__self_attn__q_norm__weight=torch.ones(8)),
        r"holds 1 weights .*q_norm",
    ),
    "an expert router": (add(model__layers__0__mlp__gate__weight=torch.ones(4, 32)), r"holds 1 weights .*mlp\.gate"),
    "another size": (stated(intermediate_size=64), r"the weights .* have the shape \(.*48.*by config\.json \(.*64"),
    "a wrapper's prefix": (lambda folder: edit_weights(folder, prefixed), r"lacks 20 of the model's weights"),
    "weights of LoRA": (lambda folder: edit_weights(folder, lora), r"holds the weights of an adapter, .*lora_A.*merge"),
}
METHODS = ("fp8", "modelopt", "bitsandbytes", "gptq", "awq", "compressed-tensors", "torchao", "mxfp4", "exl2")
QUANTISED: dict[str, tuple[Callable[[Path], object], str]] = {
    **{
        method: (stated(quantization_config={"quant_method": method}), rf"is quantised \({method}\), by quantization_")
        for method in METHODS
    },
    "a method without a name": (stated(quantization_config={"load_in_4bit": True}), "is quantised, by quantiz"),
    "in the text's configuration": (
        stated(text_config={"quantization_config": {"quant_method": "fp8"}}),
        "is quantised",
    ),
    "MLX": (stated(quantization={"group_size": 64, "bits": 4}), r"is quantised, by quantization in config\.json"),
    "modelopt beside": (written("hf_quant_config.json", "{}"), r"is quantised, by hf_quant_config\.json"),
    "GPTQ beside": (written("quantize_config.json", "{}"), r"is quantised, by quantize_config\.json"),
    "AWQ beside": (written("quant_config.json", "{}"), r"is quantised, by quant_config\.json"),
    "float8": (recast(torch.float8_e4m3fn), rf"quantised weights, such as {re.escape(UP)} \(F8_E4M3\)"),
    "float8 of another kind": (recast(torch.float8_e5m2), r"\(F8_E5M2\)"),
    "int8": (recast(torch.int8), r"\(I8\)"),
    "packed in bytes": (recast(torch.uint8), r"\(U8\)"),
    "packed in int32": (recast(torch.int32), r"\(I32\)"),
    "packed in uint32": (recast(torch.uint32), r"\(U32\)"),
    "scales of FP8": (add(model__layers__0__mlp__up_proj__weight_scale_inv=torch.ones(3, 2)), "weight_scale_inv"),
    "a scale of modelopt": (add(model__layers__0__mlp__up_proj__weight_scale=torch.ones(())), "weight_scale"),
    "GPTQ": (add(model__layers__0__mlp__up_proj__qweight=torch.ones(2, 2, dtype=torch.int32)), "qweight"),
    "bitsandbytes": (add(model__layers__0__mlp__up_proj__weight__absmax=torch.ones(3)), "absmax"),
    "LLM.int8": (add(model__layers__0__mlp__up_proj__SCB=torch.ones(3)), "SCB"),
    "compressed-tensors": (add(model__layers__0__mlp__up_proj__weight_packed=torch.ones(2, 2)), "weight_packed"),
}
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an adapter beside": (written("adapter_config.json", "{}"), r"holds an adapter \(adapter_config\.json\).*merge it"),
    "an adapter's weights beside": (
        lambda folder: save_file({"x": torch.ones(1)}, folder / "adapter_model.safetensors"),
        "holds an adapter",
    ),
    "an adapter alone": (
        both(
            lambda folder: (folder / "model.safetensors").unlink(),
            moved("config.json", "adapter_config.json"),
        ),
        r"holds an adapter",
    ),
    "GGUF": (moved("model.safetensors", "tiny-Q4_K_M.gguf"), r"GGUF only \(tiny-Q4_K_M\.gguf\).*take the unquantised"),
    "GGUF alone": (
        both(moved("model.safetensors", "x.gguf"), lambda folder: (folder / "config.json").unlink()),
        r"GGUF only",
    ),
    "another library": (moved("model.safetensors", "model.onnx"), r"another library only \(model\.onnx\)"),
    "another name": (moved("model.safetensors", "weights.safetensors"), r"only weights\.safetensors; rename"),
    "pointer: weights": (written("model.safetensors", POINTER), r"model\.safetensors is not the file.*`git lfs pull`"),
    "pointer: config": (written("config.json", POINTER), r"config\.json is not the file.*`git lfs pull`"),
    "pointer: tokenizer": (written("tokenizer.json", POINTER), r"tokenizer\.json is not the file.*`git lfs pull`"),
    "pointer: template": (written("chat_template.jinja", POINTER), r"chat_template\.jinja is not the file"),
    "pointer: vocabulary": (written("tokenizer.model", POINTER), r"tokenizer\.model is not the file"),
    "pointer: index": (both(sharded, written("model.safetensors.index.json", POINTER)), r"index\.json is not the file"),
    "pointer: shard": (both(sharded, lambda folder: shard(folder).write_text(POINTER)), r"is not the file"),
    "two sets: file and shards": (stale_file, r"two sets of weights: model-.* and model\.safetensors; remove"),
    "two sets: shards": (stale_shard, r"two sets of weights: .* and model-00009-of-00009\.safetensors"),
    "two sets: no index": (
        lambda folder: shutil.copy(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors"),
        r"two sets of weights: model\.safetensors and model-00001-of-00002",
    ),
    "two sets: index of other files": (
        written("model.safetensors.index.json", '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}'),
        r"two sets of weights: model-00001-of-00002\.safetensors and model\.safetensors",
    ),
    "a tensor twice": (double, r"both hold the weights .* of two saves"),
    "a shard missing": (
        both(sharded, lambda folder: shard(folder).unlink()),
        r"lacks model-0000\d-of-.* of the \d files",
    ),
    "no index": (
        both(sharded, lambda folder: (folder / "model.safetensors.index.json").unlink()),
        r"without model\.saf",
    ),
    "an index of nothing": (
        both(sharded, written("model.safetensors.index.json", '{"metadata": {}}')),
        r"lists no safetensors files",
    ),
    "an index that leads away": (
        both(sharded, written("model.safetensors.index.json", '{"weight_map": {"a": "../x.safetensors"}}')),
        r"lists no safetensors files",
    ),
    "a shard cut short": (
        both(sharded, lambda folder: os.truncate(shard(folder), shard(folder).stat().st_size - 2000)),
        r"model-.* is cut short or damaged; download",
    ),
    "cut short in its header": (
        lambda folder: os.truncate(folder / "model.safetensors", 20),
        r"is cut short or damaged",
    ),
    "empty": (written("model.safetensors", ""), r"model\.safetensors is cut short or damaged"),
    "weights named elsewhere": (stated(transformers_weights="other.safetensors"), r"names weights of its own"),
    "config cut short": (written("config.json", "{"), r"config\.json is not JSON"),
    "config of a list": (written("config.json", "[]"), r"config\.json holds no settings"),
    "tokenizer cut short": (written("tokenizer.json", "{"), r"tokenizer\.json is not JSON"),
    "the publisher's format": (
        both(lambda folder: (folder / "config.json").unlink(), written("params.json", "{}")),
        r"its publisher's own format",
    ),
    "no configuration": (
        lambda folder: (folder / "config.json").unlink(),
        r"holds no config\.json \(there is .*correct",
    ),
}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [pytest.param(*case, id=name) for name, case in (OTHER_WEIGHTS | QUANTISED | FILES).items()],
)
def test_what_would_be_loaded_otherwise_is_refused(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=said) as refused:
        source_of("./base", folder.parent)
    text = str(refused.value)
    assert text.startswith(f"tiny: {folder}") and "\n" not in text and text.count(str(folder)) == 1


def test_sound_folders_pass(base: Path, folder: Path) -> None:
    source_of(str(base), base.parent)
    sharded(folder)
    for name in ("optimizer.pt", "training_args.bin", "rng_state.pth", "pytorch_model.bin", "consolidated.safetensors"):
        (folder / name).write_bytes(b"x")
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "adapter_config.json").write_text("{}")
    loaded = load_model(source_of("./base", folder.parent), AutoModelForCausalLM, torch.float32)
    wanted = random_base(LlamaConfig(**SIZES), seed=7).state_dict()
    assert all(torch.equal(weight, wanted[name]) for name, weight in loaded.state_dict().items())


def test_vllm_would_mix_files_without_an_index(folder: Path) -> None:
    source = ModelSource("tiny", str(folder))
    refuse_further_weights(source)
    shutil.copy(folder / "model.safetensors", folder / "consolidated.safetensors")
    with pytest.raises(
        UserError, match=r"vLLM would load consolidated\.safetensors together with model\.safetensors; rem"
    ):
        refuse_further_weights(source)
    sharded(folder)
    refuse_further_weights(source)


HARMLESS = {
    "score.weight": torch.ones(1, 32),
    "model.rotary_emb.inv_freq": torch.ones(4),
    "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    "model.layers.0.self_attn.masked_bias": torch.ones(()),
    "model.layers.0.self_attn.attention.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8),
    "mtp.layers.0.mlp.up_proj.weight": torch.ones(2, 2),
    "model.mtp_layers.0.proj.weight": torch.ones(2, 2),
    "vision_tower.blocks.0.weight": torch.ones(2, 2),
    "model.visual.patch_embed.weight": torch.ones(2, 2),
    "audio_tower.conv.weight": torch.ones(2, 2),
    "multi_modal_projector.linear.weight": torch.ones(2, 2),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_weights_that_change_nothing_are_left_out(folder: Path, name: str) -> None:
    edit_weights(folder, lambda found: found.update({name: HARMLESS[name]}))
    source = source_of("./base", folder.parent)
    load_model(source, AutoModelForCausalLM, torch.float32)
    may_miss = ("score.weight",)
    load_model(source, AutoModelForSequenceClassification, torch.float32, may_miss=may_miss, num_labels=1)


DEEPSEEK: dict[str, Any] = {
    "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "qk_nope_head_dim": 8,
    "first_k_dense_replace": 1,
}  # fmt: skip
MORE = {
    "mixtral": lambda: MixtralConfig(**SIZES, num_local_experts=4),
    "gpt2": lambda: GPT2Config(vocab_size=272, n_embd=32, n_layer=2, n_head=4),
    "deepseek_v3": lambda: DeepseekV3Config(**SIZES | {"num_key_value_heads": 4}, **DEEPSEEK),
    "gemma3_text": lambda: Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=8),
}


@pytest.mark.parametrize("family", [*FAMILIES, *MORE])
def test_families_pass_as_they_are_saved(tmp_path: Path, family: str) -> None:
    made: Callable[[], PreTrainedConfig] = (FAMILIES | MORE)[family]
    write_base(tmp_path / "base", made())
    source_of("./base", tmp_path)


def test_a_model_of_text_and_images_passes(tmp_path: Path) -> None:
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "image_size": 28, "patch_size": 14}  # fmt: skip
    text = SIZES | {"head_dim": 8, "sliding_window": 8}
    write_base(tmp_path / "base", Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4))
    load_model(source_of("./base", tmp_path), AutoModelForCausalLM, torch.float32)


def test_only_the_stated_further_layers_are_left_out(tmp_path: Path) -> None:
    """DeepSeek-V3 keeps the layer that predicts a second token behind the last one."""
    folder = write_base(tmp_path / "base", MORE["deepseek_v3"]())
    edit_json(folder / "config.json", num_nextn_predict_layers=1)
    edit_weights(folder, lambda found: found.update({"model.layers.2.eh_proj.weight": torch.ones(2, 2)}))
    load_model(source_of("./base", tmp_path), AutoModelForCausalLM, torch.float32)
    edit_weights(folder, lambda found: found.update({"model.layers.3.eh_proj.weight": torch.ones(2, 2)}))
    with pytest.raises(UserError, match=r"holds 1 weights .* such as model\.layers\.3"):
        source_of("./base", tmp_path)


def test_a_head_in_the_files_is_used_whatever_the_configuration_says(folder: Path) -> None:
    """Tied by config.json, with a head of its own in the files: the head is meant."""
    wanted = load_file(folder / "model.safetensors")["lm_head.weight"]
    edit_json(folder / "config.json", tie_word_embeddings=True)
    model = load_model(source_of("./base", folder.parent), AutoModelForCausalLM, torch.float32)
    weights = model.state_dict()
    assert torch.equal(weights["lm_head.weight"], wanted)
    assert not torch.equal(wanted, weights["model.embed_tokens.weight"])


def test_a_head_is_wanted_for_scores_only(folder: Path) -> None:
    edit_weights(folder, lambda found: found.pop("lm_head.weight"))
    source = source_of("./base", folder.parent)
    with pytest.raises(UserError, match=r"lacks 1 of the model's weights, such as lm_head\.weight"):
        load_model(source, AutoModelForCausalLM, torch.float32)
    may_miss = ("score.weight",)
    load_model(source, AutoModelForSequenceClassification, torch.float32, may_miss=may_miss, num_labels=1)


def test_other_places_are_named_for_what_they_are(base: Path, tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--org--m"
    shutil.copytree(base, cache / "snapshots" / ("a" * 40))
    shutil.copytree(base, tmp_path / "run" / "checkpoint-500")
    shutil.copytree(base, tmp_path / "my model (v2)")
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    (tmp_path / "x.safetensors").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    places = {
        "./hub/models--org--m": r"is a folder of the hub's cache, not a model; give `hub_id: org/m`",
        "./hub": r"is the hub's cache of several models \(models--org--m\); give one of them by its hub id",
        "./run": r"holds no config\.json, but folders of models: checkpoint-500; name one of them",
        "./x.gguf": r"is a GGUF file, which cannot be trained; take",
        "./x.safetensors": r"is a file; name the folder of the model",
        "./empty": r"holds no config\.json, so it is no model in Transformers format",
    }
    for hub_id, said in places.items():
        with pytest.raises(UserError, match=said):
            source_of(hub_id, tmp_path)
    for hub_id in (f"./hub/models--org--m/snapshots/{'a' * 40}", "./run/checkpoint-500", "./my model (v2)"):
        source_of(hub_id, tmp_path)


TEKKEN_BYTES = [
    {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": None} for byte in range(256)
]
SPECIAL = ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]",
           "[/TOOL_RESULTS]", "[TOOL_CALLS]")  # fmt: skip
TEKKEN = {
    "config": {
        "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "num_vocab_tokens": 256,
        "default_vocab_size": 266,
        "default_num_special_tokens": len(SPECIAL),
        "version": "v3",
    },
    "vocab": TEKKEN_BYTES,
    "special_tokens": [{"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(SPECIAL)],
}
NO_TOKENIZER = both(lambda folder: (folder / "tokenizer.json").unlink(), moved("tokenizer_config.json", "x.md"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (both(NO_TOKENIZER, written("tekken.json", json.dumps(TEKKEN))), r"only Mistral's tekken\.json, .*BOS, EOS"),
        (NO_TOKENIZER, r"holds no tokenizer; add a tokenizer\.json"),
        (lambda folder: (folder / "tokenizer.json").unlink(), r"holds no tokenizer; add a tokenizer\.json"),
    ],
    ids=["tekken", "none", "settings alone"],
)
def test_a_tokenizer_needs_its_files(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(folder)
    with pytest.raises(UserError, match=said):
        source_of("./base", folder.parent)


def test_a_tekken_beside_a_whole_tokenizer_is_left_alone(tmp_path: Path) -> None:
    """Whether mistral-common is installed, or not."""
    folder = write_base(tmp_path / "base", MistralConfig(**SIZES))
    written("tekken.json", json.dumps(TEKKEN))(folder)
    for settings in ({"tokenizer_class": "LlamaTokenizer"}, {"tokenizer_class": "PreTrainedTokenizerFast"}):
        edit_json(folder / "tokenizer_config.json", **settings)
        tokenizer = load_tokenizer(source_of("./base", tmp_path))
        assert isinstance(tokenizer, PreTrainedTokenizerFast) and tokenizer.bos_token_id == 1
        assert tokenizer("a b")["input_ids"] == byte_tokenizer()("a b")["input_ids"]


def test_a_tokenizer_without_vocabulary_is_refused(folder: Path) -> None:
    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({}, [])), bos_token="<s>", eos_token="</s>")
    empty.save_pretrained(folder)
    with pytest.raises(UserError, match="its tokenizer makes no tokens: the files hold no vocabulary"):
        load_tokenizer(source_of("./base", folder.parent))


def test_a_tokenizer_that_lost_its_special_tokens_is_refused(folder: Path) -> None:
    byte_tokenizer(bos_token=None, eos_token=None, unk_token=None).save_pretrained(folder)
    with pytest.raises(UserError, match=r"names neither BOS nor EOS, which config\.json has; add the tokenizer_config"):
        load_tokenizer(source_of("./base", folder.parent))
    byte_tokenizer(bos_token=None).save_pretrained(folder)  # as Qwen's
    assert load_tokenizer(source_of("./base", folder.parent)).bos_token is None


def test_a_sentencepiece_tokenizer_needs_its_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both(NO_TOKENIZER, written("tokenizer.model", "x"))(folder)
    monkeypatch.setattr("models_train.modeling.model_files.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install the package sentencepiece, or add a tokenizer\.json"):
        source_of("./base", folder.parent)
