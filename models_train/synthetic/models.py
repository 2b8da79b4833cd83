"""Base models of the lab: a byte-level tokenizer, and small models pre-trained on known mixes of five languages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from models_train.modeling.packed_attention import packed_inputs, use_packed_attention
from models_train.modeling.packing import Pack, pack
from models_train.study.lab import LabModel
from models_train.study.scoring import DOMAINS, Domain
from models_train.synthetic.texts import documents

CONTEXT = 512
HEAD = 32
"""Dimension of an attention head: one that vLLM can run on a CPU, too."""
TOKENS_PER_STEP = 2048
PEAK_RATE = 3e-3
WARM_UP = 20
_BOS, _EOS, _PAD = "<s>", "</s>", "<pad>"
_TOKENIZER_DOCUMENTS = 200
_NO_TARGET = -100
"""Target of a token that nothing follows."""
_CONFIGS: dict[str, type[PreTrainedConfig]] = {"llama": LlamaConfig, "qwen2": Qwen2Config, "gemma2": Gemma2Config}


def train_tokenizer(vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of `vocabulary` tokens, trained on equal shares of the five languages.

    It cuts words as Qwen2's does: Transformers loads that class, with its own rules, for every model of that
    architecture, whatever was saved with it. So all architectures of the lab read a text as the same tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    words = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_BOS, _EOS, _PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (text for domain in DOMAINS for text in islice(documents(domain, seed), _TOKENIZER_DOCUMENTS))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{_BOS} $A", special_tokens=[(_BOS, 0)])
    # No byte is unknown; without a name Qwen2's class would add a token of its own, beyond the model's embeddings.
    named = {"bos_token": _BOS, "eos_token": _EOS, "pad_token": _PAD, "unk_token": _PAD}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=CONTEXT, **named)


def new_model(spec: LabModel, vocabulary: int, seed: int) -> PreTrainedModel:
    """A model of the lab at random weights, ready for packed sequences."""
    heads = max(1, spec.hidden // HEAD)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": spec.hidden,
        "intermediate_size": 3 * spec.hidden,
        "num_hidden_layers": spec.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": HEAD,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "initializer_range": 0.04,
    }
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(_CONFIGS[spec.architecture](**settings))
    use_packed_attention(model)
    return model


def mixed_sequences(spec: LabModel, tokenizer: PreTrainedTokenizerBase, seed: int) -> Iterator[list[int]]:
    """Token ids of documents without end; every domain has its share of the *tokens* drawn so far.

    The next document is of the domain that lags most behind its share, so that the true mix holds to a document.
    """
    sources = {domain: documents(domain, seed) for domain in DOMAINS if spec.share(domain) > 0}
    drawn: dict[Domain, int] = dict.fromkeys(sources, 0)
    while True:
        total = sum(drawn.values())
        domain = max(drawn, key=lambda name: spec.share(name) * (total + 1) - drawn[name])
        ids = [*tokenizer(next(sources[domain]))["input_ids"][: CONTEXT - 1], tokenizer.eos_token_id]
        drawn[domain] += len(ids)
        yield ids


def pretrain(model: PreTrainedModel, sequences: Iterator[list[int]], n_tokens: int) -> float:
    """Train on about `n_tokens` tokens by AdamW with warm-up and linear decay; returns the last step's loss in nats."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    n_steps = max(1, n_tokens // TOKENS_PER_STEP)
    model.train()
    loss = torch.tensor(float("nan"))
    for step in range(n_steps):
        rate = min((step + 1) / WARM_UP, (n_steps - step) / n_steps)
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * rate
        loss = next_token_loss(model, pack(_up_to(sequences, TOKENS_PER_STEP)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    model.eval()
    return loss.item()


def next_token_loss(model: PreTrainedModel, packed: Pack) -> torch.Tensor:
    """Mean cross-entropy of the next tokens of a pack, in nats; no token is predicted across a border."""
    logits = model(**packed_inputs(packed)).logits[0].float()
    targets = packed.token_ids.roll(-1)
    targets[packed.last_positions] = _NO_TARGET
    return torch.nn.functional.cross_entropy(logits, targets, ignore_index=_NO_TARGET)


def _up_to(sequences: Iterator[list[int]], n_tokens: int) -> list[list[int]]:
    found: list[list[int]] = []
    while sum(map(len, found)) < n_tokens:
        found.append(next(sequences))
    return found
