"""Checksums of what is published, and what a reader is told about a damaged file."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.publishing import MARTS, change
from warehouse.checksums import NAME, damage, write_checksums
from warehouse.connection import WarehouseDamaged, WarehouseError, read, read_every_block
from warehouse.paths import Home
from warehouse.publish import publish, snapshot_problem


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home").ensure()
    change(home, MARTS)
    return home


def with_noise(path: Path, start: int = 0) -> None:
    """Write noise over every eighth page of a file, from a place on; its size and its time stay."""
    state = path.stat()
    os.chmod(path, 0o644)
    content = bytearray(path.read_bytes())
    for place in range(start, len(content) - 512, 8 * 4096):
        content[place : place + 512] = random.Random(place).randbytes(512)
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def one_bit(path: Path) -> None:
    os.chmod(path, 0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.chmod(path, 0o644)
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.chmod(path, 0o644)
    os.truncate(path, 0)


HARM: dict[str, tuple[Callable[[Path], None], str]] = {
    "noise": (with_noise, "is damaged: its content is not what was written"),
    "noise behind the header": (lambda path: with_noise(path, 3 * 4096), "is damaged"),
    "one bit": (one_bit, "is damaged"),
    "cut": (cut, "is damaged"),
    "emptied": (emptied, "is damaged"),
    "gone": (lambda path: path.unlink(), "there is no published snapshot"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_damaged_snapshot_is_named_and_made_again(home: Home, name: str) -> None:
    harm, said = HARM[name]
    first = publish(home)
    assert snapshot_problem(home) is None
    harm(first.path)
    problem = snapshot_problem(home)
    assert problem is not None and said in problem
    again = publish(home)
    assert again.changed and again.id == first.id and again.path != first.path
    assert snapshot_problem(home) is None and not publish(home).changed
    with read(home.current) as connection:
        assert connection.execute("select count(*) from fct_results").fetchall() == [(1001,)]


def test_a_snapshot_without_a_checksum_is_made_again(home: Home) -> None:
    """Earlier versions recorded none."""
    publish(home)
    (home.published / NAME).unlink()
    assert "no checksum on record" in str(snapshot_problem(home))
    assert publish(home).changed and snapshot_problem(home) is None


def test_sha256sum_understands_the_record(home: Home) -> None:
    first = publish(home)
    command = ["sha256sum", "--check", NAME]
    assert subprocess.run(command, cwd=home.published, check=False, capture_output=True).returncode == 0
    with_noise(first.path)
    assert subprocess.run(command, cwd=home.published, check=False, capture_output=True).returncode == 1


def test_one_damaged_file_of_many_is_named(tmp_path: Path) -> None:
    page, chart = tmp_path / "page.html", tmp_path / "charts" / "a.svg"
    chart.parent.mkdir()
    for file in (page, chart):
        file.write_text("text")
    write_checksums(tmp_path, [page, chart])
    assert damage(tmp_path, page) is None
    chart.write_text("Text")
    assert damage(tmp_path, page) == "a.svg is damaged: its content is not what was written"
    chart.unlink()
    assert damage(tmp_path, page) == "a.svg is missing or cannot be read"
    (tmp_path / NAME).write_bytes(b"\xff\xfe noise")
    assert damage(tmp_path, page) == "page.html has no checksum on record"


def test_a_reader_of_a_damaged_file_is_told_so_in_words(home: Home) -> None:
    first = publish(home)
    with_noise(first.path, 3 * 4096)
    with pytest.raises(WarehouseError) as caught, read(home.current) as connection:
        read_every_block(connection)
    assert "`make run`" in str(caught.value) and "checksum" not in str(caught.value)


def test_every_block_of_a_warehouse_is_read(home: Home) -> None:
    change(home, "create table audit.large as select i, i::varchar as t from range(200000) as t(i)")
    with read(home.warehouse) as connection:
        read_every_block(connection)
    content = bytearray(home.warehouse.read_bytes())
    content[len(content) // 2] ^= 1
    home.warehouse.write_bytes(content)
    said = "is damaged: a block of it is not what was written"
    with pytest.raises(WarehouseDamaged, match=said), read(home.warehouse) as connection:
        read_every_block(connection)
