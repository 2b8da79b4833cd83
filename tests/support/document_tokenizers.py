"""Tokenizers of the kinds that base models have, trained on a few documents."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.support import made_data

SPECIAL = ["<unk>", "<s>", "</s>"]
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Llama 3 and Qwen 2 cut text before they merge."""


@cache
def documents() -> tuple[str, ...]:
    """Texts of five domains."""
    return tuple(row["text"] for row in made_data.documents())


@cache
def _corpus() -> tuple[str, ...]:
    return tuple(text[:2000] for text in documents()[::7])


def byte_level(trim_offsets: bool = False) -> Tokenizer:
    """GPT-2's kind. trim_offsets: offsets of a word leave the blank before it out, as some do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    tokenizer.decoder = decoders.ByteLevel()
    return _byte_trained(tokenizer)


def llama3() -> Tokenizer:
    """Llama 3's kind; Qwen 2's with composed characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return _byte_trained(tokenizer)


def gemma() -> Tokenizer:
    """Gemma's kind: blanks become `▁`, unknown characters bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    letters = [*map(chr, range(33, 127)), "▁", "\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def unigram() -> Tokenizer:
    """T5's kind: the likeliest pieces, a blank before the text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False, n_sub_iterations=1
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


def across_blanks() -> Tokenizer:
    """One that has a token for several words: nothing is known of a beginning alone."""
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("of the", normalized=False)])
    return tokenizer


def _byte_trained(tokenizer: Tokenizer) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "byte_level": byte_level,
    "byte_level_trimmed": lambda: byte_level(trim_offsets=True),
    "llama3": llama3,
    "gemma": gemma,
    "unigram": unigram,
    "across_blanks": across_blanks,
}


@cache
def made(kind: str) -> Tokenizer:
    """The tokenizer of a kind; do not change it."""
    return KINDS[kind]()


def wrapped(tokenizer: Tokenizer, bos: str | None = "<s>") -> PreTrainedTokenizerFast:
    """As Transformers loads it."""
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", bos_token=bos)
