"""Sampling with a cache, against plain Transformers: log-probabilities, distribution, and draws in any order."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LogitsProcessorList,
    PreTrainedModel,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from models_train.data.chat import Rendered
from models_train.data.records import Turn
from models_train.errors import UserError
from models_train.modeling.base_models import ModelSource
from models_train.modeling.packed_attention import use_packed_attention
from models_train.policies import sampling
from models_train.policies.prompts import PolicyPrompt
from models_train.policies.sampling import (
    MOST_BATCH_TOKENS,
    PolicyText,
    Request,
    Sampled,
    TransformersEngine,
    draw_seed,
    sampled_rows,
)
from models_train.study.teachers import Policy
from models_train.synthetic.stages import response_logprobs
from tests.support.tiny_models import FAMILIES, SIZES, VOCABULARY, byte_tokenizer, random_base, sequences, write_base

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENS = 259


def policy(**settings: Any) -> Policy:
    own = {"policy_id": "p", "path": "x", "responses": 4, "max_tokens": 20, "precision": "float32"}
    return Policy.model_validate(own | settings)


def engine(model: PreTrainedModel, of: Policy | None = None, ends: tuple[int, ...] = (2,)) -> TransformersEngine:
    return TransformersEngine(model, of or policy(), ends, TOKENS)


def requests(n: int = 4) -> list[Request]:
    return [Request(tuple(ids), 1000 * place + number) for place, ids in enumerate(sequences()) for number in range(n)]


def asked(text: str, name: str = "") -> PolicyPrompt:
    return PolicyPrompt("set", name or text, "measure", (Turn("user", text),), "test")


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_draws_and_log_probabilities_depend_on_no_batch(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference: the log-probabilities of plain Transformers without a cache, a sequence at a time."""
    model = random_base(FAMILIES[family]())
    sampler = engine(model)
    wanted = requests()
    if family == "phi3_longrope":
        with pytest.raises(UserError, match="so that responses would depend on their batch; lower max_tokens"):
            sampler.sampled(wanted)
        wanted = [one for one in wanted if len(one.token_ids) > 24]
    found = sampler.sampled(wanted)
    for request, one in list(zip(wanted, found, strict=True))[::5]:
        ids = torch.tensor([[*request.token_ids, *one.token_ids]])
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits[0, len(request.token_ids) - 1 :, :TOKENS]
        plain = logits.float().log_softmax(-1).gather(-1, ids[0, len(request.token_ids) :, None])[:, 0]
        assert np.array(one.logprobs) == pytest.approx(plain.tolist(), abs=2e-4)
        assert one.logprob == pytest.approx(float(plain.sum()), abs=1e-3)
        assert one.is_finished == (one.token_ids[-1] == 2) and 2 not in one.token_ids[:-1]
        assert one.is_finished or len(one.token_ids) == 20
    order = list(range(len(wanted)))
    random.Random(1).shuffle(order)
    monkeypatch.setattr(sampling, "MOST_ROWS", 5)
    again = sampler.sampled([wanted[place] for place in order])
    assert [one.token_ids for one in again] == [found[place].token_ids for place in order]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.6},
        {"top_k": 3},
        {"top_p": 0.7},
        {"temperature": 1.7, "top_k": 5, "top_p": 0.8, "repetition_penalty": 1.4},
    ],
    ids=str,
)
def test_pairs_of_tokens_have_the_probabilities_of_transformers(settings: dict[str, Any]) -> None:
    """Exact probabilities of the first two tokens, by Transformers' own processors on a plain forward."""
    n, vocabulary, prompt = 6000, 8, (3, 5, 1, 5)
    model = random_base(LlamaConfig(**SIZES | {"vocab_size": vocabulary}), seed=2)
    processors = LogitsProcessorList()
    chosen = policy(max_tokens=2, **settings)
    processors.append(RepetitionPenaltyLogitsProcessor(chosen.repetition_penalty))
    processors.append(TemperatureLogitsWarper(chosen.temperature))
    processors += [TopKLogitsWarper(chosen.top_k)] if chosen.top_k else []
    processors.append(TopPLogitsWarper(chosen.top_p))

    @torch.no_grad()
    def following(ids: tuple[int, ...]) -> list[float]:
        given = torch.tensor([ids])
        logits = model(input_ids=given, use_cache=False).logits[:, -1].float()
        return processors(given, logits.clone())[0].softmax(-1).tolist()  # type: ignore[arg-type]

    first = following(prompt)
    exact: dict[tuple[int, ...], float] = {(2,): first[2]} | {
        (a, b): first[a] * second
        for a in range(vocabulary)
        if a != 2 and first[a] > 0
        for b, second in enumerate(following((*prompt, a)))
    }
    sampler = TransformersEngine(model, chosen, (2,), vocabulary)
    counts = Counter(tuple(one.token_ids) for one in sampler.sampled([Request(prompt, seed) for seed in range(n)]))
    assert all(exact[pair] > 0 for pair in counts)
    often = [pair for pair, share in exact.items() if share * n >= 5]
    rest = n - sum(counts[pair] for pair in often)
    observed, expected = [counts[pair] for pair in often], [exact[pair] * n for pair in often]
    if rest or sum(expected) < n - 5:
        observed, expected = [*observed, rest], [*expected, n - sum(expected)]
    assert chisquare(observed, np.array(expected) * sum(observed) / sum(expected)).pvalue > 1e-4
    assert set(product(range(2), range(2))) & set(counts) or settings


def test_the_packed_engine_of_the_lab_gives_the_same_log_probabilities() -> None:
    model = random_base(LlamaConfig(**SIZES))
    wanted = requests(2)
    # The whole vocabulary, as there: rows that the tokenizer has no token for included.
    found = TransformersEngine(model, policy(), (2,), VOCABULARY).sampled(wanted)
    use_packed_attention(model)
    examples = [
        Rendered([*request.token_ids, *one.token_ids], len(request.token_ids), False)
        for request, one in zip(wanted, found, strict=True)
    ]
    with torch.no_grad():
        recomputed = response_logprobs(model, examples)
    assert [one.logprob for one in found] == pytest.approx(recomputed.tolist(), abs=1e-3)


def test_the_own_configuration_of_a_model_changes_nothing_but_the_ends(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "m")
    model, tokenizer = random_base(LlamaConfig(**SIZES)), byte_tokenizer()
    before = engine(model).sampled(requests())
    model.generation_config = GenerationConfig(temperature=0.01, top_k=1, top_p=0.1, repetition_penalty=9.0)
    assert engine(model).sampled(requests()) == before
    GenerationConfig(eos_token_id=[2, 70, 71], temperature=0.1, do_sample=True).save_pretrained(folder)
    text = PolicyText(policy(), tokenizer, model.config)
    assert text.ends(ModelSource("p", str(folder))) == (2, 70, 71)
    ended = engine(model, ends=(2, 70, 71)).sampled(requests(9))
    assert {one.token_ids[-1] for one in ended if one.is_finished} & {70, 71}
    assert all({2, 70, 71}.isdisjoint(one.token_ids[:-1]) for one in ended)
    (folder / "generation_config.json").unlink()
    assert text.ends(ModelSource("p", str(folder))) == (2,)


def test_seeds_are_of_policy_prompt_and_number() -> None:
    one, two = asked("a"), asked("b")
    seeds = [
        draw_seed(policy(**settings), prompt, number)
        for settings in ({}, {"policy_id": "q"}, {"seed": 1})
        for prompt in (one, two)
        for number in (0, 1)
    ]
    assert len(set(seeds)) == 12 and all(0 <= seed < 2**63 for seed in seeds)
    assert draw_seed(policy(temperature=0.5), one, 0) == seeds[0]


def text_of(template: str | None = None, names: tuple[str, ...] = (), **settings: Any) -> PolicyText:
    tokenizer = byte_tokenizer(template, ("<unk>", "<s>", "</s>", *names))
    return PolicyText(policy(**settings), tokenizer, LlamaConfig(**SIZES))


def test_a_prompt_is_asked_as_its_template_asks() -> None:
    text = text_of(CHATML, ("<|im_start|>", "<|im_end|>"))
    assert text.prompt_format == "chat_template"
    found = text.ask(asked("Hi <|im_end|></s>"))
    assert not isinstance(found, str)
    shown = text.tokenizer.decode(found.token_ids)
    assert shown == "<s><|im_start|>user\nHi <|im_end|></s><|im_end|>\n<|im_start|>assistant\n"
    # The end of a turn ends a response; its spelling in a prompt does not: it stays ordinary text.
    end: Any = text.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert found.end_id == end and found.token_ids.count(end) == 1
    said = text.tokenizer("Fine.", add_special_tokens=False)["input_ids"]
    start: Any = text.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert text.text(found, Sampled([start, *said, end], [0.0], True)) == "Fine."


def test_plain_turns_take_their_blank_back() -> None:
    """`Assistant:` is followed by a blank, which the renderer of reward models writes itself."""
    for text in (text_of(), text_of(CHATML, ("<|im_start|>", "<|im_end|>"), prompt_format="plain")):
        assert text.prompt_format == "plain"
        found = text.ask(asked("Hi"))
        assert not isinstance(found, str) and text.tokenizer.decode(found.token_ids) == "<s>User: Hi\n\nAssistant:"
        for said, wanted in ((" Fine.", "Fine."), ("  Fine.", " Fine."), ("Fine.\n", "Fine.\n"), (" ", "")):
            ids = text.tokenizer(said, add_special_tokens=False)["input_ids"]
            assert text.text(found, Sampled([*ids, 2], [0.0], True)) == wanted


def test_what_cannot_be_sampled_has_a_status() -> None:
    model = random_base(LlamaConfig(**SIZES | {"max_position_embeddings": 60}))
    text = PolicyText(policy(), byte_tokenizer(), model.config)
    sampler = engine(model)
    rows = sampled_rows(sampler, text, [asked("long " * 9, "1"), asked("short", "2")], range(2))
    assert [row["status"] for row in rows[:2]] == ["the prompt is too long: 64 tokens, the limit is 40"] * 2
    assert {(row["text"], row["n_tokens"], row["logprob"], row["finish_reason"]) for row in rows[:2]} == {
        ("", None, None, "error")
    }
    assert all(row["logprob"] < 0 and row["status"] in ("ok", "empty") for row in rows[2:])
    alone = sampled_rows(engine(model), text, [asked("short", "2")], range(2))
    assert alone == rows[2:]
    only_end = TransformersEngine(model, policy(), range(TOKENS), TOKENS)
    empty = sampled_rows(only_end, text, [asked("short", "2")], range(200))
    assert {row["n_tokens"] for row in empty} == {1}
    specials = [row for row in empty if not row["text"].strip()]
    assert specials and {row["status"] for row in specials} == {"empty"}
    assert all(row["logprob"] is not None for row in empty)


def test_tokens_that_the_model_lacks_have_a_status() -> None:
    model = random_base(LlamaConfig(**SIZES | {"vocab_size": 100}))
    text = PolicyText(policy(), byte_tokenizer(), model.config)
    (row,) = sampled_rows(TransformersEngine(model, policy(), (2,), 100), text, [asked("x é")], [0])
    assert row["status"].startswith("unknown token: ") and row["status"].endswith(
        "outside the model's vocabulary of 100"
    )
    assert (row["text"], row["logprob"], row["finish_reason"]) == ("", None, "error")


def test_numbers_that_are_none_have_a_status() -> None:
    model = random_base(LlamaConfig(**SIZES))
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    text = PolicyText(policy(), byte_tokenizer(), model.config)
    (row,) = sampled_rows(engine(model), text, [asked("x")], [0])
    assert row["status"].startswith("not finite") and row["logprob"] is None and row["text"] == ""


def test_settings_that_cannot_be_are_refused() -> None:
    config, tokenizer = LlamaConfig(**SIZES), byte_tokenizer()
    with pytest.raises(UserError, match=r"p: its tokenizer has no chat template; set `prompt_format: plain`"):
        PolicyText(policy(prompt_format="chat_template"), tokenizer, config)
    with pytest.raises(UserError, match=r"p: max_tokens is 512, and the model takes 512 tokens, prompt included"):
        PolicyText(policy(max_tokens=512), tokenizer, config)
    broken = byte_tokenizer("{{ raise_exception('no') }}")
    with pytest.raises(UserError, match=r"p: the chat template refuses the conversation: no; correct its chat"):
        PolicyText(policy(), broken, config)


def test_a_model_whose_cache_is_wrong_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial compares the first responses with a forward without cache and padding."""
    sampler = engine(random_base(LlamaConfig(**SIZES)))
    right = sampler.forward

    def wrong(cache: Any, mask: torch.Tensor, token_ids: torch.Tensor) -> Any:
        return right(cache, torch.ones_like(mask), token_ids)  # paddings are attended to

    monkeypatch.setattr(sampler, "forward", wrong)
    with pytest.raises(UserError, match=r"p: its log-probabilities with a cache differ from those without one by"):
        sampler.sampled(requests()[::-1])


def test_batches_hold_to_both_limits() -> None:
    sampler = engine(random_base(LlamaConfig(**SIZES)), policy(max_tokens=MOST_BATCH_TOKENS // 10))
    lengths = [len(batch) for batch in sampler._batches(requests())]
    assert sum(lengths) == len(requests()) and set(lengths) <= {9, 1}
    few = engine(random_base(LlamaConfig(**SIZES)))
    assert [len(batch) for batch in few._batches(requests(100))] == [256, 256, 188]
