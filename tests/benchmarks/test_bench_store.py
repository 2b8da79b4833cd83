"""Buckets at full size: races on three kinds of store, 4,200 parts, kills of writers and publishers, readers elsewhere.

Azurite, the second kind of bucket, comes by npm: `npm install --prefix <folder> azurite`, and AZURITE_BIN names
`<folder>/node_modules/.bin`. The readers have an environment of their own, with a DuckDB whose extension pip has.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import warehouse
from models_train import footers
from models_train.store import Bucket, Store
from tests.support.buckets import KEY, SECRET, Buckets, azure, proxied
from tests.support.forked import Launcher
from tests.support.many_parts import SCORES, killed_writers, landed_ids, write_many, write_shard
from tests.support.publishing import warehouse_with_numbers
from tests.support.readers import at_work
from tests.support.stores import RACERS, creates, swaps
from warehouse.connection import memory
from warehouse.landing import create_raw_tables, land_newest, unlanded

pytestmark = pytest.mark.bench

N_MODELS, N_SHARDS = 42, 100
READER_PACKAGES = ("duckdb==1.5.5", "duckdb-extensions==1.5.5", "duckdb-extension-httpfs==1.5.5")
N_PUBLISHES, N_KILLS, HOURS = 100, 25, 0.02
"""Publishes and kills of each of two publishers; age in hours at which old snapshots go."""


@pytest.fixture(params=["folder", "s3", "azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store of each kind."""
    if request.param == "folder":
        yield Store.at(tmp_path / "store")
    elif request.param == "s3":
        yield Store.at(request.getfixturevalue("bucket"))
    else:
        with azure(tmp_path) as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            yield Store.at(server.new())


def say(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with capsys.disabled():
        print(f"\n{text} (load {os.getloadavg()[0]:.1f})")


def test_races(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    assert creates(store, 100) == [1] * 100
    assert swaps(store, 15) == 15 * RACERS
    say(capsys, f"{store}: 100 x {RACERS} creates, {15 * RACERS} swaps in {time.monotonic() - began:.1f} s")


def test_parts_of_every_store_give_the_same_tables(store: Store, tmp_path: Path) -> None:
    for place in (tmp_path / "parts", store):
        write_many(place, 3, 10)
    assert landed_ids(store) == landed_ids(tmp_path / "parts")


def test_kills(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shard in range(8):
        write_shard(tmp_path / "wanted", "m", shard, n_rows=200)
    assert killed_writers(str(store), 200, 8, 0.5) == []
    assert landed_ids(store) == landed_ids(tmp_path / "wanted")
    say(capsys, f"{store}: 200 kills of a writer, no part that cannot be read; the rest written by one run")


def test_landing_of_all_parts_of_a_census(
    bucket: str, s3_server: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said, connection = [], memory()
    began = time.monotonic()
    write_many(Store.at(bucket), N_MODELS, N_SHARDS)
    said.append(f"{N_MODELS * N_SHARDS} parts written in {time.monotonic() - began:.0f} s")
    create_raw_tables(connection)
    with proxied(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store = Bucket(bucket, tmp_path / "part_facts.sqlite")
        for name, look in (
            ("first look", lambda: unlanded(connection, SCORES, store.looked())),
            ("landing", lambda: land_newest(connection, SCORES, store.looked())),
            ("second look", lambda: unlanded(connection, SCORES, store.looked())),
        ):
            server.requests.clear()
            began = time.monotonic()
            found = look()
            said.append(f"{name}: {found}, {time.monotonic() - began:.2f} s, {dict(server.requests)}")
    assert found is False and server.requests == {"LIST": 5}
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    store, seconds, cores = Bucket(bucket, tmp_path / "part_facts.sqlite"), [], []
    for forget in (True, *[False] * 6):
        if forget:  # as in a new process
            footers._known.clear()
            footers._loaded.clear()
        began, core = time.monotonic(), time.process_time()
        assert not unlanded(connection, SCORES, store.looked())
        seconds.append(time.monotonic() - began)
        cores.append(time.process_time() - core)
    said.append(f"second look without the proxy, in a new process {seconds[0]:.2f} s ({cores[0]:.2f} s of a core)")
    said.append(f"later ones {min(seconds):.2f} s ({min(cores):.2f} s of a core)")
    say(capsys, "\n".join(said))
    assert min(seconds) <= 2
    connection.close()


READER = """
import json, sys, time
import duckdb
from duckdb_extensions import import_extension
address, endpoint, key, secret, stop = sys.argv[1:]
import_extension("httpfs")
print("reading", flush=True)
seen, errors, mixed, longest = set(), [], [], 0.0
from pathlib import Path
n = 0
while not Path(stop).exists():
    began = time.monotonic()
    try:
        with duckdb.connect() as c:
            c.execute("load httpfs")
            c.execute(f"create secret (type s3, key_id '{key}', secret '{secret}', region 'us-east-1', "
                      f"endpoint '{endpoint}', url_style 'path', use_ssl false)")
            c.execute("set force_download = true")  # one request: between two of them the pointer may have moved
            (content,) = c.execute("select content from read_text(?)", [f"{address}/current.json"]).fetchone()
            c.execute("reset force_download")
            pointer = json.loads(content)
            c.execute(f"attach '{address}/{pointer['database']['key']}' as rewardbase (read_only)")
            stamps, numbers = {pointer["snapshot_id"]}, set()
            for table in ("dim_studies", "fct_results", "snapshot"):
                columns = "snapshot_id, null" if table == "snapshot" else "snapshot_id, n"
                mart = f"'{address}/{pointer['marts'][table]['key']}'"
                for source in (f"rewardbase.{table}", f"read_parquet({mart})"):
                    rows = c.execute(f"select distinct {columns} from {source}").fetchall()
                    stamps |= {stamp for stamp, _ in rows}
                    numbers |= {number for _, number in rows if number is not None}
            n += 1
            if len(stamps) != 1 or len(numbers) != 1:
                mixed.append(f"{stamps} {numbers}")
            seen |= stamps
    except Exception as error:
        errors.append(f"{type(error).__name__}: {error}")
    longest = max(longest, time.monotonic() - began)
print(json.dumps({"n": n, "seen": len(seen), "errors": errors, "mixed": mixed, "longest": longest}))
"""


@pytest.fixture(scope="module")
def reader_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with DuckDB and its extension for buckets."""
    folder = tmp_path_factory.mktemp("reader")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *READER_PACKAGES]
    subprocess.run(install, check=True)
    return folder / "bin" / "python"


@contextmanager
def readers(python: Path, n: int, address: str, server: Buckets, stop: Path) -> Iterator[list[dict[str, Any]]]:
    """Readers at work during the block; the list is filled at its end."""
    command = [python, "-c", READER, address, server.endpoint.removeprefix("http://"), KEY, SECRET, str(stop)]
    found: list[dict[str, Any]] = []
    with at_work([command] * n, stop, seconds=120) as answers:
        yield found
    found += [json.loads(answer.splitlines()[-1]) for answer in answers]  # DuckDB prints progress, too


def test_publishes_under_readers_and_kills(
    bucket: str, s3_server: Buckets, tmp_path: Path, reader_python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = [warehouse_with_numbers(tmp_path / name) for name in ("one", "two")]

    def publish_and_kill(which: int) -> float:
        source, began = random.Random(which), time.monotonic()
        with Launcher("tests.support.publishing", "publish_to_bucket") as launcher:
            kills, done, longest = 0, 0, 0.5
            while done < N_PUBLISHES:
                number = 1_000_000 * which + 1_000 * done + kills
                kill = source.uniform(0, longest) if kills < N_KILLS and done % 4 == 0 else None
                call = launcher.call([str(homes[which].root), bucket, str(number), str(HOURS)], kill)
                if call["status"]:
                    kills += 1
                    warehouse.open(bucket, tmp_path / "cache").close()
                else:
                    done, longest = done + 1, max(longest, call["seconds"])
            assert kills == N_KILLS
        return time.monotonic() - began

    with Launcher("tests.support.publishing", "publish_to_bucket") as launcher:
        launcher.call([str(homes[0].root), bucket, "7", str(HOURS)])
    with (
        readers(reader_python, 4, bucket, s3_server, tmp_path / "stop") as found,
        ThreadPoolExecutor(2) as pool,
    ):
        seconds = list(pool.map(publish_and_kill, range(2)))
    left = {item.key.split("/")[1] for item in Store.at(bucket).list("snapshots")}
    n_read, n_seen = sum(one["n"] for one in found), sum(one["seen"] for one in found)
    say(
        capsys,
        f"{2 * N_PUBLISHES} publishes by 2 publishers with {2 * N_KILLS} kills in {max(seconds):.0f} s; "
        f"4 readers opened {n_read} snapshots ({n_seen} different), longest {max(one['longest'] for one in found):.1f} "
        f"s; {len(left)} left",
    )
    assert [(one["errors"], one["mixed"]) for one in found] == [([], [])] * 4
