"""Leaderboards of reward models: their files, what people have wrong in them, and the base of an entry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models_train.benchmarks.entry_bases import Base, HubCards, base_of, family_of_config, family_of_name
from models_train.benchmarks.leaderboards import RESULTS, Board, Entry, read_leaderboard
from models_train.errors import UserError
from models_train.study.leaderboards import LeaderboardImport
from tests.support import hub_server
from tests.support.leaderboard_files import BEAVER, write_result

DOMAINS = ("Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties")


def imported(path: str, form: str = "rewardbench") -> LeaderboardImport:
    return LeaderboardImport.model_validate(
        {"name": "Board", "path": path, "format": form, "snapshot_date": "2024-12-01"}
    )


def read(folder: Path, form: str = "rewardbench", path: str = "board") -> Board:
    return read_leaderboard(imported(path, form), folder)


def refused(folder: Path, form: str = "rewardbench", path: str = "board") -> str:
    with pytest.raises(UserError) as caught:
        read(folder, form, path)
    return str(caught.value)


def test_result_files_of_reward_bench_are_entries_in_percent(tmp_path: Path) -> None:
    write_result(tmp_path / "board", BEAVER)
    write_result(tmp_path / "board", {**BEAVER, "model": "org/b", "xstest": 3, "model_type": "Generative RM"})
    write_result(tmp_path / "board", {**BEAVER, "model": "/net/nfs.cirrascale/ai2/run"})
    write_result(tmp_path / "board", {**BEAVER, "model": "org/c", "model_type": "DPO Ref. Free"})
    board = read(tmp_path)
    assert [entry.name for entry in board.entries] == ["PKU-Alignment/beaver-7b-v1.0-cost", "org/b"]
    first, judge = board.entries
    assert first.hub_id == first.name and first.score is None
    assert first.results["hep-cpp"] == pytest.approx(62.8, abs=0.01)
    assert set(first.results) == RESULTS["rewardbench"] and "xstest" not in judge.results
    assert not first.is_judge and judge.is_judge
    assert board.left_out == {"internal runs (ai2)": 1, "DPO models without reference": 1}


def test_the_score_of_rewardbench_2_is_the_mean_of_six_domains(tmp_path: Path) -> None:
    results = dict(zip(DOMAINS, (0.6, 0.5, 0.7, 0.8, 0.9, 1.01), strict=True))
    write_result(tmp_path / "board", {"model": "org/a", "model_type": "Seq. Classifier", **results})
    write_result(tmp_path / "board", {"model": "org/part", **dict(list(results.items())[:5])})
    whole, part = read(tmp_path, "rewardbench2").entries
    assert whole.score == pytest.approx(100 * (0.6 + 0.5 + 0.7 + 0.8 + 0.9 + 1.01) / 6)
    assert part.score is None and len(part.results) == 5
    assert read(tmp_path, "rewardbench2").remarks == [
        "board: 1 files lack results: no score, and no place among the best"
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hep-cpp": 62.8}, "hep-cpp: 62.8 is not a share from 0 to 1"),
        ({"hep-cpp": float("nan")}, "hep-cpp: nan is no result; the run failed there"),
        ({"hep-cpp": None}, "hep-cpp: None is no number"),
        ({"hep-cpp": True}, "hep-cpp: True is no number"),
        ({"hep-cpp": [0.5]}, "hep-cpp: [0.5] is no number"),
        ({"model": ""}, "states no model"),
        ({"model": "org/a\x1b[2J"}, "is too long or holds a control character"),
        ({"model": "org/" + "a" * 300}, "is too long or holds a control character"),
        ({"model": ["a", "b"]}, "states no model"),
    ],
)
def test_a_wrong_result_is_named_with_its_file(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    write_result(tmp_path / "board", BEAVER | change, "wrong")
    message = refused(tmp_path)
    assert message.startswith("board/wrong.json: ") and said in message and len(message.splitlines()) == 1


def test_files_that_are_no_results_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    assert refused(tmp_path) == "board: the folder has no result file (*.json); give the folder eval-set"
    (folder / "empty.json").write_text("")
    (folder / "list.json").write_text("[]")
    (folder / "lfs.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    (folder / "other.json").write_text(json.dumps({"model": "org/a", "accuracy": 0.5}))
    (folder / "two.json").write_text(json.dumps({"model": "org/a", **dict.fromkeys(DOMAINS, 0.5)}))
    lines = refused(tmp_path).splitlines()
    assert len(lines) == 5
    assert "is not JSON" in lines[0] and "pointer of Git LFS" in lines[1] and "holds a list" in lines[2]
    assert "other.json: has none of the results of the format rewardbench; take it out of the folder" in lines[3]
    assert lines[4].endswith("two.json: has none of the results of the format rewardbench; its format is rewardbench2")


def test_a_model_in_two_files_is_refused(tmp_path: Path) -> None:
    write_result(tmp_path / "board", BEAVER, "a")
    write_result(tmp_path / "board", BEAVER, "b")
    text = "board/b.json: PKU-Alignment/beaver-7b-v1.0-cost is already in board/a.json; keep one of them"
    assert refused(tmp_path) == text


CSV = """,Model,Model Type,Score,Chat,Chat Hard
1,"<a target=""_blank"" href=""https://huggingface.co/org/a"">org/a</a>",Seq. Classifier,95.1,98.0,90.1
2,openai/gpt-4o-2024-08-06,Generative,86.7,96.1,
3,org/c ⚠️,Custom Classifier,-,50.0,60
"""


def test_the_table_of_a_leaderboard(tmp_path: Path) -> None:
    (tmp_path / "board").write_text("\ufeff" + CSV)
    first, judge, third = read(tmp_path, "csv").entries
    assert (first.name, first.hub_id, first.score) == ("org/a", "org/a", 95.1)
    assert first.results == {"Chat": 98.0, "Chat Hard": 90.1}
    assert judge.is_judge and judge.results == {"Chat": 96.1}
    assert (third.name, third.score) == ("org/c", None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("95.1", "951", "row 2, Score: 951 is not from 0 to 100"),
        ("95.1", "-3", "row 2, Score: -3 is not from 0 to 100"),
        ("95.1", '"95,1"', "row 2, Score: '95,1' is not a number; write it like 92.5"),
        ("98.0", "1e2", "row 2, Chat: '1e2' is not a number"),
        ("95.1,98.0", "95,1,98.0", "row 2: has 7 cells, the header has 6"),
        (",Model,", ",Modell,", "has no column model or model name; its columns are Modell, Model Type"),
        ("Score", "Rank", "has no column score or average or overall or avg"),
        ("Chat Hard", "Chat", "a column is there twice"),
        ("org/c ⚠️", "openai/gpt-4o-2024-08-06", "row 4: openai/gpt-4o-2024-08-06 is already in board, row 3"),
        ("org/c ⚠️", " ", "row 4: names no model"),
        ("org/c ⚠️", '"org/c', "is not valid CSV"),
        (CSV, ";Model;Score\n1;org/a;95.1\n", "separate the cells by commas"),
        (CSV, ",Model,Score\n", "the table has no rows"),
        (CSV, "Model,Score\na,-\nb,\n", "no row has a score; correct the column Score"),
        (CSV, ",Model,Score\n1,a,0.9\n2,b,0.8\n", "no score is above 1; give them in percent"),
        (CSV, "", "the table has no rows"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    (tmp_path / "board").write_text(CSV.replace(old, new, 1))
    assert said in refused(tmp_path, "csv")


def test_other_files_in_place_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("Model,Score\nMüller,90\n".encode("latin-1"))
    assert refused(tmp_path, "csv", "latin") == "latin: is not UTF-8 text; save it as UTF-8"
    assert "is a folder; the format csv reads one file: name it" in refused(tmp_path, "csv", ".")
    assert "there is no" in refused(tmp_path, "csv", "nowhere")


README = """# RM-Bench

| Benchmark | Size |
|---|---|
| RM-Bench | 1327 |

| Model Name | Model Type | Chat | Math | Code | Hard | Overall | Potentially Score Mismatch |
|:-----------|:-----------|:-----|:-----|:-----|:-----|--------:|:---------------------------|
| [DeepSeek R1](https://huggingface.co/deepseek-ai/DeepSeek-R1) | Reasoning LLM | 84.2 | 72.7 | 93.6 | 80.2 | 85.3 | - |
| [A + voting@32](https://huggingface.co/org/a) | GenRM | 76.3 | 93.2 | - | 75.9 | **85.5** | No |
| [Paper only](https://arxiv.org/pdf/2507.01352) | Scalar RM | - | - | - | 93.5 | - | Yes |

| Model Name | Overall |
|---|---|
| elsewhere | 1 |
"""


def test_the_readme_of_rm_bench_with_its_known_slip(tmp_path: Path) -> None:
    (tmp_path / "board").write_text(README)
    board = read(tmp_path, "rm_bench")
    r1, voting, paper = board.entries
    assert r1.is_judge and (r1.results["Math"], r1.results["Code"], r1.score) == (93.6, 72.7, 85.3)
    text = "board, row 9: Math and Code of DeepSeek R1 are exchanged, as RM-Bench's own README has them"
    assert board.remarks == [text]
    assert (voting.hub_id, voting.score, voting.is_judge) == ("org/a", 85.5, False) and "Code" not in voting.results
    assert (paper.hub_id, paper.score) == (None, None)
    (tmp_path / "board").write_text(README.replace("72.7 | 93.6", "93.6 | 72.7"))
    assert read(tmp_path, "rm_bench").remarks == [], "mended at the source"


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Skywork/Skywork-Reward-Llama-3.1-8B-v0.2", "Llama-3.x"),
        ("nvidia/Llama-3_3-Nemotron-70B-Reward", "Llama-3.x"),
        ("LxzGordon/URM-LLaMa-3-8B", "Llama-3.x"),
        ("RLHFlow/ArmoRM-Llama3-8B-v0.1", "Llama-3.x"),
        ("org/llama-30b-rm", "Llama"),
        ("berkeley-nest/rm-Llama-2-7b", "Llama-2"),
        ("weqweasdas/RM-Gemma-2B", "Gemma"),
        ("google/gemma-2b-it", "Gemma"),
        ("Ray2333/GRM-Gemma2-2B-rewardmodel-ft", "Gemma-2"),
        ("google/gemma-2-27b-it", "Gemma-2"),
        ("org/rm-gemma-27b", "Gemma"),
        ("Qwen/WorldPM-Qwen2.5-72B", "Qwen2.5"),
        ("Skywork/Skywork-Reward-V2-Qwen3-4B", "Qwen3"),
        ("Qwen/Qwen2-7B", "Qwen2"),
        ("internlm/internlm2-20b-reward", "InternLM2"),
        ("01-ai/Yi-34B-Chat", "Yi"),
        ("weqweasdas/RM-Mistral-7B", "Mistral"),
        ("openbmb/Eurus-RM-7b", None),
        ("PKU-Alignment/beaver-7b-v1.0-cost", None),
        ("org/olympics-rm", None),
    ],
)
def test_family_by_name(name: str, family: str | None) -> None:
    assert family_of_name(name) == family


@pytest.mark.parametrize(
    ("config", "family"),
    [
        ({"model_type": "llama", "vocab_size": 128257}, "Llama-3.x"),
        ({"model_type": "llama", "vocab_size": 32001, "max_position_embeddings": 4096}, "Llama-2"),
        ({"model_type": "llama", "vocab_size": 32001, "max_position_embeddings": 2048}, "Llama"),
        ({"model_type": "llama", "vocab_size": 32001}, None),
        ({"model_type": "llama", "vocab_size": 64000}, "Yi"),
        ({"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 5120}, "Qwen2.5"),
        ({"model_type": "qwen2", "vocab_size": 151936, "hidden_size": 3584}, "Qwen2 or 2.5"),
        ({"model_type": "gemma2", "vocab_size": 256000}, "Gemma-2"),
        ({"model_type": "made_up", "vocab_size": 256000}, None),
        ({"model_type": "llama", "vocab_size": "many"}, None),
        ({}, None),
    ],
)
def test_family_by_configuration(config: dict[str, Any], family: str | None) -> None:
    assert family_of_config(config) == family


def entry(name: str, *, judge: bool = False) -> Entry:
    return Entry(name, name if "/" in name else None, None, 90.0, {}, judge, "board, row 2")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[hub_server.Hub]:
    with hub_server.served({}) as served:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        address = served.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
        served.models = [
            {"id": name, "cardData": {"base_model": base, **more}}
            for name, base, more in (
                ("org/rm", "org/sft", {}),
                ("org/sft", ["meta-llama/Llama-3.1-8B"], {"base_model_relation": "finetune"}),
                ("meta-llama/Llama-3.1-8B", None, {}),
                ("org/adapter", "google/gemma-2-9b-it", {"base_model_relation": "adapter"}),
                ("google/gemma-2-9b-it", "google/gemma-2-9b", {}),
                ("google/gemma-2-9b", None, {}),
                ("org/merge", ["org/rm", "org/mistral-rm"], {"base_model_relation": "merge"}),
                ("org/mistral-rm", "mistralai/Mistral-7B-v0.1", {}),
                ("mistralai/Mistral-7B-v0.1", None, {}),
                ("org/circle", "org/circle-b", {}),
                ("org/circle-b", "org/circle", {}),
                ("org/odd-card", {"not": "a name"}, {}),
                ("org/path-card", ["./models/llama", "org/path-card", 7], {}),
            )
        ]
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        yield served


def test_a_card_is_followed_to_its_root(hub: hub_server.Hub, tmp_path: Path) -> None:
    cards = HubCards(tmp_path)
    assert base_of(entry("org/rm"), cards) == Base("model", "meta-llama/Llama-3.1-8B", "Llama-3.x", "card")
    assert base_of(entry("org/adapter"), cards) == Base("adapter", "google/gemma-2-9b", "Gemma-2", "card")
    merge = base_of(entry("org/merge"), cards)
    assert (merge.kind, merge.base_family) == ("merge", "Mistral + Llama-3.x")
    assert base_of(entry("org/circle"), cards).base_model == "org/circle-b"
    for name in ("org/odd-card", "org/path-card"):
        assert base_of(entry(name), cards) == Base("model", None, "unknown", "unknown")
    assert base_of(entry("org/nowhere-Qwen2.5-7B"), cards) == Base("model", None, "Qwen2.5", "name")
    assert base_of(entry("gpt-4o", judge=True), cards) == Base("judge", None, "unknown", "unknown")
    assert cards.n_unasked == 0
    # A second import asks nothing again.
    asked = len(hub.asked)
    assert base_of(entry("org/rm"), HubCards(tmp_path)).base_source == "card" and len(hub.asked) == asked


def test_without_a_base_on_the_card_the_configuration_answers(hub: hub_server.Hub, tmp_path: Path) -> None:
    configs = {
        "org/plain": {"model_type": "gemma2", "vocab_size": 256000, "_name_or_path": "/local/checkpoint"},
        "org/trained": {"model_type": "llama", "vocab_size": 32001, "_name_or_path": "mistralai/Mistral-7B-v0.1"},
        "org/own-name-Qwen3": {"model_type": "made_up", "vocab_size": 1, "_name_or_path": "org/own-name-Qwen3"},
    }
    hub.repositories = {name: {"config.json": json.dumps(config).encode()} for name, config in configs.items()}
    hub.repositories["org/broken-Qwen3"] = {"config.json": b"{"}
    hub.repositories["org/without-config"] = {"README.md": b"no words"}
    cards = HubCards(tmp_path)
    assert base_of(entry("org/plain"), cards) == Base("model", None, "Gemma-2", "config")
    assert base_of(entry("org/trained"), cards) == Base("model", "mistralai/Mistral-7B-v0.1", "Mistral", "config")
    assert base_of(entry("org/own-name-Qwen3"), cards) == Base("model", None, "Qwen3", "name")
    assert base_of(entry("org/broken-Qwen3"), cards) == Base("model", None, "Qwen3", "name")
    assert base_of(entry("org/without-config"), cards) == Base("model", None, "unknown", "unknown")
    assert cards.n_unasked == 0
    # A damaged file of kept answers is no answer.
    (tmp_path / "hub_bases" / "org%2Fplain.json").write_text("[")
    assert base_of(entry("org/plain"), HubCards(tmp_path)).base_source == "config"


def test_without_a_hub_the_name_answers_and_nothing_is_kept(hub: hub_server.Hub, tmp_path: Path) -> None:
    hub.refusal = (403, {})
    cards = HubCards(tmp_path)
    assert base_of(entry("org/rm"), cards) == Base("model", None, "unknown", "unknown")
    assert base_of(entry("org/Llama-3-rm"), cards) == Base("model", None, "Llama-3.x", "name")
    assert cards.n_unasked == 2 and cards.problem and len([one for one in hub.asked if "org/" in one]) == 1
    assert not (tmp_path / "hub_bases").exists()
