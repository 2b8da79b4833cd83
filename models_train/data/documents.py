"""A seeded sample of documents of SlimPajama's columns, the same on every machine (paper, Section 5.2)."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from models_train.data.records import Document
from models_train.data.rows import Column, Form, checked_rows, is_unicode
from models_train.data.samples import write_sample
from models_train.data.sources import Source, below, file_label, open_source, refuse_two_forms, unread
from models_train.errors import UserError, close_match
from models_train.files import remove
from models_train.study.scoring import DOMAINS, Corpus, Domain
from models_train.study.settings import shown

SET_NAMES = {f"RedPajama{domain}": domain for domain in DOMAINS}
"""Domain by name in `meta.redpajama_set_name`."""
LEFT_OUT = ("RedPajamaCommonCrawl", "RedPajamaC4")
"""Sets outside the domains of the study (paper, Section 5.2)."""

DOWNLOADS = 8
"""Files of a hub fetched at once, ahead of reading."""
SECONDS_BETWEEN_NEWS = 10.0
"""Time between two progress messages, in seconds."""

PRUNE_EVERY = 10_000
"""Documents offered to a domain before those with the largest keys are deleted."""

_TABLES = """
create table if not exists candidates (
    document_id text not null, domain integer not null, key text not null, text blob not null,
    unique (document_id, domain)
);
create index if not exists by_key on candidates (domain, key);
create table if not exists files (name text primary key);
create table if not exists counts (name text primary key, n integer not null);
"""

Say = Callable[[str], None]


def sample_documents(corpus: Corpus, study_folder: Path, folder: Path, say: Say) -> dict[str, int]:
    """Draw a sample and write it to a folder (`samples`); returns counts. say: receives progress messages.

    Per domain the `documents_per_domain` documents with the smallest SHA-256 of seed and document id are taken, equal
    texts once. So the sample depends on the seed and on the texts that are read, not on the order of rows or files.
    Files that are read: of a folder all, or those in its folder `train` if it has one. Of a hub data set these in a
    seeded order, until every domain is full, at most `most_hub_files`. Empty texts, and texts that are no valid
    Unicode, are left out and counted. A domain that has too few documents gives all of them.

    An interrupted sampling resumes after the last file that was read to the end. Raises UserError for rows that cannot
    be used, and where no document is found.
    """
    source = open_source(corpus.source, study_folder)
    names = corpus_files(source, corpus)
    if others := unread(source):
        say(f"{source.label}: {others}")
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / ".candidates.sqlite"
    downloads = folder / ".downloads"
    with opened_candidates(scratch, corpus.domains, corpus.documents_per_domain, corpus.seed) as candidates:
        _read(source, names, downloads, corpus, candidates, say)
        counts = _counts(corpus, candidates)
        if not any(candidates.sizes().values()):
            raise UserError(
                f"{source.label}: no document of {', '.join(corpus.domains)} in {counts['files_read']} files; "
                "meta.redpajama_set_name names the domain of a row: correct the source or the study's domains"
            )
        write_sample(folder, candidates.documents(), counts)
    # A killed process leaves SQLite's journal, which must not meet a new database, and an unfinished sample.
    for path in (*sorted(folder.glob(f"{scratch.name}*"), reverse=True), *folder.glob(".*.tmp"), downloads):
        remove(path)
    return counts


def corpus_files(source: Source, corpus: Corpus) -> list[str]:
    """The files to read, in order: those in the folder `train`, or all; of a hub a seeded choice.

    Raises UserError where there is none, or the same documents are there in two forms.
    """
    names = source.names()
    names = below("train", names) or names
    refuse_two_forms(source, names)
    if source.is_local:
        return names
    names.sort(key=lambda name: hashlib.sha256(f"{corpus.seed} {name}".encode()).hexdigest())
    return names[: corpus.most_hub_files]


def set_domain(meta: Any) -> Domain | None:
    """The domain that SlimPajama's `meta` names, a dict or its JSON; None for a set that is left out."""
    if isinstance(meta, str):
        try:
            meta = json.loads(meta)
        except ValueError as error:
            raise UserError(f"{shown(meta)} is not JSON; give {{redpajama_set_name: ...}}") from error
    name = meta.get("redpajama_set_name") if isinstance(meta, Mapping) else None
    if not isinstance(name, str):
        raise UserError(f"{shown(meta)} has no redpajama_set_name; it names the domain of the row: add it")
    if name in LEFT_OUT:
        return None
    if name not in SET_NAMES:
        hint = close_match(name, [*SET_NAMES, *LEFT_OUT], "the sets are")
        raise UserError(f"redpajama_set_name {shown(name)} is unknown; {hint}")
    return SET_NAMES[name]


def any_text(value: Any) -> str:
    """Text of a document, valid Unicode or not."""
    if not isinstance(value, str):
        raise UserError(f"{shown(value)} is not text; correct it, or remove the row")
    return value


FORMS = (Form({"text": Column(any_text), "meta": Column(set_domain)}),)
"""SlimPajama's columns."""


def _read(source: Source, names: list[str], downloads: Path, corpus: Corpus, candidates: Candidates, say: Say) -> None:
    """Read the files in order; those of an earlier, interrupted sampling are not read again."""
    finished = candidates.finished
    progress = _Progress(len(names), len(finished), candidates, say)
    left = [name for name in names if name not in finished]
    with closing(_fetched(source, left, downloads)) as files:
        for name, path in files:
            if not source.is_local and min(candidates.sizes().values()) >= corpus.documents_per_domain:
                return
            with candidates.file(name):
                for row in checked_rows(path, file_label(source, name), FORMS):
                    _take(row.values["text"], row.values["meta"], corpus, candidates)
                    progress.row()
            if not source.is_local:
                path.unlink()
            progress.file()


class _Progress:
    """Progress messages of the reading, at most one per SECONDS_BETWEEN_NEWS."""

    def __init__(self, n_files: int, n_read: int, candidates: Candidates, say: Say) -> None:
        self._n_files, self._n_read, self._n_new, self._n_rows = n_files, n_read, 0, 0
        self._candidates, self._say = candidates, say
        self._began = self._said = time.monotonic()

    def row(self) -> None:
        self._n_rows += 1
        if time.monotonic() - self._said > SECONDS_BETWEEN_NEWS:
            self._report()

    def file(self) -> None:
        self._n_read += 1
        self._n_new += 1
        if self._n_read == self._n_files:
            self._report()

    def _report(self) -> None:
        self._said = time.monotonic()
        sizes = ", ".join(f"{domain} {size:,}" for domain, size in self._candidates.sizes().items())
        left = ""
        if self._n_new and self._n_read < self._n_files:
            seconds = (self._said - self._began) / self._n_new * (self._n_files - self._n_read)
            left = f", at most {seconds / 60:,.0f} minutes left"
        self._say(f"{self._n_read:,} of at most {self._n_files:,} files, {self._n_rows:,} rows{left}; kept: {sizes}")


def _take(text: str, domain: Domain | None, corpus: Corpus, candidates: Candidates) -> None:
    if domain not in corpus.domains:
        candidates.count("rows read, other sets")
        return
    candidates.count(f"rows read, {domain}")
    if not text.strip():
        candidates.count("empty texts left out")
    elif not is_unicode(text):
        candidates.count("texts of no valid Unicode left out")
    else:
        candidates.offer(domain, text)


def _counts(corpus: Corpus, candidates: Candidates) -> dict[str, int]:
    """Counts of the rows read, and of the sample by domain, the shortfall named."""
    taken = candidates.taken()
    counts = {"rows": sum(taken.values()), "files_read": len(candidates.finished)}
    counts |= {f"documents, {domain}": n for domain, n in taken.items()}
    missing = {domain: corpus.documents_per_domain - n for domain, n in taken.items()}
    counts |= {f"documents missing, {domain}": n for domain, n in missing.items() if n}
    shared = sum(candidates.sizes().values()) - counts["rows"]
    counts |= {"documents of two domains": shared} if shared else {}
    return counts | dict(sorted(candidates.counts.items()))


def _fetched(source: Source, names: list[str], downloads: Path) -> Generator[tuple[str, Path], None, None]:
    """The files one after another; files of a hub are fetched ahead of reading."""
    if source.is_local:
        yield from ((name, source.fetch(name)) for name in names)
        return
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        ahead: list[Future[Path]] = []
        try:
            for place, name in enumerate(names):
                while len(ahead) < DOWNLOADS and place + len(ahead) < len(names):
                    ahead.append(pool.submit(source.fetch, names[place + len(ahead)], downloads))
                yield name, ahead.pop(0).result()
        finally:
            pool.shutdown(cancel_futures=True)


def document_id(text: str) -> str:
    """The first 16 hex digits of the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Candidates:
    """The `most` documents per domain with the smallest keys; a key is the SHA-256 of seed and document id.

    The result depends on the set of documents offered, not on their order, and equal texts are one document. Files
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
        """Counts by name, over all files that were read to the end."""
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
        """Transaction of one file: all its documents and counts, or none of them."""
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
        """Remove documents beyond the number; returns the largest key kept, or one above all where it is not full."""
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

    Raises UserError where another process has it, or the file is damaged.
    """
    database = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        database.execute("pragma locking_mode = exclusive")
        database.executescript(f"begin exclusive; {_TABLES} commit;")
        yield Candidates(database, domains, most, seed)
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path}: {error}; where another process draws this sample, wait for its end; where none does, remove the "
            "file: the sample is then drawn from the beginning"
        ) from error
    finally:
        database.close()
