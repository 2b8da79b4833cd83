"""The sample of documents: choice of files and documents, interruption and resumption."""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_train.data import documents, samples
from models_train.data.documents import sample_documents, set_domain
from models_train.data.records import Document
from models_train.data.samples import document_rows, n_documents, read_sample, sample_counts
from models_train.errors import UserError
from models_train.parts import check_rows
from models_train.study.scoring import Corpus
from models_train.study.training import DataSource
from tests.support import made_data, real_data
from tests.support.data_files import content, document, write
from warehouse.contracts import DOCUMENT_TABLES

ROWS = [document(f"text {n} of {name}", name) for name in ("Github", "Book", "C4") for n in range(40)]


def corpus(path: Path | str, n: int = 10, **more: Any) -> Corpus:
    return Corpus(name="small", source=DataSource(path=str(path)), documents_per_domain=n, **more)


def draw(one: Corpus, folder: Path, say: Callable[[str], None] = lambda _: None) -> list[Document]:
    sample_documents(one, folder, folder / "sample", say)
    return list(read_sample(folder / "sample"))


def identity(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def expected(rows: list[dict[str, Any]], n: int, seed: int = 0) -> list[Document]:
    """The rule, written independently: of each domain's distinct texts those with the smallest hash of seed and id."""
    found = []
    for domain in documents.SET_NAMES.values():
        own = [row for row in rows if row["meta"]["redpajama_set_name"] == f"RedPajama{domain}"]
        ids = {identity(row["text"]): row["text"] for row in own}
        ordered = sorted(ids, key=lambda one: hashlib.sha256(f"{seed} {one}".encode()).hexdigest())
        found += [Document(one, domain, ids[one]) for one in ordered[:n]]
    return sorted(found, key=lambda one: one.document_id)


def test_the_sample_depends_on_seed_and_texts_not_on_rows_files_and_their_forms(tmp_path: Path) -> None:
    write(tmp_path / "one" / "all.jsonl.zst", ROWS)
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    for name, rows in (("z.parquet", shuffled[:50]), ("a.jsonl", shuffled[50:90]), ("b/m.jsonl.gz", shuffled[85:])):
        write(tmp_path / "many" / name, rows)
    one = draw(corpus(tmp_path / "one"), tmp_path / "x")
    many = draw(corpus(tmp_path / "many"), tmp_path / "y")
    assert one == many == expected(ROWS, 10)
    other_seed = draw(corpus(tmp_path / "one", seed=1), tmp_path / "z")
    assert other_seed == expected(ROWS, 10, seed=1) != one


def test_candidates_beyond_the_number_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PRUNE_EVERY", 3)
    assert draw(corpus(write(tmp_path / "all.jsonl", ROWS)), tmp_path) == expected(ROWS, 10)


def test_made_documents(tmp_path: Path) -> None:
    path = made_data.write_documents(tmp_path / "documents.jsonl.zst")
    counts = sample_documents(corpus(path, 60), tmp_path, tmp_path / "sample", lambda _: None)
    assert list(read_sample(tmp_path / "sample")) == expected(list(made_data.documents()), 60)
    assert counts["rows"] == 300 and counts["rows read, Github"] == made_data.DOCUMENTS_PER_DOMAIN


@pytest.mark.real_data
def test_real_documents(tmp_path: Path) -> None:
    counts = sample_documents(corpus(real_data.DOCUMENTS, 100), tmp_path, tmp_path / "sample", lambda _: None)
    sample = list(read_sample(tmp_path / "sample"))
    assert Counter(one.domain for one in sample) == {
        "Github": 100,
        "Book": 93,
        "ArXiv": 100,
        "Wikipedia": 100,
        "StackExchange": 100,
    }
    assert [one.document_id for one in sample] == sorted(identity(one.text) for one in sample)
    assert counts == sample_counts(tmp_path / "sample")
    assert (counts["rows"], counts["documents missing, Book"], counts["rows read, Github"]) == (493, 7, 984)
    assert [path.name for path in (tmp_path / "sample").iterdir()] == ["documents.parquet"]


def test_what_cannot_be_scored_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [document("twice"), document("twice"), document(""), document(" \n"), document("nul \x00, \u2028 é")]
    path = write(tmp_path / "all.jsonl", rows)
    with path.open("ab") as file:
        file.write(b'{"text": "half \\ud800", "meta": {"redpajama_set_name": "RedPajamaGithub"}}\n')
        file.write(json.dumps({"text": "meta as text", "meta": '{"redpajama_set_name": "RedPajamaArXiv"}'}).encode())
    counts = sample_documents(corpus(path), tmp_path, tmp_path / "sample", lambda _: None)
    texts = {one.text: one.domain for one in read_sample(tmp_path / "sample")}
    assert texts == {"twice": "Github", "nul \x00, \u2028 é": "Github", "meta as text": "ArXiv"}
    assert counts["empty texts left out"] == 2
    assert counts["texts of no valid Unicode left out"] == 1
    assert counts["documents missing, Wikipedia"] == 10


def test_a_text_of_two_domains_is_one_document(tmp_path: Path) -> None:
    rows = [document("same", "Book"), document("same", "Github"), document("own", "Book")]
    sample = draw(corpus(write(tmp_path / "all.jsonl", rows)), tmp_path)
    assert {one.text: one.domain for one in sample} == {"same": "Github", "own": "Book"}
    assert sample_counts(tmp_path / "sample")["documents of two domains"] == 1


def test_domains_that_are_not_asked_for_are_left_out(tmp_path: Path) -> None:
    sample = draw(corpus(write(tmp_path / "all.jsonl", ROWS), domains=("Book",)), tmp_path)
    assert {one.domain for one in sample} == {"Book"}
    assert sample_counts(tmp_path / "sample")["rows read, other sets"] == 80


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (document("x", "Githbu"), "unknown; did you mean 'RedPajamaGithub'?"),
        (document("x") | {"meta": {}}, "{} has no redpajama_set_name"),
        (document("x") | {"meta": "{"}, "'{' is not JSON"),
        (document("x") | {"meta": None}, "None has no redpajama_set_name"),
        (document(None), "column text: None is not text"),
        ({"meta": document("x")["meta"]}, "column text: missing"),
    ],
)
def test_a_row_of_another_form_is_refused(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", [*ROWS, row])
    with pytest.raises(UserError) as error:
        draw(corpus(path), tmp_path)
    assert f"{path}, row 121, " in str(error.value)
    assert words in str(error.value)
    assert not (tmp_path / "sample" / "documents.parquet").exists()


def test_a_corpus_without_a_document_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "all.jsonl", [document("x", "C4")])
    with pytest.raises(UserError, match="no document of Github, Book, ArXiv, Wikipedia, StackExchange in 1 files"):
        draw(corpus(path), tmp_path)


def test_sets_that_the_paper_leaves_out_have_no_domain() -> None:
    assert set_domain({"redpajama_set_name": "RedPajamaCommonCrawl"}) is None
    assert set_domain({"redpajama_set_name": "RedPajamaStackExchange"}) == "StackExchange"


def hub_files(n_files: int = 12) -> dict[str, bytes]:
    """SlimPajama's file names; each file of `train` has three texts of each of two domains."""
    files = {"README.md": b"", "validation/chunk1/example_holdout_0.jsonl.zst": content("a.zst", ROWS)}
    for number in range(n_files):
        rows = [document(f"{name} {number} {n}", name) for name in ("Github", "Book", "CommonCrawl") for n in range(3)]
        files[f"train/chunk{number % 3 + 1}/example_train_{number}.jsonl.zst"] = content("a.zst", rows)
    return files


def hub_corpus(n: int = 10, **more: Any) -> Corpus:
    source = DataSource(hub_id="cerebras/SlimPajama-627B")
    return Corpus(name="slim", source=source, documents_per_domain=n, domains=("Github", "Book"), **more)


def test_of_a_hub_no_more_files_are_read_than_fill_the_domains(serve: Callable[..., Any], tmp_path: Path) -> None:
    hub = serve({"cerebras/SlimPajama-627B": hub_files()})
    sample = draw(hub_corpus(), tmp_path / "a")
    assert Counter(one.domain for one in sample) == {"Github": 10, "Book": 10}
    assert sample_counts(tmp_path / "a" / "sample")["files_read"] == 4
    assert all(name.startswith("train/") for name in hub.fetched())
    assert len(hub.fetched()) < 13
    assert draw(hub_corpus(), tmp_path / "b") == sample
    assert {one.text.split()[1] for one in draw(hub_corpus(seed=5), tmp_path / "c")} != {
        one.text.split()[1] for one in sample
    }
    assert [path.name for path in (tmp_path / "a" / "sample").iterdir()] == ["documents.parquet"]


def test_of_a_hub_at_most_the_stated_number_of_files_is_read(serve: Callable[..., Any], tmp_path: Path) -> None:
    hub = serve({"cerebras/SlimPajama-627B": hub_files()})
    assert len(draw(hub_corpus(1000, most_hub_files=2), tmp_path)) == 12
    assert len(hub.fetched()) == 2
    assert sample_counts(tmp_path / "sample")["documents missing, Book"] == 994


def test_an_interrupted_sampling_resumes(
    serve: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "SECONDS_BETWEEN_NEWS", -1.0)
    monkeypatch.setattr(documents, "DOWNLOADS", 1)
    hub = serve({"cerebras/SlimPajama-627B": hub_files()})
    undisturbed = draw(hub_corpus(30), tmp_path / "whole")
    counts = sample_counts(tmp_path / "whole" / "sample")
    order = list(hub.fetched())

    for stop_after in (5, 3, 20):
        left = iter(range(stop_after))

        def say(_: str, left: Any = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            draw(hub_corpus(30), tmp_path / "parts", say)
    before = len(hub.fetched())
    assert draw(hub_corpus(30), tmp_path / "parts") == undisturbed
    assert sample_counts(tmp_path / "parts" / "sample") == counts
    assert hub.fetched()[before:] == order[3:]


def test_two_processes_do_not_draw_one_sample_at_once(tmp_path: Path) -> None:
    folder, source = tmp_path / "sample", write(tmp_path / "all.jsonl", ROWS)
    folder.mkdir()
    other = sqlite3.connect(folder / ".candidates.sqlite")
    other.execute("begin exclusive")
    with pytest.raises(UserError, match="database is locked; where another process draws this sample, wait"):
        draw(corpus(source), tmp_path)
    other.close()
    (folder / ".candidates.sqlite").write_bytes(b"damaged, and long enough to be looked at" * 100)
    with pytest.raises(UserError, match=r"not a database; .* remove the file"):
        draw(corpus(source), tmp_path)


def test_any_range_of_a_sample_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "GROUP_DOCUMENTS", 7)
    whole = draw(corpus(write(tmp_path / "all.jsonl", ROWS), 20), tmp_path)
    folder = tmp_path / "sample"
    assert len(whole) == n_documents(folder) == 40
    for start, stop in ((0, 40), (0, 7), (6, 8), (13, 36), (39, 100), (40, 41), (5, 5)):
        assert list(read_sample(folder, start, stop)) == whole[start:stop]
    assert list(read_sample(folder, 11)) == whole[11:]


def test_rows_of_the_contract_describe_the_texts(tmp_path: Path) -> None:
    draw(corpus(write(tmp_path / "all.jsonl", [document("né"), *ROWS])), tmp_path)
    rows = document_rows(tmp_path / "sample", "small")
    checked = check_rows(DOCUMENT_TABLES["documents"], rows, study_id="s", run_id="r").to_pylist()
    text = {one.document_id: one.text for one in read_sample(tmp_path / "sample")}
    assert len(checked) == len(text) == 20
    for row in checked:
        encoded = text[row["document_id"]].encode()
        assert row["content_hash"] == hashlib.sha256(encoded).hexdigest()
        assert (row["n_bytes"], row["n_characters"]) == (len(encoded), len(encoded.decode()))
        assert row["corpus"] == "small"


def test_a_missing_or_damaged_sample_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no sample of documents; run `python -m models_train.jobs.sample_documents`"):
        list(read_sample(tmp_path))
    (tmp_path / "documents.parquet").write_bytes(b"damaged")
    with pytest.raises(UserError, match="the file is damaged"):
        n_documents(tmp_path)
