"""Shards: cut, claimed by one process at a time, and what belongs to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from models_train.data.records import Document
from models_train.data.samples import write_sample
from models_train.errors import UserError
from models_train.logprobs.shards import Shards, documents_of, sample_content
from models_train.metering import Costs
from models_train.study.scoring import Shard, cut
from tests.support.data_files import REPOSITORY
from tests.support.scoring_studies import documents


def shards(folder: Path, n: int = 3) -> Shards:
    return Shards(folder / "work", folder / "parts", "demo", "run", cut(n * 10, 10))


def finish(some: Shards, shard: Shard) -> None:
    some.part(shard).parent.mkdir(parents=True, exist_ok=True)
    some.part(shard).touch()


@pytest.mark.parametrize(
    ("n", "per_shard", "wanted"),
    [(10, 4, [(0, 4), (4, 8), (8, 10)]), (8, 4, [(0, 4), (4, 8)]), (1, 4, [(0, 1)]), (0, 4, [])],
)
def test_shards_hold_every_document_once(n: int, per_shard: int, wanted: list[tuple[int, int]]) -> None:
    found = cut(n, per_shard)
    assert [(shard.start, shard.stop) for shard in found] == wanted
    assert [shard.name for shard in found] == [f"0000{index}" for index in range(len(wanted))]


def test_claims_go_through_what_is_left(tmp_path: Path) -> None:
    some = shards(tmp_path)
    order = []
    while some.left():
        with some.claimed() as shard:
            assert shard is not None
            order.append(shard.name)
            finish(some, shard)
    assert order == ["00000", "00001", "00002"]
    with some.claimed() as shard:
        assert shard is None


def test_a_shard_whose_work_failed_is_left(tmp_path: Path) -> None:
    some = shards(tmp_path)
    with pytest.raises(ZeroDivisionError), some.claimed():
        raise ZeroDivisionError
    with some.claimed() as shard:
        assert shard is not None and shard.name == "00000"


OTHER = """
import sys
from pathlib import Path
from models_train.logprobs.shards import Shards
from models_train.study.scoring import cut
folder = Path(sys.argv[1])
some = Shards(folder / "work", folder / "parts", "demo", "run", cut(30, 10))
with some.claimed() as shard:
    print(shard.name, flush=True)
    sys.stdin.read()
"""


def test_another_process_gets_another_shard_and_a_killed_one_loses_its_claim(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "00000\n"
        some = shards(tmp_path)
        with some.claimed() as shard:
            assert shard is not None and shard.name == "00001"
        other.kill()
        other.wait()
        with some.claimed() as shard:
            assert shard is not None and shard.name == "00000"


def test_what_the_shards_are_made_from_may_not_change(tmp_path: Path) -> None:
    some = shards(tmp_path)
    facts = {"the tokenizer": "a", "the sample of documents": "b"}
    some.agree(facts)
    some.agree(facts)
    with pytest.raises(UserError, match=r"the tokenizer changed since the scoring began \(0 of 3 shards are done\)"):
        shards(tmp_path).agree(facts | {"the tokenizer": "c"})
    some.agree(facts)


def test_costs_of_all_work_add_up_and_a_repeated_piece_counts_once(tmp_path: Path) -> None:
    some = shards(tmp_path)
    with pytest.raises(UserError, match="no longer holds what the finished shards cost"):
        some.costs()
    for name, seconds in (("00000", 3.0), ("00001", 4.0), ("00000", 2.0)):
        some.add_costs(name, Costs(10, seconds, "cpu", 1, False, 5, "{}"))
    assert some.costs() == Costs(20, 6.0, "cpu", 1, False, 5, "{}")
    some.add_costs("00002", Costs(1, 1.0, "A100", 1, True, 7, "{}"))
    assert some.costs() == Costs(21, 7.0, "A100 + cpu", 1, True, 7, "{}")


def test_documents_of_a_shard_are_those_that_were_sampled(tmp_path: Path) -> None:
    sample = documents(12)
    write_sample(tmp_path, sample, {})
    assert documents_of(tmp_path, Shard(1, 5, 10)) == sample[5:10]
    before = sample_content(tmp_path)
    write_sample(tmp_path, sample[1:], {})
    assert sample_content(tmp_path) != before
    write_sample(tmp_path, [Document(sample[0].document_id, "Book", "another text")], {})
    with pytest.raises(UserError, match=f"the text of document {sample[0].document_id} is not the one"):
        documents_of(tmp_path, Shard(0, 0, 1))
