"""A base model of 260,000 parameters that knows stories alone: a Llama trained on the spot on the lab's Book texts."""

from __future__ import annotations

from functools import cache
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from models_train.synthetic.texts import documents as lab_documents
from tests.support.made_data import documents

CONTEXT = 512
VOCABULARY = 512
STEPS, TEXTS_PER_STEP, TOKENS_PER_TEXT, PEAK_RATE = 120, 4, 128, 4e-3


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Llama 2's kind: blanks become `▁`, unknown characters bytes, BOS before every text."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    letters = [*map(chr, range(33, 127)), "▁", "\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        max_token_length=12,
        show_progress=False,
    )
    backend.train_from_iterator((row["text"] for row in documents()), trainer)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=CONTEXT, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def untrained() -> LlamaForCausalLM:
    """The model at random weights; heads of dimension 8."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=172,
            num_hidden_layers=5,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=None,
        )
    )


def train(model: LlamaForCausalLM) -> None:
    """Some seconds of AdamW on stories that `documents()` does not hold."""
    stories = lab_documents("Book", seed=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=STEPS)
    tokens: list[int] = []
    for _ in range(STEPS):
        while len(tokens) < TEXTS_PER_STEP * TOKENS_PER_TEXT:
            tokens += [token for story in islice(stories, 16) for token in tokenizer()(story)["input_ids"]]
        batch = torch.tensor(tokens[: TEXTS_PER_STEP * TOKENS_PER_TEXT]).view(TEXTS_PER_STEP, -1)
        tokens = tokens[batch.numel() :]
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def write_storyteller(folder: Path, trained: bool = True) -> Path:
    """The model and its tokenizer as a folder that a study names."""
    model = untrained()
    if trained:
        train(model)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
