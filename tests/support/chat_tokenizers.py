"""Small tokenizers built on the spot, with chat templates that have the features of those of well-known families."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

TEXTS = ["user assistant system Hello, how are you today? The date is 26 Jul 2024.\n\nUser: hi Assistant: fine\n"] * 4


@dataclass(frozen=True)
class Family:
    """A template and the tokenizer around it. is_metaspace: SentencePiece's way with blanks, else byte-level."""

    template: str | None
    special: tuple[str, ...]
    bos: str | None = None
    eos: str | None = None
    adds_bos: bool = False
    is_metaspace: bool = False


LLAMA = Family(
    "{{- bos_token }}{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}{%- endif %}"
    "{%- if messages[0]['role'] == 'system' %}{%- set said = messages[0]['content'] | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set said = '' %}{%- endif %}"
    "{{- '<|start_header_id|>system<|end_header_id|>\n\nToday: ' + date_string + '\n\n' + said + '<|eot_id|>' }}"
    "{%- for m in messages %}{{- '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim"
    " + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}",
    ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    bos="<|begin_of_text|>",
    eos="<|eot_id|>",
    adds_bos=True,
)
QWEN = Family(
    "{%- if messages[0]['role'] != 'system' %}{{- '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{%- endif %}"
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}",
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    eos="<|im_end|>",
)
GEMMA = Family(
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{% set role = 'model' if m['role'] == 'assistant' else "
    "m['role'] %}{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}",
    ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    bos="<bos>",
    eos="<eos>",
    is_metaspace=True,
)
PHI = Family(
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|user|>\n' + m['content'] + '<|end|>\n' }}"
    "{% elif m['role'] == 'assistant' %}{{ '<|assistant|>\n' + m['content'] + '<|end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    ("<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"),
    bos="<s>",
    eos="<|endoftext|>",
    adds_bos=True,
    is_metaspace=True,
)
MISTRAL = Family(
    "{{ bos_token }}{% set today = strftime_now('%Y-%m-%d') %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' (' + today + ') [/INST]' }}{% elif m['role'] == 'assistant' %}"
    "{{ ' ' + m['content'] + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles') }}{% endif %}"
    "{% endfor %}",
    ("<s>", "</s>", "[INST]", "[/INST]"),
    bos="<s>",
    eos="</s>",
    adds_bos=True,
    is_metaspace=True,
)
NO_END = Family(
    "{% for m in messages %}{{ '' if loop.first else '\n' }}{{ m['role'] + ': ' + m['content'] }}{% endfor %}",
    ("<s>", "</s>"),
    bos="<s>",
    eos="</s>",
)
BARE = Family(None, ())
ONE_TOKEN = Family(None, ("<|endoftext|>",), bos="<|endoftext|>", eos="<|endoftext|>")
FAMILIES = {
    "llama": LLAMA,
    "qwen": QWEN,
    "gemma": GEMMA,
    "phi": PHI,
    "mistral": MISTRAL,
    "no_end": NO_END,
    "bare": BARE,
    "one_token": ONE_TOKEN,
}


def chat_tokenizer(family: Family) -> PreTrainedTokenizerBase:
    """A trained byte-level or metaspace tokenizer with the family's special tokens and template."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=family.is_metaspace, unk_token=None))
    special = [AddedToken(text, special=True, normalized=False) for text in family.special]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if family.is_metaspace:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        alphabet = sorted({"▁", *(chr(code) for code in range(32, 127)), *(f"<0x{byte:02X}>" for byte in range(256))})
        trainer_alphabet = [one for one in alphabet if len(one) == 1]
        trainer = trainers.BpeTrainer(
            vocab_size=700,
            initial_alphabet=trainer_alphabet,
            special_tokens=[*special, *(f"<0x{byte:02X}>" for byte in range(256))],
            show_progress=False,
        )
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=500, initial_alphabet=alphabet, special_tokens=special, show_progress=False
        )
    tokenizer.train_from_iterator(TEXTS, trainer)
    if family.bos and family.adds_bos:
        bos_id = tokenizer.token_to_id(family.bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, bos_id)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=family.bos, eos_token=family.eos, chat_template=family.template
    )
