"""A place for files by key: a folder, or a bucket of S3, Google Cloud Storage or Azure (package obstore).

A key is a relative path such as `document_scores/<study>/<run>.parquet`. Files are whole or not there; one that is
created never replaces another, and a pointer moves by compare-and-swap. Credentials are read from the environment by
obstore (`AWS_*`, `GOOGLE_*`, `AZURE_*`) and never shown: messages are written here, not taken from the library.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fcntl import LOCK_EX, flock
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

from models_train.errors import UserError
from models_train.files import atomic_path, create

PARTS = "REWARDBASE_PARTS"
"""Setting: the folder or address of the parts."""
FACTS = "part_facts.sqlite"
"""File in the run-time folder that keeps what is known of the parts of a bucket."""
_SECOND = timedelta(seconds=1)
"""Unit in which stores date files, rounded down."""
_SCHEMES = {"s3": "S3", "gs": "Google Cloud Storage", "az": "Azure"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_SECONDS_TO_ANSWER = 10
_PATIENCE: dict[str, Any] = {"max_retries": 10, "retry_timeout": timedelta(minutes=3)}

_Result = TypeVar("_Result")


class StoreError(UserError):
    """A store that cannot be used. The message is one sentence without secrets."""


class StoreAway(StoreError):
    """A store that cannot be reached now, and may be at the next attempt."""


@dataclass(frozen=True)
class Item:
    """A file of a store. size: in bytes. etag: changes with the content. changed: by the store's clock."""

    key: str
    size: int
    etag: str
    changed: datetime


@dataclass(frozen=True)
class Place:
    """A key of a bucket, as a path is one of a folder; nothing need be there."""

    store: Store
    key: str

    def __str__(self) -> str:
        return f"{self.store}/{self.key}"

    def exists(self) -> bool:
        """Whether there is a file."""
        return self.store.exists(self.key)


class Store(ABC):
    """A folder or bucket. Its text is its address.

    Methods raise StoreError where it cannot be used, FileNotFoundError for a key that is not there, and OSError of a
    folder's disk.
    """

    facts: Path | None = None
    """File that keeps what is known of parts; None where opening them is cheap."""
    has_clock = False
    """Whether files are dated by a clock that all machines share."""

    @staticmethod
    def at(address: str | Path | Store, facts: Path | None = None) -> Store:
        """The store of a folder, or of an address `s3://bucket/prefix`, `gs://` or `az://`; no request is made.

        Raises StoreError for another address, for one that holds a secret, and where obstore is not installed.
        """
        if isinstance(address, Store):
            return address
        if isinstance(address, Path) or not _ADDRESS.match(address):
            return Folder(Path(address))
        return _bucket(address, facts)

    def check(self) -> None:  # noqa: B027
        """Make sure that the store can be used as it has to be, once per process. Raises StoreError."""

    @abstractmethod
    def put_new(self, key: str, data: bytes) -> bool:
        """Create a file; False, and nothing changes, where there is one."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Create or replace a file."""

    @abstractmethod
    def put_file(self, key: str, path: Path) -> None:
        """Create or replace a file by a copy of one of this machine, however large."""

    @abstractmethod
    def swap(self, key: str, data: bytes, etag: str | None) -> str | None:
        """Replace a file that has this etag (None: that is not there); returns the new etag, None where another was
        first."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Content of a file."""

    @abstractmethod
    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        """Content of a file and the etag of just this content."""

    @abstractmethod
    def tail(self, key: str, n_bytes: int) -> bytes:
        """The last bytes of a file, or all where it has fewer."""

    @abstractmethod
    def find(self, key: str) -> Item | None:
        """What the store knows of a file; None where there is none."""

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        return self.find(key) is not None

    @abstractmethod
    def list(self, prefix: str = "") -> Sequence[Item]:
        """Files at any depth below a folder, by key. Those whose own name begins with a dot are left out."""

    @abstractmethod
    def move(self, key: str, to: str) -> None:
        """Give a file another key, in place of what is there. In a bucket it is copied, then deleted: interrupted, it
        may be under both."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete a file; nothing happens where there is none."""

    def prune(self, folder: str) -> None:  # noqa: B027
        """Remove a folder without files; a bucket has none."""

    @abstractmethod
    def place(self, key: str) -> Path | Place:
        """Path of a key in a folder, or its place in a bucket."""

    @abstractmethod
    def below(self, folder: str) -> Store:
        """The store of a folder in this one."""

    def looked(self) -> Store:
        """This store with one listing of all its files, which answers every question of what is there from now on."""
        return self

    def now(self) -> datetime:
        """The present by the store's clock."""
        return datetime.now(UTC)

    def bounded(self, written_at: datetime, item: Item) -> datetime:
        """The time that a file says it was written at; where the store dates it earlier by more than the clocks of two
        machines may differ, the end of the second in which the store says it came."""
        is_ahead = self.has_clock and written_at > item.changed + 2 * _SECOND
        return item.changed + _SECOND if is_ahead else written_at


Parts: TypeAlias = Path | Store
"""Where parts are: a folder, or a store."""


def parts_of(home: Path, environment: Mapping[str, str] | None = None) -> Parts:
    """Where the parts of a home are: REWARDBASE_PARTS, or else the folder `parts` in it. Raises StoreError."""
    named = (os.environ if environment is None else environment).get(PARTS, "").strip()
    return parts_at(named, home / FACTS) if named else home / "parts"


def parts_at(address: str, facts: Path | None = None) -> Parts:
    """The folder (absolute) or the store that a setting names. Raises StoreError."""
    if _ADDRESS.match(address):
        return Store.at(address, facts)
    try:
        return Path(address).expanduser().absolute()
    except RuntimeError:
        raise StoreError(f"{address}: there is no such user; write the whole path") from None


class Folder(Store):
    """A folder of this machine, or of a file system that machines share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def place(self, key: str) -> Path:
        return self._root / key

    def below(self, folder: str) -> Folder:
        return Folder(self._root / folder)

    def put(self, key: str, data: bytes) -> None:
        with atomic_path(self.place(key)) as beside:
            beside.write_bytes(data)

    def put_file(self, key: str, path: Path) -> None:
        with atomic_path(self.place(key)) as beside:
            shutil.copyfile(path, beside)

    def put_new(self, key: str, data: bytes) -> bool:
        try:
            return create(self.place(key), lambda beside: beside.write_bytes(data))
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                text = f"{self}: its file system has no hard links, which create-only writes need; use another folder"
                raise StoreError(text) from error
            raise

    def swap(self, key: str, data: bytes, etag: str | None) -> str | None:
        path = self.place(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            flock(lock, LOCK_EX)
            if (_state_tag(path.stat()) if path.exists() else None) != etag:
                return None
            self.put(key, data)
            return _state_tag(path.stat())

    def get(self, key: str) -> bytes:
        return self.place(key).read_bytes()

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        with self.place(key).open("rb") as file:
            return file.read(), _state_tag(os.fstat(file.fileno()))

    def tail(self, key: str, n_bytes: int) -> bytes:
        with self.place(key).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - n_bytes))
            return file.read()

    def find(self, key: str) -> Item | None:
        try:
            return _item(key, self.place(key).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def list(self, prefix: str = "") -> Sequence[Item]:
        found, folders = [], [prefix]
        for folder in folders:
            try:
                entries = list(os.scandir(self._root / folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                key = f"{folder}/{entry.name}".lstrip("/")
                if entry.is_dir():
                    folders.append(key)
                elif not entry.name.startswith("."):
                    with suppress(FileNotFoundError):  # moved by another process meanwhile
                        found.append(_item(key, entry.stat()))
        return sorted(found, key=lambda item: item.key)

    def move(self, key: str, to: str) -> None:
        self.place(to).parent.mkdir(parents=True, exist_ok=True)
        os.replace(self.place(key), self.place(to))

    def delete(self, key: str) -> None:
        self.place(key).unlink(missing_ok=True)

    def prune(self, folder: str) -> None:
        with suppress(OSError):
            self.place(folder).rmdir()


def _item(key: str, state: os.stat_result) -> Item:
    return Item(key, state.st_size, _state_tag(state), datetime.fromtimestamp(state.st_mtime, UTC))


def _state_tag(state: os.stat_result) -> str:
    return f"{state.st_ino}-{state.st_mtime_ns}-{state.st_size}"


class Bucket(Store):
    """A folder of a bucket. address: scheme, bucket and folder; without secrets."""

    has_clock = True

    def __init__(self, address: str, facts: Path | None = None) -> None:
        self._address, self.facts = address, facts
        self._seen: dict[str, Item] | None = None
        self._parent: Bucket | None = None
        self._store = _client(address)

    def __str__(self) -> str:
        return self._address

    def __reduce__(self) -> tuple[Any, ...]:
        return _bucket, (self._address, self.facts)  # without credentials, which each machine has in its environment

    def place(self, key: str) -> Place:
        return Place(self, key)

    def below(self, folder: str) -> Bucket:
        inside = Bucket(f"{self}/{folder}", self.facts)
        inside._parent = self
        if self._seen is not None:
            found = [
                replace(one, key=key.removeprefix(f"{folder}/"))
                for key, one in self._seen.items()
                if _is_in(key, folder)
            ]
            inside._seen = {one.key: one for one in found}
        return inside

    def looked(self) -> Bucket:
        if self._seen is not None:
            return self
        same = Bucket(self._address, self.facts)
        same._parent = self
        same._store = _client(self._address, patient=False)  # a sensor has a minute for its look
        same._seen = {item.key: item for item in same.list()}
        same._store = self._store
        return same

    def check(self) -> None:
        _ = self._clock

    @cached_property
    def _clock(self) -> tuple[datetime, float]:
        """The store's time at a moment of this machine's steady clock, once the store has shown that it refuses a
        second create and the swap of another version."""
        import obstore

        if self._parent is not None:
            return self._parent._clock
        patient, self._store = self._store, _client(self._address, patient=False)
        key = f".probe-{uuid.uuid4().hex[:12]}"  # that of a killed process stays, and is not listed
        try:
            if not self._put(key, b"first", "create"):
                raise StoreError(f"{self}: the store refuses to create a key that is not there; use another store")
            is_kept = not self._put(key, b"second", "create")
            is_kept = is_kept and not self._put(key, b"third", self._version("0" * 32))
            found = self._call(obstore.head, key)
            self.delete(key)
        finally:
            self._store = patient
        if not is_kept:
            raise StoreError(
                f"{self}: this store ignores the conditions of a write, so that machines would overwrite each other's "
                "results; use one that refuses a second create, such as S3, Google Cloud Storage, Azure or a current "
                "MinIO"
            )
        return found["last_modified"], time.clock_gettime(time.CLOCK_BOOTTIME)

    def now(self) -> datetime:
        at, steady = self._clock
        return at + timedelta(seconds=time.clock_gettime(time.CLOCK_BOOTTIME) - steady)

    def put(self, key: str, data: bytes) -> None:
        self.check()
        self._put(key, data, "overwrite")

    def put_file(self, key: str, path: Path) -> None:
        import obstore

        self.check()
        self._call(lambda store, key: obstore.put(store, key, path), key)

    def put_new(self, key: str, data: bytes) -> bool:
        self.check()
        return self._put(key, data, "create") is not None

    def swap(self, key: str, data: bytes, etag: str | None) -> str | None:
        self.check()
        return self._put(key, data, "create" if etag is None else self._version(etag))

    def get(self, key: str) -> bytes:
        return self.get_with_etag(key)[0]

    def get_with_etag(self, key: str) -> tuple[bytes, str]:
        import obstore

        def read(store: Any, key: str) -> tuple[bytes, str]:
            found = obstore.get(store, key)
            return bytes(found.bytes()), self._etag(found.meta)

        return self._call(read, key)

    def tail(self, key: str, n_bytes: int) -> bytes:
        import obstore

        def read(store: Any, key: str) -> bytes:
            if self._address.startswith("az:"):  # which has no ranges that count from the end
                size = obstore.head(store, key)["size"]
                return bytes(obstore.get_range(store, key, start=max(0, size - n_bytes), end=size))
            try:
                return bytes(obstore.get(store, key, options={"range": {"suffix": n_bytes}}).bytes())
            except obstore.exceptions.GenericError:
                if obstore.head(store, key)["size"]:
                    raise
                return b""  # of which there is no range

        return self._call(read, key)

    def find(self, key: str) -> Item | None:
        import obstore

        if self._seen is not None:
            return self._seen.get(key)
        try:
            return self._item(self._call(obstore.head, key))
        except FileNotFoundError:
            return None

    def list(self, prefix: str = "") -> Sequence[Item]:
        import obstore

        if self._seen is not None:
            return [item for key, item in self._seen.items() if not prefix or _is_in(key, prefix)]

        def read(store: Any, prefix: str) -> Any:
            return obstore.list(store, prefix or None, chunk_size=10_000).collect()

        items = [
            self._item(one) for one in self._call(read, prefix) if not one["path"].rpartition("/")[2].startswith(".")
        ]
        return sorted(items, key=lambda item: item.key)

    def move(self, key: str, to: str) -> None:
        import obstore

        self.check()
        self._call(obstore.copy, key, to)
        self.delete(key)

    def delete(self, key: str) -> None:
        import obstore

        with suppress(FileNotFoundError):
            self._call(obstore.delete, key)

    def _put(self, key: str, data: bytes, mode: Any) -> str | None:
        """Etag of what was written; None where the condition of the mode was not met."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def write(store: Any, key: str) -> str | None:
            try:
                return self._etag(obstore.put(store, key, data, mode=mode, use_multipart=False))
            except (AlreadyExistsError, PreconditionError):
                return None
            except FileNotFoundError as error:
                # Swapped, but deleted meanwhile: other stores than S3 call that a condition that is not met.
                if isinstance(mode, dict) and "NoSuchKey" in str(error):
                    return None
                raise

        try:
            return self._call(write, key)
        except FileNotFoundError:
            problem = _refusal(self._address, "status 404")
        raise problem

    def _item(self, facts: Any) -> Item:
        return Item(facts["path"], facts["size"], self._etag(facts), facts["last_modified"])

    def _etag(self, facts: Any) -> str:
        """What a conditional put compares: the generation in Google's store, the etag in others."""
        return str(facts["version"] if self._address.startswith("gs:") else facts["e_tag"])

    def _version(self, etag: str) -> dict[str, str]:
        return {"version": etag.lstrip("0") or "1"} if self._address.startswith("gs:") else {"e_tag": etag}

    def _call(self, function: Callable[..., _Result], *arguments: Any) -> _Result:
        """The result of a call of obstore. Raises FileNotFoundError and StoreError, without the library's error, whose
        text may hold a key."""
        try:
            return function(self._store, *arguments)
        except Exception as error:
            if not (type(error).__module__.startswith("obstore") or isinstance(error, FileNotFoundError | OSError)):
                raise
            problem = _problem(self._address, error, f"{self._address}/{arguments[0]}" if arguments else "")
        raise problem


def _is_in(key: str, folder: str) -> bool:
    return key.startswith(f"{folder}/")


@lru_cache(maxsize=64)
def _bucket(address: str, facts: Path | None) -> Bucket:
    """One store per address and process, so that it is checked once."""
    return Bucket(_checked(address), facts)


def _checked(address: str) -> str:
    """The address in its plain form. Raises StoreError, which shows no more than the scheme of one with a secret."""
    scheme, _, rest = address.partition(":")
    form = "write a folder, or s3://bucket/folder, gs://bucket/folder or az://container/folder"
    if scheme.lower() not in _SCHEMES:
        raise StoreError(f"{scheme}: is not a kind of store that parts can be in; {form}")
    if "@" in rest or "?" in rest or "#" in rest:
        raise StoreError(
            f"an address of {_SCHEMES[scheme.lower()]} may not hold a user, password or token; set the credentials in "
            "the environment (AWS_..., GOOGLE_..., AZURE_...), and leave the address without @, ? and #"
        )
    bucket, *folders = rest.removeprefix("//").rstrip("/").split("/")
    if not rest.startswith("//") or not bucket:
        raise StoreError(f"{address}: names no bucket; {form}")
    if not _BUCKET.fullmatch(bucket):
        raise StoreError(f"{address}: {bucket!r} cannot be the name of a bucket; {form}")
    if any(one in ("", ".", "..") or one != one.strip() or not one.isprintable() for one in folders):
        raise StoreError(f"{address}: a folder in it is empty, a dot or has spaces around it; {form}")
    return "/".join([f"{scheme.lower()}:/", bucket, *folders])


def _client(address: str, *, patient: bool = True) -> Any:
    """obstore's client. patient: wait three minutes for a store that is away, as jobs do, not some seconds."""
    try:
        from obstore.store import AzureStore, GCSStore, S3Store
    except ImportError:
        remedy = "install it: .venv/bin/python -m pip install -c requirements.lock obstore"
        raise StoreError(f"{address} needs the package obstore; {remedy}") from None
    scheme, _, rest = address.partition("://")
    bucket, _, folder = rest.partition("/")
    kind: Any = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}[scheme]
    options: dict[str, Any] = {"allow_http": _endpoint().startswith("http://"), "connect_timeout": "5s"}
    retries = _PATIENCE if patient else {"max_retries": 2, "retry_timeout": timedelta(seconds=_SECONDS_TO_ANSWER)}
    if not patient:
        options["timeout"] = f"{_SECONDS_TO_ANSWER}s"
    try:
        return kind(bucket, prefix=folder or None, client_options=options, retry_config=retries)
    except Exception as error:
        problem = _problem(address, error, address)
    raise problem


def _endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    return next((os.environ[name].strip() for name in names if os.environ.get(name, "").strip()), "")


_EXPIRED = ("ExpiredToken", "TokenRefreshRequired", "token has expired", "Signed expiry time")
_SKEWED = ("RequestTimeTooSkewed", "RequestExpired")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")
_NO_CREDENTIALS = (  # first the services that machines of a cloud have theirs from, then what obstore names
    *("169.254.169.254", "169.254.170.2", "metadata.google.internal", "/latest/api/token", "/latest/meta-data"),
    *("MissingAccount", "MissingAccessKey", "MissingSecretAccessKey", "MissingSecretKey"),
)
_REFUSED = (
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "AuthenticationFailed",
    "InvalidClientTokenId",
)
_STATUS = re.compile(r"status code: (\d{3})")


def _problem(address: str, error: Exception, place: str) -> Exception:
    """The error to raise for one of obstore: a sentence, made from its kind and the codes that its text has."""
    text, status = str(error), next(iter(_STATUS.findall(str(error))), "")
    kind = type(error).__name__
    kept = _SCHEMES[address.partition(":")[0]]
    if any(sign in text for sign in _NO_BUCKET):
        return StoreError(f"{address}: there is no such bucket or container; create it, or correct {PARTS}")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, "there is no such file", place)
    if any(sign in text for sign in _EXPIRED):
        return StoreError(f"{address}: the credentials in the environment have expired; renew them")
    if any(sign in text for sign in _SKEWED):
        return StoreError(f"{address}: {kept} refuses this machine's clock; set it right")
    if any(sign in text for sign in _REFUSED):
        return StoreError(f"{address}: {kept} does not know the credentials in the environment; correct them")
    if any(sign in text for sign in _NO_CREDENTIALS):
        return StoreError(f"{address}: there are no credentials for {kept} in the environment; set {_needed(address)}")
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or status in ("401", "403"):
        return StoreError(f"{address}: the credentials in the environment may not do this; ask for the right to")
    if status == "501":
        return StoreError(f"{address}: this store has no conditional writes, which parts need; use another store")
    if status.startswith("5") or status == "429":
        return _away(f"{address}: {kept} answers with status {status}; try again later")
    if "HTTP error" in text or "error sending request" in text or "timed out" in text:
        host = urlsplit(_endpoint()).hostname
        at = f"{kept}{f' at {host}' if host else ''}"
        return _away(f"{address}: {at} cannot be reached; check the network, and the endpoint in the environment")
    return _refusal(address, f"status {status}" if status else kind)


def _refusal(address: str, reason: str) -> StoreError:
    kept = _SCHEMES[address.partition(":")[0]]
    return StoreError(f"{address}: {kept} refuses the request ({reason}); check the address, region and endpoint")


def _needed(address: str) -> str:
    return {
        "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "gs": "GOOGLE_APPLICATION_CREDENTIALS",
        "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    }[address.partition(":")[0]]


def _away(text: str) -> StoreAway:
    """An error that may be gone at the next attempt, which its cause says to `may_pass`."""
    problem = StoreAway(text)
    problem.__cause__ = ConnectionError(text)
    return problem
