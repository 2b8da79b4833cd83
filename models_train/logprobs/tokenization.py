"""Documents to token ids, cut to a number of tokens, and the bytes of text that the tokens cover."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from models_train.data.rows import is_unicode
from models_train.errors import UserError
from models_train.logprobs.engine import EMPTY, NOTHING_TO_SCORE, OK

BOS, NONE = "bos", "none"
"""BOS policies: one BOS before every document, where the tokenizer has one. With either, scores begin with the second
token of the document, so that models with and without BOS are scored on the same tokens."""
BATCH = 128
"""Documents tokenized at once, on all cores."""
CHARACTERS_PER_TOKEN = 8
"""Most characters per wanted token; a longer document is cut before it is tokenized."""
NOT_UNICODE = "not Unicode: the text holds half of a surrogate pair"


@dataclass(frozen=True)
class Tokenized:
    """A document as the model gets it.

    token_ids: (n,) int64, BOS included. n_context: leading tokens that are not scored: BOS, and the first token of the
    document. scored_text: bytes covered by the tokens after them. is_truncated: the document has more tokens. status:
    `ok`, or why there is nothing to score.
    """

    token_ids: npt.NDArray[np.int64]
    scored_text: bytes
    is_truncated: bool
    n_context: int = 1
    status: str = OK


def most_tokens(max_document_tokens: int, context: int | None, has_bos: bool) -> int:
    """Document tokens that are kept at most. BOS is none of them, but takes its place in the model's context."""
    return max_document_tokens if context is None else min(max_document_tokens, context - has_bos)


class DocumentTokenizer:
    """A base model's tokenizer, for documents.

    A document is plain text: the name of a special token in it is tokenized as its characters,
    so BOS comes once. Raises UserError for a tokenizer that knows no offsets.
    """

    def __init__(self, name: str, tokenizer: PreTrainedTokenizerBase) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise UserError(
                f"{name}: its tokenizer ({type(tokenizer).__name__}) does not say which text a token covers; add a "
                "tokenizer.json to the model's repository or folder"
            )
        self._backend = Tokenizer.from_str(backend.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        self.bos_token_id: int | None = tokenizer.bos_token_id
        self.largest_token_id = max(self._backend.get_vocab(with_added_tokens=True).values())

    @property
    def bos_policy(self) -> str:
        """`bos` or `none`."""
        return NONE if self.bos_token_id is None else BOS

    @cached_property
    def content(self) -> str:
        """SHA-256, hexadecimal, of all that the tokenizer does."""
        return hashlib.sha256(f"{self._backend.to_str()}\0{self.bos_token_id}".encode()).hexdigest()

    def tokenized(self, texts: Sequence[str], n_tokens: int) -> list[Tokenized]:
        """The texts in their order, each cut to its first `n_tokens` tokens, BOS not counted."""
        left = iter(texts)
        found: list[Tokenized] = []
        while batch := list(islice(left, BATCH)):
            sound = [text if is_unicode(text) else None for text in batch]
            encodings = iter(self._encoded([text for text in sound if text is not None], n_tokens))
            found += [
                _none(NOT_UNICODE) if text is None else self._document(text, next(encodings), n_tokens)
                for text in sound
            ]
        return found

    def _encoded(self, texts: list[str], n_tokens: int) -> list[Encoding]:
        """Encodings of which the first `n_tokens` tokens, and whether there are more, are those of the whole texts."""
        begins = [self._beginning(text, CHARACTERS_PER_TOKEN * n_tokens) for text in texts]
        encodings = self._backend.encode_batch(begins, add_special_tokens=False)
        for place, (text, begin) in enumerate(zip(texts, begins, strict=True)):
            while len(begin) < len(text) and len(encodings[place]) <= n_tokens:
                begin = self._beginning(text, 2 * len(begin))
                encodings[place] = self._backend.encode(begin, add_special_tokens=False)
        return encodings

    def _beginning(self, text: str, n_characters: int) -> str:
        """At least `n_characters` of the text, with the tokens that the whole text begins with; else the whole text.

        The cut is between a character and a blank. Where no token of the vocabulary holds such a place, none lies
        across the cut; then the tokens before it are the same, whatever follows: merges, and the best path through a
        vocabulary of likely pieces, never reach over a place that no token spans.
        """
        if len(text) <= n_characters:
            return text
        cut = _BEFORE_BLANK.search(text, n_characters)
        return text[: cut.end()] if cut and self._splits_at_blanks else text

    @cached_property
    def _splits_at_blanks(self) -> bool:
        added = self._backend.get_added_tokens_decoder().values()
        if any((token.lstrip or token.rstrip) and not token.special for token in added):
            return False
        pieces = self._backend.get_vocab(with_added_tokens=True)
        return not any(_ACROSS_BLANK.search(self._spelled(piece).decode(errors="replace")) for piece in pieces)

    def _document(self, text: str, encoding: Encoding, n_tokens: int) -> Tokenized:
        ids = encoding.ids[:n_tokens]
        if len(ids) < 2:
            return _none(NOTHING_TO_SCORE if ids else EMPTY)
        is_truncated = len(encoding) > n_tokens
        encoded = text.encode()
        start = self._covered(encoded, text, encoding, 1)
        end = self._covered(encoded, text, encoding, len(ids)) if is_truncated else len(encoded)
        if self.bos_token_id is not None and ids[0] != self.bos_token_id:
            ids = [self.bos_token_id, *ids]
            return Tokenized(np.array(ids, np.int64), encoded[start:end], is_truncated, n_context=2)
        return Tokenized(np.array(ids, np.int64), encoded[start:end], is_truncated)

    def _covered(self, encoded: bytes, text: str, encoding: Encoding, n_tokens: int) -> int:
        """Bytes of the text that the first `n_tokens` tokens cover."""
        pieces = [self._spelled(piece) for piece in encoding.tokens[:n_tokens]]
        return covered_bytes(encoded, text, pieces, [end for _, end in encoding.offsets[:n_tokens]])

    @cached_property
    def _is_byte_level(self) -> bool:
        return "ByteLevel(" in repr(self._backend.decoder)

    def _spelled(self, piece: str) -> bytes:
        """Bytes of a token, by the convention of its vocabulary: byte alphabet, or `▁` for a blank."""
        if self._is_byte_level:
            if all(character in _BYTES for character in piece):
                return bytes(_BYTES[character] for character in piece)
            return piece.encode()
        one_byte = _ONE_BYTE.fullmatch(piece)
        return bytes.fromhex(one_byte[1]) if one_byte else piece.replace("▁", " ").encode()


def covered_bytes(encoded: bytes, text: str, pieces: Sequence[bytes], ends: Sequence[int]) -> int:
    """Bytes of a text that its first tokens cover; more tokens never cover fewer.

    encoded: the text in UTF-8. pieces: the bytes of each of those tokens. ends: the character after its last, by the
    tokenizer's offsets. Where the pieces spell how the text begins, with or without the blank that some tokenizers put
    before a text, the bytes are theirs, so that a token that ends inside a character counts its own bytes only. A
    tokenizer that changes the text does not spell it: then the characters up to the furthest end count.
    """
    spelled = b"".join(pieces)
    for begin in (spelled, spelled.removeprefix(b" ")):
        if encoded.startswith(begin):
            return len(begin)
    return len(text[: max(ends, default=0)].encode())


_BEFORE_BLANK = re.compile(r"\S(?= )")
_ACROSS_BLANK = re.compile(r"\S ")
_ONE_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def _byte_alphabet() -> Iterator[tuple[str, int]]:
    """Characters that stand for bytes in byte-level vocabularies (GPT-2): printable themselves, others from 256 on."""
    others = iter(range(256, 512))
    for byte in range(256):
        is_printable = 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255
        yield chr(byte if is_printable else next(others)), byte


_BYTES = dict(_byte_alphabet())


def _none(status: str) -> Tokenized:
    return Tokenized(np.empty(0, np.int64), b"", False, status=status)
