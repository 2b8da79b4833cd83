"""Rows of every kind of data file, and the messages of their problems."""

from __future__ import annotations

import gzip
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_train.data.conversations import marked_prompt, plain_or_turns
from models_train.data.helpsteer import load_preferences, load_ratings
from models_train.data.records import Turn
from models_train.data.rows import Column, Form, checked_rows, filled_text, text, whole_number
from models_train.data.sources import open_data
from models_train.errors import UserError
from models_train.study.fingerprints import content_of
from models_train.study.training import DataSource
from tests.support.data_files import content, json_lines, preference, rating, write, zstd

FORMS = (Form({"a": Column(text), "n": Column(whole_number(0, 4)), "extra": Column(text, is_optional=True)}),)
ROWS = [{"a": f"text {n}\u2028 \x00 é", "n": n % 5} for n in range(8)]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst", "rows.parquet"])
def test_every_form_of_a_file_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    rows = list(checked_rows(write(tmp_path / name, ROWS), name, FORMS))
    assert [row.values for row in rows] == [row | {"extra": None} for row in ROWS]
    assert [row.number for row in rows] == list(range(1, 9))


def test_files_put_together_of_several_compressed_streams_are_read_to_the_end(tmp_path: Path) -> None:
    for name, compress in (("rows.jsonl.zst", zstd), ("rows.jsonl.gz", gzip.compress)):
        path = tmp_path / name
        path.write_bytes(compress(json_lines(ROWS[:3])) + compress(json_lines(ROWS[3:])))
        assert len(list(checked_rows(path, name, FORMS))) == 8


def test_a_folder_is_read_file_by_file_and_what_is_hidden_or_no_data_is_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", ROWS[4:])
    write(tmp_path / "a" / "a.parquet", ROWS[:4])
    write(tmp_path / ".cache" / "c.jsonl", ROWS)
    (tmp_path / "README.md").write_text("about")
    rows = list(open_data(DataSource(path=str(tmp_path)), tmp_path).rows(FORMS))
    assert [row.values["a"] for row in rows] == [row["a"] for row in ROWS]
    assert {row.file for row in rows} == {f"{tmp_path}/a/a.parquet", f"{tmp_path}/b.jsonl"}


def problems_of(path: Path, name: str = "data") -> list[str]:
    with pytest.raises(UserError) as error:
        list(checked_rows(path, name, FORMS))
    return str(error.value).splitlines()


def test_all_problems_of_a_file_are_reported_with_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [
        b'{"a": "fine", "n": 3}',
        b'{"a": null, "n": 5}',
        b"",
        b'{"A": "x", "n": NaN}',
        b"not json",
        b"[1, 2]",
        b'{"a": "\xff", "n": 1}',
        b'{"a": "\\ud800", "n": true}',
    ]
    path.write_bytes(b"\n".join(lines))
    assert problems_of(path) == [
        "data, row 2, column a: is null; give it a text, or remove the row",
        "data, row 2, column n: 5 is not a whole number from 0 to 4; correct it, or remove the row",
        "data, row 4, column a: missing; the row has A, n",
        "data, row 4, column n: nan is not a whole number from 0 to 4; correct it, or remove the row",
        "data, row 5: is not JSON (Expecting value: line 1 column 1 (char 0)); one row is one line of JSON: correct or "
        "remove it",
        "data, row 6: [1, 2] is not a row; a row is {column: value, ...}",
        "data, row 7: is not JSON ('utf-8' codec can't decode byte 0xff in position 7: invalid start byte); one row is "
        "one line of JSON: correct or remove it",
        "data, row 8, column a: holds half a character (a lone surrogate); correct the text, or remove the row",
        "data, row 8, column n: True is not a whole number from 0 to 4; correct it, or remove the row",
    ]


def test_the_first_twenty_problems_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    told = problems_of(write(tmp_path / "rows.jsonl", [{"a": "x", "n": 9}] * 30))
    assert len(told) == 21
    assert told[-1] == "data: and 10 more problems"


def test_a_missing_parquet_column_is_reported_once(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", [{"a": "x", "N": 1}] * 30)
    assert problems_of(path) == ["data, column n: missing; the file has a, N; wanted are a, n"]


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.jsonl.zst", "cut.parquet"])
@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"no such form"])
def test_a_damaged_file_is_reported(name: str, damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(damage(content(name, [{"a": f"{n * n * n}", "n": n % 5} for n in range(2000)])))
    assert problems_of(path)[0].startswith("data: the file is damaged or of another kind (")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 123456\n"


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (POINTER, "data: is a pointer of Git LFS, not the data; run `git lfs pull` in its clone"),
        (b"/annex/objects/SHA256E-s1--a.jsonl\n", "data: is a pointer of git-annex"),
        (b"<!doctype html>\n<html>", "data: is a web page, not the data; fetch the file itself"),
    ],
)
def test_a_file_that_stands_for_the_data_is_named(beginning: bytes, words: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(beginning)
    assert [problem[: len(words)] for problem in problems_of(tmp_path / name)] == [words]


def test_other_encodings_and_endings_are_named(tmp_path: Path) -> None:
    path, lines = tmp_path / "rows.jsonl", json_lines(ROWS).decode()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_bytes(lines.encode(encoding))
        assert problems_of(path)[0].startswith("data: is text in UTF-16, not in UTF-8; convert it: `iconv -f UTF-16")
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(lines.encode("utf-16")))
    assert problems_of(tmp_path / "rows.jsonl.gz")[0].startswith("data: is text in UTF-16")
    for ending in (".jsonl.gz", ".jsonl.zst", ".parquet"):
        path.write_bytes(content(f"rows{ending}", ROWS))
        told = problems_of(path)
        assert told == [f"data: is not what its name says; give it a name that ends with {ending}"]
    path.write_bytes(b"\xef\xbb\xbf" + json_lines(ROWS).replace(b"\n", b"\r\n"))
    assert len(list(checked_rows(path, "data", FORMS))) == 8


def test_a_long_window_of_zstd_is_no_damage(tmp_path: Path) -> None:
    """A frame by hand: window of 2 GiB, no content size, one raw last block."""
    lines = json_lines(ROWS)
    header = bytes.fromhex("28b52ffd") + bytes([0, (31 - 10) << 3])
    block = ((len(lines) << 3) | 1).to_bytes(3, "little")
    (tmp_path / "rows.jsonl.zst").write_bytes(header + block + lines)
    (told,) = problems_of(tmp_path / "rows.jsonl.zst")
    assert told.startswith("data: was packed with a longer window than 128 MiB (`zstd --long`); pack it again")


def test_linked_folders_are_read_and_circles_end(tmp_path: Path) -> None:
    other = tmp_path / "other" / "chunk2"
    write(tmp_path / "data" / "chunk1" / "a.jsonl", ROWS[:4])
    write(other / "b.jsonl", ROWS[4:])
    (tmp_path / "data" / "chunk2").symlink_to(other)
    (tmp_path / "data" / "again").symlink_to(tmp_path / "data" / "chunk1")
    (tmp_path / "data" / "chunk1" / "up").symlink_to(tmp_path)
    (other / "circle").symlink_to(tmp_path / "data")
    before = content_of(tmp_path / "data")
    opened = open_data(DataSource(path="data"), tmp_path)
    assert opened.names == ["chunk1/a.jsonl", "chunk2/b.jsonl"]
    assert len(list(opened.rows(FORMS))) == 8
    write(other / "b.jsonl", ROWS[5:])
    assert content_of(tmp_path / "data") != before
    shutil.rmtree(other)
    with pytest.raises(
        UserError, match=r"data/chunk2: this link leads nowhere \(to .*other/chunk2\); mount or restore"
    ):
        open_data(DataSource(path="data"), tmp_path)


def test_files_of_other_kinds_beside_the_data_are_named(tmp_path: Path) -> None:
    for name in ("a.jsonl", "README.md", "b.JSONL", "c.csv", "d.json.gz", "e.ndjson", "f.arrow"):
        write(tmp_path / "data" / name, ROWS)
    assert open_data(DataSource(path="data"), tmp_path).description == (
        "data, 1 file (not read, being of other kinds: b.JSONL, c.csv, d.json.gz, and 2 more)"
    )


@pytest.mark.parametrize("names", [("a.jsonl", "a.jsonl.gz"), ("d/a.parquet", "d/a.jsonl"), ("A.jsonl.zst", "a.jsonl")])
def test_a_file_beside_its_packed_form_is_refused(names: tuple[str, str], tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / "data" / name, ROWS)
    with pytest.raises(UserError, match=r"data: .* and .* differ only by their endings, .*; keep one of them"):
        open_data(DataSource(path="data"), tmp_path)
    write(tmp_path / "data" / "d" / "a.jsonl.gz", ROWS)
    (tmp_path / "data" / names[0]).unlink()
    if names[0].startswith("a"):
        assert len(open_data(DataSource(path="data"), tmp_path).names) == 2


def test_a_path_without_data_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: there is no .*; correct the path in the study file"):
        open_data(DataSource(path="nowhere"), tmp_path)
    (tmp_path / "table.csv").write_text("a,n")
    for path in (".", "table.csv"):
        with pytest.raises(UserError, match=r"no data file, which ends with .*; there is table.csv"):
            open_data(DataSource(path=path), tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"response_2": " \n"}, "column response_2: is empty"),
        ({"prompt": ""}, "column prompt: is empty"),
        ({"preference_strength": 4}, "4 is not a whole number from -3 to 3"),
        ({"preference_strength": 0.5}, "0.5 is not a whole number from -3 to 3"),
        ({"preference_strength": math.nan}, "nan is not a whole number"),
        ({"preference_strength": "1"}, "'1' is not a whole number"),
        ({"response_1": 7}, "column response_1: 7 is not text"),
        ({"prompt": "a\n<extra_id_1>Assistant\nb"}, "must alternate, begin with the user and end with the user"),
        ({"prompt": "a\n<extra_id_1>User\nb"}, "must alternate"),
    ],
)
def test_a_preference_that_cannot_be_used_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    rows = [preference("a"), preference("b", split="val"), preference("c") | change]
    path = write(tmp_path / "pairs.jsonl", rows)
    with pytest.raises(UserError) as error:
        load_preferences(DataSource(path=str(path)), tmp_path)
    assert f"{path}, row 3, " in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("value", [5, -1, math.nan, math.inf, None, "3", 2.5])
def test_a_rating_out_of_range_is_refused(value: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "ratings.jsonl", [rating("a"), rating("b") | {"coherence": value}])
    with pytest.raises(UserError, match="row 2, column coherence"):
        load_ratings(DataSource(path=str(path)), tmp_path)


def test_whole_numbers_may_come_as_floats() -> None:
    assert whole_number(-3, 3)(-2.0) == -2
    assert isinstance(whole_number(-3, 3)(-2.0), int)


def test_text_keeps_its_blanks() -> None:
    assert filled_text(" a\n") == " a\n"


def test_marks_of_helpsteer2_part_the_turns_of_a_prompt() -> None:
    marked = "Hi\nthere\n<extra_id_1>Assistant\nHello.\n\n<extra_id_1>User\nAnd now?\n<extra_id_1>Assistance"
    assert marked_prompt(marked) == (
        Turn("user", "Hi\nthere"),
        Turn("assistant", "Hello.\n"),
        Turn("user", "And now?\n<extra_id_1>Assistance"),
    )
    assert marked_prompt("c#") == (Turn("user", "c#"),)
    assert marked_prompt("a\r\n<extra_id_1>Assistant\r\nb\r\nc\r\n<extra_id_1>User\r\nd\r\n") == (
        Turn("user", "a"),
        Turn("assistant", "b\r\nc"),
        Turn("user", "d\r\n"),
    )


def test_a_test_prompt_is_text_or_turns() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert plain_or_turns("Hi\n<extra_id_1>User\nx") == (Turn("user", "Hi\n<extra_id_1>User\nx"),)
    assert plain_or_turns(turns) == (Turn("system", "Be brief."), Turn("user", "Hi"))
