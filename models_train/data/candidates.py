"""Candidates of a sample, on disk: per domain the documents with the smallest keys among those read so far."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models_train.data.problems import DataError
from models_train.data.records import Document

PRUNE_EVERY = 10_000
"""Documents that a domain may hold beyond its number before the largest keys go."""

_TABLES = """
create table if not exists candidates (
    document_id text not null, domain integer not null, key text not null, text blob not null,
    unique (document_id, domain)
);
create index if not exists by_key on candidates (domain, key);
create table if not exists files (name text primary key);
create table if not exists counts (name text primary key, n integer not null);
"""


def document_id(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Candidates:
    """The `most` documents per domain with the smallest keys; a key is the SHA-256 of seed and document id.

    What is kept depends on the set of documents offered, not on their order, and equal texts are one document. Files
    are committed one by one: after an interruption, those that `finished` names need not be read again. Use inside
    `opened_candidates`.
    """

    def __init__(self, database: sqlite3.Connection, domains: Sequence[str], most: int, seed: int) -> None:
        self._database = database
        self._ranks = {domain: rank for rank, domain in enumerate(domains)}
        self._domains = tuple(domains)
        self._most = most
        self._seed = seed
        self._counted: Counter[str] = Counter()
        self._added = dict.fromkeys(self._domains, 0)
        self._largest = {domain: self._prune(domain) for domain in self._domains}

    @property
    def finished(self) -> set[str]:
        """Names of the files that were read to the end."""
        return {name for (name,) in self._database.execute("select name from files")}

    @property
    def counts(self) -> dict[str, int]:
        """What `count` counted, over all files that were read to the end."""
        return dict(self._database.execute("select name, n from counts"))

    def sizes(self) -> dict[str, int]:
        """Documents kept, by domain."""
        found = dict(self._database.execute("select domain, count(*) from candidates group by domain"))
        return {domain: min(found.get(rank, 0), self._most) for domain, rank in self._ranks.items()}

    def count(self, name: str) -> None:
        """Add one to a count."""
        self._counted[name] += 1

    def offer(self, domain: str, text: str) -> None:
        """Keep the document if it is among those with the smallest keys of its domain."""
        identity = document_id(text)
        key = hashlib.sha256(f"{self._seed} {identity}".encode()).hexdigest()[:16]
        if key > self._largest[domain]:
            return
        self._database.execute(
            "insert or ignore into candidates values (?, ?, ?, ?)", (identity, self._ranks[domain], key, text.encode())
        )
        self._added[domain] += 1
        if self._added[domain] >= PRUNE_EVERY:
            self._largest[domain] = self._prune(domain)

    @contextmanager
    def file(self, name: str) -> Iterator[None]:
        """All documents and counts of a file, or none of them."""
        self._counted.clear()
        self._database.execute("begin exclusive")
        try:
            yield
            self._largest = {domain: self._prune(domain) for domain in self._domains}
            for counted, n in self._counted.items():
                self._database.execute(
                    "insert into counts values (?, ?) on conflict (name) do update set n = n + excluded.n", (counted, n)
                )
            self._database.execute("insert into files values (?)", (name,))
            self._database.execute("commit")
        except BaseException:
            self._database.execute("rollback")
            raise

    def taken(self) -> dict[str, int]:
        """Documents of the sample, by domain."""
        each = "select min(domain) as domain from candidates group by document_id"
        found = dict(self._database.execute(f"select domain, count(*) from ({each}) group by domain"))
        return {domain: found.get(rank, 0) for domain, rank in self._ranks.items()}

    def documents(self) -> Iterator[Document]:
        """The sample by document id. A text that two domains hold is the first one's; the other has one less."""
        query = "select document_id, min(domain), text from candidates group by document_id order by document_id"
        for identity, rank, text in self._database.execute(query):
            yield Document(identity, self._domains[rank], text.decode())

    def _prune(self, domain: str) -> str:
        """Remove what is beyond the number; returns the largest key kept, or one above all where it is not full."""
        self._added[domain] = 0
        rank = self._ranks[domain]
        query = "select key from candidates where domain = ? order by key limit 1 offset ?"
        last = self._database.execute(query, (rank, self._most - 1)).fetchone()
        if last is None:
            return "~"
        self._database.execute("delete from candidates where domain = ? and key > ?", (rank, last[0]))
        return str(last[0])


@contextmanager
def opened_candidates(path: Path, domains: Sequence[str], most: int, seed: int) -> Iterator[Candidates]:
    """The candidates in a file, which is made where it is not there. One process at a time.

    Raises DataError where another process has it, or the file is damaged.
    """
    database = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        database.execute("pragma locking_mode = exclusive")
        database.executescript(f"begin exclusive; {_TABLES} commit;")
        yield Candidates(database, domains, most, seed)
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"{path}: {error}; where another process draws this sample, wait for its end; where none does, remove the "
            "file: the sample is then drawn from the beginning"
        ) from error
    finally:
        database.close()
