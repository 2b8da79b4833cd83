"""Documents to tokens: BOS once, the beginning that the whole text has, bytes that add up."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from models_train.errors import UserError
from models_train.logprobs import tokenization
from models_train.logprobs.tokenization import NOT_UNICODE, DocumentTokenizer, covered_bytes, most_tokens
from tests.support import storyteller
from tests.support.document_tokenizers import KINDS, documents, made, wrapped

EVERY_KIND = ["llama2", *KINDS]
MANY = 10**9


@cache
def tokenizer(kind: str, bos: str | None = "<s>") -> DocumentTokenizer:
    if kind == "llama2":
        return DocumentTokenizer(kind, storyteller.tokenizer())
    return DocumentTokenizer(kind, wrapped(made(kind), bos))


@cache
def plain_tokenizer(kind: str) -> Tokenizer:
    backend = storyteller.tokenizer().backend_tokenizer if kind == "llama2" else made(kind)
    plain = Tokenizer.from_str(backend.to_str())
    plain.encode_special_tokens = True  # the texts hold `<unk>`
    return plain


def plain_ids(kind: str, text: str) -> list[int]:
    """Token ids of a whole text by the tokenizer itself."""
    return plain_tokenizer(kind).encode(text, add_special_tokens=False).ids


def test_bos_comes_once_and_the_rest_as_the_tokenizer_says() -> None:
    text = "Once upon a time there was a little girl."
    (found,) = tokenizer("llama2").tokenized([text], MANY)
    assert found.token_ids.tolist() == storyteller.tokenizer()(text)["input_ids"]
    assert found.token_ids[0] == 1
    assert (found.scored_text, found.is_truncated, found.status) == (text.encode(), False, "ok"), (
        "the first token is a blank"
    )
    assert tokenizer("llama2").bos_policy == "bos"


def test_special_tokens_in_a_text_are_text() -> None:
    (found,) = tokenizer("llama2").tokenized(["<s>Once</s> upon"], MANY)
    assert found.token_ids.tolist().count(1) == 1
    assert 2 not in found.token_ids
    assert found.scored_text == b"<s>Once</s> upon"


def test_the_same_tokens_are_scored_with_and_without_bos() -> None:
    """All but the first of the document; a document of one token has none."""
    text = "the way of the world"
    (found,) = tokenizer("byte_level", None).tokenized([text], MANY)
    (with_bos,) = tokenizer("byte_level").tokenized([text], MANY)
    assert tokenizer("byte_level", None).bos_policy == "none"
    assert found.token_ids.tolist() == with_bos.token_ids[1:].tolist()
    assert found.token_ids[found.n_context :].tolist() == with_bos.token_ids[with_bos.n_context :].tolist()
    assert found.scored_text == with_bos.scored_text
    assert [tokenizer("byte_level", bos).tokenized(["t"], MANY)[0].status for bos in ("<s>", None)] == 2 * [
        "too short: one token, and scores begin with the second"
    ]
    first = made("byte_level").decode(found.token_ids[:1].tolist())
    assert first.encode() + found.scored_text == text.encode()


@pytest.mark.parametrize("bos", ["<s>", None])
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_bytes_add_up_to_those_of_the_document(kind: str, bos: str | None) -> None:
    """Token after token, to all: what one more covers is never negative, and with the first it is the document."""
    if kind == "llama2" and bos is None:
        kind = "llama3"
    texts = ["a 😀b  é\u0301 \n\n  x\t 中文字。 end ", documents()[0][:300], "  two", "\ufeff\x00 \u3000 z"]
    for text in texts:
        one = tokenizer(kind, bos)
        (whole,) = one.tokenized([text], MANY)
        n = len(whole.token_ids) - (bos is not None)
        lengths = [len(one.tokenized([text], count)[0].scored_text) for count in range(2, n + 1)]
        (of_first,) = one.tokenized([text], 2)
        first = len(text.encode()) - len(whole.scored_text)
        assert first >= 0 and len(of_first.scored_text) == lengths[0]
        assert all(later >= earlier for earlier, later in pairwise(lengths))
        assert first + lengths[-1] == len(text.encode())
        assert all(one.tokenized([text], count)[0].is_truncated == (count < n) for count in (2, n - 1, n, n + 1))


@pytest.mark.parametrize("kind", ["llama2", "byte_level", "byte_level_trimmed", "llama3", "gemma"])
def test_a_cut_inside_a_character_counts_single_bytes(kind: str) -> None:
    text = "x 😀😀😀😀😀"
    found = [tokenizer(kind).tokenized([text], n)[0].scored_text for n in range(2, 26)]
    first = len(text.encode()) - len(found[-1])
    assert set(range(3, 23)) <= {first + len(scored) for scored in found}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_beginning_of_a_long_document_is_that_of_the_whole(kind: str) -> None:
    """Far longer than what is looked at: the tokens are those of the whole text."""
    text = "\n\n".join(documents()[::10])
    ids = plain_ids(kind, text)
    for n in (7, 40, 300):
        (found,) = tokenizer(kind).tokenized([text], n)
        assert found.token_ids.tolist() == [1, *ids[:n]]
        assert found.is_truncated


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_cut_close_to_the_last_token_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut as close as can be, at every number of tokens: a cut anywhere else than before a blank shows here."""
    monkeypatch.setattr(tokenization, "CHARACTERS_PER_TOKEN", 1)
    made_up = ["out of the way " * 9, "a   b\n\n c. of the\u3000 中文 e\u0301 😀  x " * 4, "ab 's 1234 12345 " * 9]
    for text in [*(text[:300] for text in documents()[3::50]), *made_up]:
        ids = plain_ids(kind, text)
        for n in range(2, 31):
            (found,) = tokenizer(kind).tokenized([text], n)
            assert found.token_ids.tolist() == [1, *ids[:n]]
            assert found.is_truncated == (len(ids) > n)


def test_a_document_is_cut_only_where_no_token_reaches_across() -> None:
    text = "word " * 1000
    assert len(tokenizer("llama3")._beginning(text, 100)) == 104
    assert tokenizer("across_blanks")._beginning(text, 100) == text
    assert tokenizer("llama3")._beginning("中" * 1000, 100) == "中" * 1000


def test_documents_that_have_no_tokens_have_a_status_and_do_not_stop_others() -> None:
    texts = ["", "fine", "half \ud83d pair", "nul \x00 byte", "x"]
    found = tokenizer("byte_level").tokenized(texts, 10)
    statuses = [one.status.split(":")[0] for one in found]
    assert statuses == ["empty", "ok", NOT_UNICODE.split(":")[0], "ok", "too short"]
    assert [len(one.token_ids) for one in found][:1] == [0]
    assert found[3].scored_text == b"ul \x00 byte"


def test_order_is_kept_over_many_documents() -> None:
    texts = [f"number {n}" for n in range(300)]
    found = tokenizer("byte_level").tokenized(texts, 50)
    assert [one.scored_text.decode() for one in found] == [text[1:] for text in texts]


def test_truncation_and_padding_of_the_file_are_not_obeyed() -> None:
    spoilt = made("byte_level").from_str(made("byte_level").to_str())
    spoilt.enable_truncation(3)
    spoilt.enable_padding(length=50)
    (found,) = DocumentTokenizer("spoilt", wrapped(spoilt)).tokenized(["the way of the world"], MANY)
    (wanted,) = tokenizer("byte_level").tokenized(["the way of the world"], MANY)
    assert np.array_equal(found.token_ids, wanted.token_ids)


def test_what_a_tokenizer_is_has_a_hash(tmp_path: Path) -> None:
    same = DocumentTokenizer("again", wrapped(made("byte_level")))
    assert same.content == tokenizer("byte_level").content
    assert len({tokenizer(kind).content for kind in EVERY_KIND}) == len(EVERY_KIND)
    assert tokenizer("byte_level", None).content != tokenizer("byte_level").content


def test_a_tokenizer_without_offsets_is_refused() -> None:
    class Slow(PreTrainedTokenizerFast):
        backend_tokenizer = None  # type: ignore[assignment]

    with pytest.raises(UserError, match=r"odd: its tokenizer \(Slow\) does not say which text a token covers"):
        DocumentTokenizer("odd", Slow(tokenizer_object=made("byte_level")))


@pytest.mark.parametrize(
    ("limit", "context", "has_bos", "n"),
    [
        (2048, 8192, True, 2048),
        (2048, None, True, 2048),
        (2048, 512, True, 511),
        (2048, 512, False, 512),
        (8, 9, True, 8),
    ],
)
def test_bos_takes_a_place_of_the_context_but_none_of_the_limit(
    limit: int, context: int | None, has_bos: bool, n: int
) -> None:
    assert most_tokens(limit, context, has_bos) == n


FACE = "a😀b"
FACE_PIECES = [b"a", b"\xf0", b"\x9f", b"\x98", b"\x80", b"b"]
FACE_ENDS = [1, 2, 2, 2, 2, 3]


@pytest.mark.parametrize(("n", "n_bytes"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)])
def test_a_token_inside_a_character_covers_its_own_bytes(n: int, n_bytes: int) -> None:
    assert covered_bytes(FACE.encode(), FACE, FACE_PIECES[:n], FACE_ENDS[:n]) == n_bytes


@pytest.mark.parametrize(
    ("text", "pieces", "ends", "n_bytes"),
    [
        ("hi you", [b" hi"], [2], 2),  # the blank before the text is the tokenizer's
        ("hi you", [b" hi", b" you"], [2, 6], 6),
        (" hi", [b" ", b" hi"], [1, 3], 3),
        (" hi", [b" hi"], [3], 3),  # and this one is the text's
        ("e\u0301x", [b"\xc3\xa9"], [2], 3),  # normalized: two characters became one
        ("e\u0301x", [b"\xc3", b"\xa9", b"x"], [2, 2, 3], 4),
        ("AB", [b"a"], [1], 1),  # lower-cased
    ],
)
def test_bytes_are_those_of_the_text_as_given(text: str, pieces: list[bytes], ends: list[int], n_bytes: int) -> None:
    assert covered_bytes(text.encode(), text, pieces, ends) == n_bytes
