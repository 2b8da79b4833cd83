"""Presence arithmetic against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models_train.logprobs.score_scaling import covered_bytes, lowest_mean, most_tokens, n_lowest, presence

TENS = b"a" * 10
"""Ten bytes; eleven after zlib."""


def test_scores_of_a_document() -> None:
    found = presence(np.array([-1.0, -2, -3, -4, -5]), np.array([0.5, -0.5, 1.0, -2.0, 0.0]), TENS)
    assert found.logprob_sum == -15.0
    assert found.presence_score == -3.0
    assert found.bits_per_byte == pytest.approx(15 / 6.931471805599453, rel=1e-15)
    assert found.min_k == -5.0
    assert found.min_k_plus_plus == -2.0
    assert found.logprob_per_zlib_byte == pytest.approx(-15 / 11, rel=1e-15)


def test_a_document_shorter_than_the_limit_is_divided_by_its_own_length() -> None:
    assert presence(np.array([-0.5, -1.5]), None, b"ab").presence_score == -1.0


def test_a_fair_coin_per_bit_is_one_bit_per_bit() -> None:
    """Three bytes, every one of the 256 values as likely: eight bits a byte."""
    found = presence(np.full(3, -np.log(256)), None, b"xyz")
    assert found.bits_per_byte == pytest.approx(8.0, rel=1e-15)


def test_what_an_engine_does_not_give_and_text_without_bytes_have_no_number() -> None:
    found = presence(np.array([-1.0]), None, b"")
    assert (found.min_k_plus_plus, found.bits_per_byte, found.logprob_per_zlib_byte) == (None, None, None)


@pytest.mark.parametrize("values", [np.empty(0), np.array([-1.0, np.nan]), np.array([-np.inf])])
def test_no_tokens_and_no_numbers_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least one token, and finite values"):
        presence(values, None, b"x")
    with pytest.raises(ValueError, match="at least one token, and finite values"):
        presence(np.array([-1.0]), values, b"x")


@pytest.mark.parametrize(
    ("n_tokens", "n"), [(1, 1), (4, 1), (5, 1), (9, 1), (10, 2), (14, 2), (15, 3), (511, 102), (2048, 409)]
)
def test_a_fifth_of_the_tokens_rounded_down_at_least_one(n_tokens: int, n: int) -> None:
    assert n_lowest(n_tokens) == n


def test_the_lowest_fifth_is_averaged_whatever_the_order() -> None:
    values = np.array([-3.0, -1, -9, -1, -1, -1, -1, -1, -1, -5], np.float32)
    assert lowest_mean(values) == -7.0
    assert lowest_mean(values[::-1]) == -7.0


def test_sums_of_many_small_values_keep_their_digits() -> None:
    assert presence(np.full(2048, -0.1, np.float32), None, b"x").logprob_sum == 2048 * float(np.float32(-0.1))


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
def test_bytes_are_those_of_the_text_as_it_stands(
    text: str, pieces: list[bytes], ends: list[int], n_bytes: int
) -> None:
    assert covered_bytes(text.encode(), text, pieces, ends) == n_bytes
