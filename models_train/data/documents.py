"""A seeded sample of documents of SlimPajama's columns, the same on every machine (paper, Section 5.2)."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

from models_train.data.candidates import Candidates, opened_candidates
from models_train.data.columns import Column, Wrong, is_unicode, shown
from models_train.data.problems import DataError
from models_train.data.rows import checked_rows
from models_train.data.sample_files import write_sample
from models_train.data.sources import Source, below, file_label, open_source
from models_train.study.checks import near
from models_train.study.scoring import Corpus, Domain

SET_NAMES = {f"RedPajama{domain}": domain for domain in get_args(Domain)}
"""Names in `meta.redpajama_set_name`, and the domain of each."""
LEFT_OUT = ("RedPajamaCommonCrawl", "RedPajamaC4")
"""Sets that are no domain of the study (paper, Section 5.2)."""

DOWNLOADS = 8
"""Files of a hub that are fetched at once, ahead of reading."""
SECONDS_BETWEEN_NEWS = 10.0

Say = Callable[[str], None]


def sample_documents(corpus: Corpus, study_folder: Path, folder: Path, say: Say) -> dict[str, int]:
    """Draw a sample and write it to a folder (`sample_files`); returns counts. say: told how far it is.

    Per domain the `documents_per_domain` documents with the smallest SHA-256 of seed and document id are taken, equal
    texts once. So the sample depends on the seed and on the texts that are read, not on the order of rows or files.
    Files that are read: of a folder all, or those in its folder `train` if it has one. Of a hub data set these in a
    seeded order, until every domain is full, at most `most_hub_files`. Empty texts, and texts that are no valid
    Unicode, are left out and counted. A domain that has too few documents gives all of them.

    An interrupted sampling goes on after the last file that was read to the end. Raises DataError for rows that cannot
    be used, and where no document is found.
    """
    source = open_source(corpus.source, study_folder)
    names = corpus_files(source, corpus)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / ".candidates.sqlite"
    downloads = folder / ".downloads"
    with opened_candidates(scratch, corpus.domains, corpus.documents_per_domain, corpus.seed) as candidates:
        _read(source, names, downloads, corpus, candidates, say)
        counts = _counts(corpus, candidates)
        if not any(candidates.sizes().values()):
            raise DataError(
                f"{source.label}: no document of {', '.join(corpus.domains)} in {counts['files_read']} files; "
                "meta.redpajama_set_name names the domain of a row: mend the source, or the domains in the study file"
            )
        write_sample(folder, candidates.documents(), counts)
    # After a kill a journal may be left; beside a new database it would be taken for that one's.
    for path in sorted(folder.glob(f"{scratch.name}*"), reverse=True):
        path.unlink()
    shutil.rmtree(downloads, ignore_errors=True)
    return counts


def corpus_files(source: Source, corpus: Corpus) -> list[str]:
    """The files to read, in order: those in the folder `train`, or all; of a hub a seeded choice.

    Raises DataError where there is none.
    """
    names = source.names()
    names = below("train", names) or names
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
            raise Wrong(f"{shown(meta)} is not JSON; give {{redpajama_set_name: ...}}") from error
    name = meta.get("redpajama_set_name") if isinstance(meta, Mapping) else None
    if not isinstance(name, str):
        raise Wrong(f"{shown(meta)} has no redpajama_set_name; it names the domain of the row: add it")
    if name in LEFT_OUT:
        return None
    if name not in SET_NAMES:
        hint = near(name, [*SET_NAMES, *LEFT_OUT], "the sets are")
        raise Wrong(f"redpajama_set_name {shown(name)} is unknown; {hint}")
    return SET_NAMES[name]


def any_text(value: Any) -> str:
    """Text of a document, valid Unicode or not."""
    if not isinstance(value, str):
        raise Wrong(f"{shown(value)} is not text; mend it, or remove the row")
    return value


COLUMNS = {"text": Column(any_text), "meta": Column(set_domain)}


def _read(source: Source, names: list[str], downloads: Path, corpus: Corpus, candidates: Candidates, say: Say) -> None:
    """Read the files in order; those of an earlier, interrupted sampling are not read again."""
    finished = candidates.finished
    news = _News(len(names), len(finished), candidates, say)
    left = [name for name in names if name not in finished]
    with closing(_fetched(source, left, downloads)) as files:
        for name, path in files:
            if not source.is_local and _is_full(candidates, corpus):
                return
            with candidates.file(name):
                for row in checked_rows(path, file_label(source, name), COLUMNS):
                    _take(row.values["text"], row.values["meta"], corpus, candidates)
                    news.row()
            if not source.is_local:
                path.unlink()
            news.file()


class _News:
    """Says now and then how far the reading is."""

    def __init__(self, n_files: int, n_read: int, candidates: Candidates, say: Say) -> None:
        self._n_files, self._n_read, self._n_new, self._n_rows = n_files, n_read, 0, 0
        self._candidates, self._say = candidates, say
        self._began = self._said = time.monotonic()

    def row(self) -> None:
        self._n_rows += 1
        if time.monotonic() - self._said > SECONDS_BETWEEN_NEWS:
            self._tell()

    def file(self) -> None:
        self._n_read += 1
        self._n_new += 1
        if self._n_read == self._n_files:
            self._tell()

    def _tell(self) -> None:
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


def _is_full(candidates: Candidates, corpus: Corpus) -> bool:
    return all(size >= corpus.documents_per_domain for size in candidates.sizes().values())


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
    """The files one after another; of a hub, later ones are fetched meanwhile."""
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
