"""Stores: a folder and a bucket behave alike, one of several writers wins, and what cannot be used is said plainly."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models_train import store as store_module
from models_train.jobs.reporting import may_pass
from models_train.store import Bucket, Folder, Store, StoreError, parts_of
from tests.support.buckets import KEY, SECRET, Buckets, aws, free_port, ignoring_conditions, proxied, s3
from tests.support.data_files import REPOSITORY
from tests.support.stores import RACERS, creates, swaps


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    return Store.at(tmp_path / "store" if request.param == "folder" else request.getfixturevalue("bucket"))


def test_what_is_put_is_there(store: Store) -> None:
    assert list(store.list()) == [] and not store.exists("a/b") and store.find("a/b") is None
    store.put("a/b", b"one")
    store.put("a/b", b"other")
    store.put("a/c/d", b"x" * 100_000)
    store.put(".retired/a/ü %2F b", b"")
    store.put("a/.hidden", b"hidden")
    found = {item.key: item for item in store.list()}
    assert list(found) == [".retired/a/ü %2F b", "a/b", "a/c/d"]
    assert [item.key for item in store.list("a/c")] == ["a/c/d"] and list(store.list("a/")) != []
    assert store.get("a/b") == b"other" and store.exists("a/b") and found["a/b"].size == 5
    assert store.find("a/b") == found["a/b"]
    assert (
        store.tail("a/b", 3) == b"her"
        and store.tail(".retired/a/ü %2F b", 3) == b""
        and store.tail("a/b", 100) == b"other"
    )
    assert abs(found["a/b"].changed - datetime.now(UTC)) < timedelta(seconds=30)
    assert abs(store.now() - datetime.now(UTC)) < timedelta(seconds=30)


def test_an_etag_changes_with_the_content(store: Store) -> None:
    store.put("a", b"one")
    content, etag = store.get_with_etag("a")
    (item,) = store.list()
    assert content == b"one" and item.etag == etag
    store.put("a", b"two")
    assert store.get_with_etag("a")[1] != etag


def test_a_file_that_is_not_there(store: Store) -> None:
    for read in (store.get, store.get_with_etag, lambda key: store.tail(key, 8), lambda key: store.move(key, "b")):
        with pytest.raises(FileNotFoundError):
            read("a/b")
    store.delete("a/b")
    assert list(store.list("a")) == []


def test_a_move_and_a_delete(store: Store) -> None:
    store.put("a/b", b"one")
    store.put("c/d", b"in the way")
    store.move("a/b", "c/d")
    assert [item.key for item in store.list()] == ["c/d"] and store.get("c/d") == b"one"
    store.delete("c/d")
    assert list(store.list()) == []


def test_a_store_below_another(store: Store) -> None:
    store.put("a/b/c", b"one")
    inside = store.below("a")
    assert [item.key for item in inside.list()] == ["b/c"] and inside.get("b/c") == b"one"
    assert str(inside) == f"{store}/a" and str(inside.place("x")) == f"{store}/a/x"
    inside.put_new("d", b"two")
    assert store.exists("a/d") and not store.exists("d")


def test_one_of_eight_creates_wins_a_hundred_times(store: Store) -> None:
    assert creates(store, 100) == [1] * 100


def test_no_swap_is_lost(store: Store) -> None:
    assert swaps(store, 15) == 15 * RACERS


def test_a_swap_of_a_version_that_is_gone(store: Store) -> None:
    assert store.swap("p", b"x", "no such version") is None and not store.exists("p")
    first = store.swap("p", b"one", None)
    assert first and store.swap("p", b"other", None) is None
    assert store.swap("p", b"two", first) and store.swap("p", b"three", first) is None
    assert store.get("p") == b"two"
    assert [item.key for item in store.list()] == ["p"]


def test_one_look_is_one_listing(bucket: str, s3_server: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store = Store.at(bucket)
        store.put("a/b", b"one")
        server.requests.clear()
        look = store.looked()
        assert look is not Store.at(bucket) is store
        store.put("a/c", b"late")
        server.requests.clear()
        assert look.exists("a/b") and not look.exists("a/c") and look.below("a").exists("b")
        assert [item.key for item in look.list("a")] == [item.key for item in look.looked().list()] == ["a/b"]
        assert not server.requests
        assert look.get("a/b") == b"one" and set(server.requests) == {"GET"}


def test_a_store_travels_without_its_credentials(bucket: str) -> None:
    store = Store.at(bucket, Path("facts"))
    sent = pickle.dumps(store)
    assert KEY.encode() not in sent and SECRET.encode() not in sent
    there = pickle.loads(sent)
    assert str(there) == bucket and there.facts == Path("facts")
    assert SECRET not in repr(there.__dict__)


def test_the_clock_is_the_stores(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(days=400)

    monkeypatch.setattr(store_module, "datetime", Late)
    assert abs(Store.at(bucket).now() - datetime.now(UTC)) < timedelta(seconds=30)


ADDRESSES = {
    "ftp://host/parts": "ftp: is not a kind of store",
    "file:///tmp/parts": "file: is not a kind of store",
    "http://bucket.s3.amazonaws.com/x": "http: is not a kind of store",
    "s3a://bucket/x": "s3a: is not a kind of store",
    "s3:/bucket/x": "s3:/bucket/x: names no bucket",
    "s3://": "s3://: names no bucket",
    "gs:///x": "gs:///x: names no bucket",
    "s3://Bucket_Of_Ours/x": "'Bucket_Of_Ours' cannot be the name of a bucket",
    "s3://b/x": "'b' cannot be the name of a bucket",
    "s3://bucket/a//b": "a folder in it is empty",
    "s3://bucket/../b": "a folder in it is empty, a dot",
    "s3://bucket/ a": "has spaces around it",
    f"s3://{KEY}:{SECRET}@bucket/x": "may not hold a user, password or token",
    f"az://container/x?sig={SECRET}": "an address of Azure may not hold",
    f"gs://bucket/x#{SECRET}": "may not hold",
    "az://container/x": "there are no credentials for Azure in the environment; set AZURE_STORAGE_ACCOUNT_NAME",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_cannot_be_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    for make in (lambda: Store.at(address), lambda: parts_of(Path("/h"), {"REWARDBASE_PARTS": address})):
        with pytest.raises(StoreError) as caught:
            make()
        assert ADDRESSES[address] in str(caught.value) and "\n" not in str(caught.value)
        assert SECRET not in str(caught.value)


def test_where_the_parts_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    monkeypatch.chdir(tmp_path)
    for text, wanted in {
        "": tmp_path / "home" / "parts",
        "  ": tmp_path / "home" / "parts",
        "shared": tmp_path / "shared",
        str(tmp_path / "a b"): tmp_path / "a b",
        "~/x": Path.home() / "x",
    }.items():
        assert parts_of(tmp_path / "home", {"REWARDBASE_PARTS": text}) == wanted
    found = parts_of(tmp_path, {"REWARDBASE_PARTS": f" {bucket}/ "})
    assert str(found) == bucket and isinstance(found, Bucket) and found.facts == tmp_path / "part_facts.sqlite"
    assert str(Store.at(bucket.replace("s3:", "S3:"))) == bucket
    with pytest.raises(StoreError, match="no such user"):
        parts_of(tmp_path, {"REWARDBASE_PARTS": "~nobody-of-this-name/x"})


def refused(address: str, use: Callable[[Store], object]) -> StoreError:
    """The error of a store, which is one sentence, comes soon, and shows no secret in itself or in what led to it."""
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        use(Bucket(address))
    assert time.monotonic() - began < 15
    error: BaseException | None = caught.value
    assert str(error).startswith(address) and "\n" not in str(error) and len(str(error)) < 250
    while error is not None:
        assert KEY not in str(error) and SECRET not in str(error)
        error = error.__cause__ or error.__context__
    return caught.value


USES: list[Callable[[Store], object]] = [lambda store: store.check(), lambda store: store.put_new("a", b"x")]


@pytest.mark.parametrize("use", USES)
def test_a_bucket_that_is_not_there(bucket: str, use: Callable[[Store], object]) -> None:
    assert "there is no such bucket" in str(refused("s3://no-such-bucket/x", use))
    assert "there is no such bucket" in str(refused("s3://no-such-bucket/x", lambda store: store.list()))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_away(
    bucket: str, use: Callable[[Store], object], host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://user:{SECRET}@{host}:{free_port()}")
    error = refused(bucket, use)
    assert f"S3 at {host} cannot be reached" in str(error) and may_pass(error)


@pytest.mark.parametrize("use", USES)
def test_no_credentials(bucket: str, use: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # A machine outside a cloud has no service of credentials at this address.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert "there are no credentials for S3 in the environment; set AWS_ACCESS_KEY_ID" in str(refused(bucket, use))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    with pytest.raises(StoreError, match="there are no credentials for S3"):
        Bucket(bucket)


@pytest.fixture(scope="module")
def strict() -> Iterator[Buckets]:
    """A server that knows no credentials, and says so."""
    with s3() as server:
        server.bucket = server.new()  # type: ignore[attr-defined]
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{server.endpoint}/moto-api/reset-auth", b"0", headers, method="POST")
        urllib.request.urlopen(request, timeout=30).read()
        yield server


@pytest.mark.parametrize("use", USES)
def test_wrong_credentials(strict: Buckets, use: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in strict.environment.items():
        monkeypatch.setenv(name, value)
    error = refused(strict.bucket, use)  # type: ignore[attr-defined]
    assert "does not know the credentials in the environment" in str(error) and not may_pass(error)


ANSWERS = {
    "<Error><Code>ExpiredToken</Code></Error>": (400, "have expired; renew them"),
    "<Error><Code>AccessDenied</Code></Error>": (403, "may not do this"),
    f"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId></Error>": (403, "does not know"),
    "<Error><Code>RequestTimeTooSkewed</Code></Error>": (403, "refuses this machine's clock"),
    "<Error><Code>SlowDown</Code></Error>": (503, "answers with status 503; try again later"),
    "<Error><Code>NotImplemented</Code></Error>": (501, "has no conditional writes"),
    "<html>a page of a proxy</html>": (404, "refuses the request (status 404)"),
    "": (400, "refuses the request (status 400)"),
}


@pytest.mark.parametrize("body", ANSWERS)
def test_what_a_server_answers_is_said_in_a_sentence(body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.buckets import answering

    status, wanted = ANSWERS[body]
    with answering(status, body) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        error = refused("s3://bucket/x", lambda store: store.check())
    assert wanted in str(error)
    assert may_pass(error) == (status == 503)


def test_a_lookalike_that_ignores_conditions_is_refused(
    bucket: str, s3_server: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ignoring_conditions(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        for use in (*USES, lambda store: store.put("a", b""), lambda store: store.swap("a", b"", None)):
            assert "ignores the conditions of a write" in str(refused(bucket, use))
    for half in ("if-match", "if-none-match"):
        with proxied(s3_server, [half]) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
            assert "ignores the conditions of a write" in str(refused(bucket, lambda store: store.check()))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    assert list(Bucket(bucket).list()) == []


def test_a_store_is_checked_once(bucket: str, s3_server: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied(s3_server) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        store = Bucket(bucket)
        store.list()
        store.find("a")
        assert set(server.requests) == {"LIST", "HEAD"}, "who only reads writes nothing"
        store.put("a", b"")
        server.requests.clear()
        for number in range(5):
            assert store.put_new(f"b{number}", b"")
            store.below("c").put("d", b"")
        store.looked().check()
        assert server.requests == {"PUT": 10, "LIST": 1}


def test_a_folder_without_hard_links_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="has no hard links"):
        Folder(tmp_path).put_new("a/b", b"x")
    assert os.listdir(tmp_path / "a") == []


def test_without_the_setting_nothing_imports_obstore(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from models_train.store import Store, parts_of
import models_train.parts, warehouse.part_files, warehouse.publish, warehouse.landing
store = Store.at(parts_of(Path({str(tmp_path)!r})))
store.put_new("a/b", b"x"); store.list(); store.check()
print(sorted({{"obstore", "ray", "boto3"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == "[]"


def test_obstore_is_missing(bucket: str) -> None:
    code = f"import sys; sys.modules['obstore'] = None\nfrom models_train.store import Store\nStore.at({bucket!r})"
    environment = os.environ | aws("http://127.0.0.1:1")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, env=environment)
    assert f"StoreError: {bucket} needs the package obstore; install it" in done.stderr.splitlines()[-1]
