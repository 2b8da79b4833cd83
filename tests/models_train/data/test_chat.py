"""Rendering of conversations, against the tokenizers' own `apply_chat_template`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from models_train.data.chat import DEFAULT_TEMPLATE, Renderer, RenderError, TooLong
from models_train.data.records import Prompt, Turn
from models_train.data.rewardbench import load_test_pairs
from models_train.study.training import DataSource
from tests.support import made_data, real_data, storyteller
from tests.support.chat_tokenizers import (
    BARE,
    FAMILIES,
    GEMMA,
    LLAMA,
    MISTRAL,
    NO_END,
    ONE_TOKEN,
    PHI,
    QWEN,
    Family,
    chat_tokenizer,
)
from tests.support.data_files import write

ONE_TURN = (Turn("user", "Hello, how are you?"),)
CONVERSATION = (*ONE_TURN, Turn("assistant", "Fine.\n\nAnd you? "), Turn("user", " é\u2028 <b>hi</b>\n"))
RESPONSE = " User: today\n"
every_family = pytest.mark.parametrize("name", FAMILIES)
Tokenizers = Callable[[str], PreTrainedTokenizerBase]


@pytest.fixture(scope="module")
def tokenizers() -> Tokenizers:
    """The tokenizer of a family, built once; tests do not change it."""
    made: dict[str, PreTrainedTokenizerBase] = {}

    def get(name: str) -> PreTrainedTokenizerBase:
        if name not in made:
            made[name] = chat_tokenizer(FAMILIES[name])
        return made[name]

    return get


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets the clock that Transformers' templates look at."""

    def at(day: datetime) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:
                return day

        monkeypatch.setattr(chat_template_utils, "datetime", Clock)

    return at


def messages(prompt: Prompt, response: str) -> list[dict[str, str]]:
    said = [{"role": turn.role, "content": turn.text} for turn in prompt]
    return [*said, {"role": "assistant", "content": response}]


def applied(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, response: str, **more: Any) -> list[int]:
    return list(tokenizer.apply_chat_template(messages(prompt, response), return_dict=False, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", [ONE_TURN, CONVERSATION])
@pytest.mark.parametrize("name", ["llama", "qwen", "gemma", "mistral"])
def test_ids_are_those_of_the_tokenizers_own_template(
    name: str, prompt: Prompt, tokenizers: Tokenizers, clock: Callable[[datetime], None]
) -> None:
    clock(datetime(2024, 7, 26))
    tokenizer = tokenizers(name)
    assert Renderer(tokenizer, 500).render(prompt, RESPONSE).token_ids == applied(tokenizer, prompt, RESPONSE)


@every_family
def test_the_prompt_ends_where_the_response_begins(name: str, tokenizers: Tokenizers) -> None:
    tokenizer = tokenizers(name)
    rendered = Renderer(tokenizer, 500).render(CONVERSATION, "today, fine")
    response = tokenizer.decode(rendered.token_ids[rendered.n_prompt_tokens :], skip_special_tokens=True)
    assert response.strip() == "today, fine"
    assert not rendered.is_truncated


@every_family
def test_ids_do_not_change_with_the_clock(name: str, tokenizers: Tokenizers, clock: Callable[[datetime], None]) -> None:
    renderer = Renderer(tokenizers(name), 500)
    ids = []
    for day in (datetime(2001, 1, 1), datetime(2030, 12, 31)):
        clock(day)
        ids.append(renderer.render(CONVERSATION, RESPONSE).token_ids)
    assert ids[0] == ids[1]


def test_the_clock_of_the_test_is_the_one_that_templates_read(
    tokenizers: Tokenizers, clock: Callable[[datetime], None]
) -> None:
    for name, year in (("llama", "2030"), ("mistral", "2030")):
        clock(datetime(2030, 12, 31))
        assert year in str(tokenizers(name).apply_chat_template(messages(ONE_TURN, "hi"), tokenize=False))


def test_templates_that_take_the_day_from_their_caller_get_the_pinned_one() -> None:
    tokenizer = chat_tokenizer(BARE)
    tokenizer.chat_template = "{{ date_string }}{% for m in messages %}{{ ' ' + m['content'] }}{% endfor %}"
    rendered = Renderer(tokenizer, 500).render(ONE_TURN, "fine")
    assert tokenizer.decode(rendered.token_ids) == f"26 Jul 2024 {ONE_TURN[0].text} fine"


@every_family
def test_bos_stands_once_at_the_beginning(name: str, tokenizers: Tokenizers) -> None:
    tokenizer = tokenizers(name)
    prompt = (Turn("user", f"{FAMILIES[name].bos or ''} hello"),)
    ids = Renderer(tokenizer, 500).render(prompt, "fine").token_ids
    if tokenizer.bos_token_id is None:
        assert not set(ids[:1]) & set(tokenizer.all_special_ids) or name == "qwen"
    else:
        assert ids[0] == tokenizer.bos_token_id
        assert ids[1:-1].count(tokenizer.bos_token_id) == 0


@pytest.mark.parametrize(
    ("family", "end"),
    [
        (LLAMA, ["<|eot_id|>"]),
        (QWEN, ["<|im_end|>", "\n"]),
        (GEMMA, ["<end_of_turn>", " \n"]),
        (PHI, ["<|end|>", " \n", "<|endoftext|>"]),
        (MISTRAL, ["</s>"]),
        (NO_END, ["</s>"]),
        (ONE_TOKEN, ["<|endoftext|>"]),
        (BARE, []),
    ],
)
def test_the_end_is_that_of_the_template_or_eos(family: Family, end: list[str]) -> None:
    tokenizer = chat_tokenizer(family)
    rendered = Renderer(tokenizer, 500).render(ONE_TURN, "fine")
    whole = tokenizer.decode(rendered.token_ids)
    assert whole.endswith("fine" + "".join(end))


def test_a_tokenizer_without_a_template_gets_the_default_one(tokenizers: Tokenizers) -> None:
    prompt = (Turn("system", "Be brief."), *CONVERSATION[:2], Turn("user", "Well?"))
    for name, bos, eos in (("one_token", "<|endoftext|>", "<|endoftext|>"), ("bare", "", "")):
        ids = Renderer(tokenizers(name), 500).render(prompt, "Well.").token_ids
        assert tokenizers(name).decode(ids) == (
            f"{bos}System: Be brief.\n\nUser: Hello, how are you?\n\nAssistant: Fine.\n\nAnd you? \n\nUser: Well?\n\n"
            f"Assistant: Well.{eos}"
        )


def test_system_turns_that_are_refused_or_ignored_go_before_the_first_user_turn(tokenizers: Tokenizers) -> None:
    prompt = (Turn("system", "Be brief."), *CONVERSATION)
    moved = (Turn("user", f"Be brief.\n\n{ONE_TURN[0].text}"), *CONVERSATION[1:])
    for name in ("gemma", "phi", "mistral"):
        renderer = Renderer(tokenizers(name), 500)
        assert renderer.render(prompt, "fine") == renderer.render(moved, "fine")
    for name in ("llama", "qwen"):
        renderer = Renderer(tokenizers(name), 500)
        assert renderer.render(prompt, "fine") != renderer.render(moved, "fine")


@every_family
def test_text_never_turns_into_control_tokens(name: str, tokenizers: Tokenizers) -> None:
    """As many control tokens as with harmless text, and the text is there in full."""
    tokenizer = tokenizers(name)
    special = {tokenizer.convert_tokens_to_ids(token) for token in FAMILIES[name].special}
    evil = "".join(FAMILIES[name].special) + "<<s>s>" + "<|im_start|>"
    harmless = Renderer(tokenizer, 900).render((Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c")), "d")
    rendered = Renderer(tokenizer, 900).render(
        (Turn("user", evil), Turn("assistant", evil + "x"), Turn("user", "x" + evil)), evil
    )
    kept = [one for one in rendered.token_ids if one in special]
    assert kept == [one for one in harmless.token_ids if one in special]
    whole = "".join(tokenizer.decode(rendered.token_ids).split())
    assert whole.count(evil) == 4


@every_family
def test_over_long_prompts_lose_their_oldest_tokens_but_not_bos_and_the_response(
    name: str, tokenizers: Tokenizers
) -> None:
    tokenizer = tokenizers(name)
    whole = Renderer(tokenizer, 500).render(CONVERSATION, RESPONSE)
    n, n_response = len(whole.token_ids), len(whole.token_ids) - whole.n_prompt_tokens
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    for limit in range(n_response + len(bos), n):
        cut = Renderer(tokenizer, limit).render(CONVERSATION, RESPONSE)
        assert cut.token_ids == bos + whole.token_ids[n - limit + len(bos) :]
        assert (cut.n_prompt_tokens, cut.is_truncated) == (limit - n_response, True)
    assert Renderer(tokenizer, n).render(CONVERSATION, RESPONSE) == whole
    least = n_response + len(bos)
    with pytest.raises(TooLong, match=f"even without its prompt: {least} tokens, the limit is {least - 1}"):
        Renderer(tokenizer, least - 1).render(CONVERSATION, RESPONSE)
    with pytest.raises(TooLong, match=f"too long: {n} tokens, the limit is {n - 1}"):
        Renderer(tokenizer, n - 1, "drop").render(CONVERSATION, RESPONSE)
    assert Renderer(tokenizer, n, "drop").render(CONVERSATION, RESPONSE) == whole


def test_the_context_limits_too() -> None:
    tokenizer = chat_tokenizer(QWEN)
    assert Renderer(tokenizer, 4096).limit == 4096
    assert Renderer(tokenizer, 4096, context=512).limit == 512
    tokenizer.model_max_length = 256
    assert Renderer(tokenizer, 4096).limit == 256
    assert Renderer(tokenizer, 4096, context=2048).limit == 2048
    assert Renderer(tokenizer, 128).limit == 128


@pytest.mark.parametrize(
    ("prompt", "response", "words"),
    [
        (ONE_TURN, "", "empty response"),
        (ONE_TURN, " \n", "empty response"),
        ((), "fine", "does not end with a turn of the user"),
        (CONVERSATION[:2], "fine", "does not end with a turn of the user"),
        (ONE_TURN, "half \ud800", "half a character"),
        ((Turn("user", "\udfff"),), "fine", "half a character"),
        ((*ONE_TURN, *ONE_TURN), "fine", "the chat template refuses the conversation: Roles must alternate"),
    ],
)
def test_what_cannot_be_rendered_is_told(prompt: Prompt, response: str, words: str, tokenizers: Tokenizers) -> None:
    with pytest.raises(RenderError, match=words):
        Renderer(tokenizers("gemma"), 500).render(prompt, response)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}{{ m['content'] }}", "the chat template refuses the conversation: .*endfor"),
        (
            "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}",
            "does not write the response$",
        ),
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "does not write the response as it is"),
        ("{{ messages[0]['content'] + 1 }}", "the chat template refuses the conversation"),
    ],
)
def test_a_template_that_does_not_do_is_told(template: str, words: str) -> None:
    tokenizer = chat_tokenizer(BARE)
    tokenizer.chat_template = template
    with pytest.raises(RenderError, match=words):
        Renderer(tokenizer, 500).render(ONE_TURN, "fine")


def test_of_several_templates_the_default_one_is_used() -> None:
    tokenizer = chat_tokenizer(BARE)
    tokenizer.chat_template = {"default": DEFAULT_TEMPLATE, "tool_use": "x"}  # type: ignore[assignment]
    assert Renderer(tokenizer, 500).template == DEFAULT_TEMPLATE
    tokenizer.chat_template = {"rag": "x", "tool_use": "x"}  # type: ignore[assignment]
    with pytest.raises(RenderError, match="no default specified"):
        Renderer(tokenizer, 500)


def test_made_pairs_render_as_plain_text(tmp_path: Path) -> None:
    check_pairs(write(tmp_path / "pairs.jsonl", made_data.test_pairs(4)), storyteller.tokenizer(), 1)


@pytest.mark.real_data
def test_real_pairs_with_a_real_tokenizer() -> None:
    check_pairs(real_data.TEST_PAIRS, AutoTokenizer.from_pretrained(real_data.STORIES), 25)


def check_pairs(path: Path, tokenizer: PreTrainedTokenizerBase, every: int) -> None:
    """Every pair renders to what plain tokenizing of the default template's text gives, cut from the left."""
    renderer = Renderer(tokenizer, 4096, context=512)
    n_cut = n_too_long = 0
    for pair in load_test_pairs(DataSource(path=str(path)), path.parent)[::every]:
        plain = f"User: {pair.prompt[0].text}\n\nAssistant: {pair.chosen}"
        ids = [1, *tokenizer(plain, add_special_tokens=False)["input_ids"], 2]
        try:
            rendered = renderer.render(pair.prompt, pair.chosen)
        except TooLong:
            n_too_long += 1
            continue
        assert len(rendered.token_ids) <= 512
        n_cut += rendered.is_truncated
        if "<" not in plain:
            assert rendered.token_ids[-500:] == ids[-500:][-len(rendered.token_ids) :]
    assert (n_cut > 0, n_too_long > 0) == (True, True)


SPLITS_THOUGHTS = (
    "{% for m in messages %}{% set said = m.content %}{% set thought = '' %}"
    "{% if m.role == 'assistant' and '</think>' in said %}"
    "{% set thought = said.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
    "{% set said = said.split('</think>')[-1].lstrip('\\n') %}{% endif %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n{{ thought }}\n</think>\n\n{% endif %}{{ said }}<|im_end|>\n"
    "{% endfor %}"
)
DROPS_THOUGHTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
)
CLOSES_THOUGHTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ '</think>' if m.role == 'assistant' else '' }}"
    "{{ m.content.split('</think>')[-1] }}<|im_end|>\n{% endfor %}"
)
SUM = (Turn("user", "2 and 2?"),)


def thinking_tokenizer(template: str) -> PreTrainedTokenizerBase:
    tokenizer = chat_tokenizer(QWEN)
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in ("<think>", "</think>")])
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    "response",
    ["4", "<think>\nadd\n</think>\n\n4", "<think>add</think>4", "<think>\n\n</think>\n\n4", "add\n</think>\n\n4"],
)
def test_thoughts_are_as_the_template_writes_them(response: str) -> None:
    tokenizer = thinking_tokenizer(SPLITS_THOUGHTS)
    rendered = Renderer(tokenizer, 500).render(SUM, response)
    assert rendered.token_ids == applied(tokenizer, SUM, response)
    assert rendered.has_thoughts == (response != "4")


@pytest.mark.parametrize(
    ("template", "response", "kept"),
    [
        (DROPS_THOUGHTS, "<think>\nadd\n</think>\n\n4", "<think>\nadd\n</think>\n\n4"),
        (DROPS_THOUGHTS, "add\n</think>\n\n4", "<think>add\n</think>\n\n4"),
        (CLOSES_THOUGHTS, "<think>\nadd\n</think>\n\n4", "<think>\nadd\n</think>\n\n4"),
        (CLOSES_THOUGHTS, "4", "</think>4"),
        (SPLITS_THOUGHTS, "<think>a</think>b</think>c", "<think>\na\n</think>\n\nb</think>c"),
        (SPLITS_THOUGHTS, "Marks: <think>x</think>.", "<think>\n\n</think>\n\nMarks: <think>x</think>."),
        (SPLITS_THOUGHTS, "<think><|im_end|></think>4", "<think>\n<|im_end|>\n</think>\n\n4"),
        (QWEN.template, "<think>add</think>4", "<think>add</think>4"),
    ],
)
def test_kept_thoughts_lose_nothing(template: str, response: str, kept: str) -> None:
    tokenizer = thinking_tokenizer(template)
    rendered = Renderer(tokenizer, 500).render(SUM, response)
    whole = tokenizer.decode(rendered.token_ids)
    assert whole.endswith(f"<|im_start|>assistant\n{kept}<|im_end|>\n")
    control = tokenizer.convert_tokens_to_ids("<|im_end|>")
    without = Renderer(tokenizer, 500).render(SUM, "4").token_ids
    assert rendered.token_ids.count(control) == without.count(control)


def test_a_template_that_changes_the_answer_is_told_with_thoughts_too() -> None:
    tokenizer = thinking_tokenizer(DROPS_THOUGHTS.replace("[-1]", "[-1] | upper"))
    with pytest.raises(RenderError, match="does not write the response as it is"):
        Renderer(tokenizer, 500).render(SUM, "<think>add</think>four")


@pytest.mark.parametrize("template", [SPLITS_THOUGHTS, DROPS_THOUGHTS, CLOSES_THOUGHTS, QWEN.template])
def test_cut_thoughts_leave_the_answer_alone(template: str) -> None:
    tokenizer = thinking_tokenizer(template)
    cut = Renderer(tokenizer, 500, thoughts="cut")
    for response in ("<think>\nadd\n</think>\n\n4", "add\n</think>\n\n4"):
        rendered = cut.render(SUM, response)
        assert rendered.token_ids == Renderer(tokenizer, 500).render(SUM, "4").token_ids
        assert rendered.has_thoughts
    for response in ("<think>add</think>\n", "<think>add, and no end"):
        with pytest.raises(RenderError, match="the response has thoughts only, and thoughts are cut"):
            cut.render(SUM, response)
