"""A conversation as the token ids that a reward model reads: one rule for training and for scoring.

The tokenizer's own chat template is used as it is, with today's date pinned; a tokenizer without one gets
DEFAULT_TEMPLATE. The ids equal those of `tokenizer.apply_chat_template`, except for the rules of `Renderer`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from itertools import takewhile
from typing import Any, Literal

import jinja2
from transformers import PreTrainedTokenizerBase

from models_train.data.records import Prompt
from models_train.data.rows import is_unicode
from models_train.errors import UserError

PINNED_DATE = datetime(2024, 7, 26)
"""Date given to templates that print today's date: the default of Llama 3's templates."""

DATE_FORMAT = "%d %b %Y"
"""Format of the date in templates that take `date_string`."""

DEFAULT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '' if loop.first else '\\n\\n' }}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% endfor %}"
    "{{ '\\n\\nAssistant:' if add_generation_prompt else eos_token }}"
)
"""For tokenizers without a chat template: `User: ...`, blank line, `Assistant: ...`, and EOS at the end."""

NO_LIMIT = 10**9
"""Least `model_max_length` of a tokenizer that does not know the model's context, in tokens."""

_THOUGHTS = re.compile(
    r"\s*(?:<think>(?P<whole>.*?)</think>|(?P<rest>(?:(?!</?think>).)*\n)</think>(?=\n))(?P<answer>.*)", re.DOTALL
)
"""A response that begins with thoughts. Their opening mark is missing where it ended the prompt of the generation."""
_THOUGHT_MARK = re.compile(r"</?think>")
_OWN_THOUGHTS = re.compile(r"(?:<think>\s*)?</think>\s*\Z")
"""Thoughts of a template's own before a response."""

_PRIVATE_USE = range(0xE000, 0xF900)

Messages = list[dict[str, str]]


class RenderError(UserError):
    """An example cannot be rendered; the message says why, and serves as the example's status."""


class TooLong(RenderError):
    """An example is longer than the limit and may not, or cannot, be cut."""


@dataclass(frozen=True)
class Rendered:
    """Token ids of prompt and response; the first `n_prompt_tokens` are of the prompt, BOS included."""

    token_ids: list[int]
    n_prompt_tokens: int
    is_truncated: bool
    has_thoughts: bool = False
    """True where the response has thoughts, whether they are kept or cut."""


@dataclass(frozen=True)
class Asked:
    """Token ids that a response follows, BOS included.

    lead: text that the template itself writes before a response, and that a response may begin with. end_id: special
    token by which the template ends a response, or None.
    """

    token_ids: list[int]
    lead: str
    end_id: int | None


@dataclass(frozen=True)
class _Opening:
    """A prompt's messages as its template takes them, and the text before and after the response."""

    messages: Messages
    before: str
    after: str


@dataclass(frozen=True)
class _Written:
    """A conversation as text, and the parts of it before and after the response."""

    whole: str
    before: str
    after: str


class Renderer:
    """Renders prompt and response to at most `max_tokens` token ids, or fewer where the context is shorter.

    context: the model's context length, in tokens (`base_models.context_length`); None: as the tokenizer states it.

    - **System turns**: where a template refuses or ignores them, their text is put before the first user turn, with a
      blank line between.
    - **BOS** comes once, at the beginning, where the tokenizer has one, whether or not the template writes it.
    - **The end** is the template's own end of turn, as rendered, or EOS where the template writes none; where the
      tokenizer has no EOS either, the sequence ends with the response.
    - **Control tokens in texts**: text of a conversation that spells one of the tokenizer's special tokens is split
      inside that spelling, and the pieces are tokenized apart: it stays ordinary text. Role marks that the tokenizer
      itself treats as ordinary text stay role marks.
    - **Over-long**: `drop` raises TooLong; `left_truncate` takes the oldest tokens after BOS away, as many as are too
      many, and raises TooLong where they would have to come out of the response.
    - **Thoughts**, `<think>...</think>` at the beginning of a response: `keep` takes them as the template writes them,
      or as they are where the template would drop them; `cut` takes the answer alone. Such marks in the middle of a
      text that the template would take for thoughts stay ordinary text.

    Raises RenderError where the template is broken or names no default.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
        over_long: Literal["drop", "left_truncate"] = "left_truncate",
        context: int | None = None,
        thoughts: Literal["keep", "cut"] = "keep",
    ) -> None:
        self.tokenizer: Any = tokenizer
        self.over_long = over_long
        self.thoughts = thoughts
        known = context or tokenizer.model_max_length
        self.limit = min(max_tokens, known) if known < NO_LIMIT else max_tokens
        """Most token ids of a rendered example."""
        try:
            self.template = tokenizer.get_chat_template() if tokenizer.chat_template else DEFAULT_TEMPLATE
        except ValueError as error:
            raise RenderError(f"the tokenizer's chat template cannot be chosen: {error}") from error
        self._special = _spellings(tokenizer)
        # Consecutive examples share a prompt: chosen and rejected, or two rated responses.
        self._opening = lru_cache(maxsize=8)(self._open)
        self._opening_ids = lru_cache(maxsize=8)(self._encode)

    def render(self, prompt: Prompt, response: str) -> Rendered:
        """Token ids of a prompt, whose last turn is the user's, and a response.

        Raises RenderError: empty response, no valid Unicode, a conversation that the template refuses; TooLong.
        """
        mark = _check(prompt, response)
        thoughts = _thoughts(response)
        if self.thoughts == "cut":
            response = response if thoughts is None else thoughts["answer"].lstrip()
            if not response or response.lstrip().startswith("<think>"):
                raise RenderError("the response has thoughts only, and thoughts are cut")
        written = self._written(prompt, response, mark)
        ids = self._encode(written.whole, mark)
        prompt_ids = self._opening_ids(written.before, mark)
        n_prompt = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt_ids, ids, strict=False)))
        if not written.after.strip() and self.tokenizer.eos_token_id is not None:
            ids = [*ids, self.tokenizer.eos_token_id]
        return replace(self._cut(ids, n_prompt), has_thoughts=thoughts is not None)

    def ask(self, prompt: Prompt) -> Asked:
        """Token ids of a prompt, whose last turn is the user's, as the template asks for a response.

        Nothing is cut: raises TooLong beyond the limit, and RenderError for a prompt that has no rendering.
        """
        mark = _check(prompt, "-")
        opening = self._opening(prompt, mark)
        asked = self._write(opening.messages, asks=True)
        ids = self._encode(asked, mark)
        if len(ids) > self.limit:
            raise TooLong(f"the prompt is too long: {len(ids)} tokens, the limit is {self.limit}")
        lead = opening.before[len(asked) :] if opening.before.startswith(asked) else ""
        after = self.tokenizer(opening.after.lstrip(), add_special_tokens=False, verbose=False)["input_ids"][:1]
        added: Any = self.tokenizer.added_tokens_decoder
        special = {one for one, token in added.items() if token.special}.union(self.tokenizer.all_special_ids)
        return Asked(ids, lead, next((one for one in after if one in special), None))

    def _written(self, prompt: Prompt, response: str, mark: str) -> _Written:
        opening = self._opening(prompt, mark)
        written = self._with_response(opening, self._neutral(response, mark))
        if written is None and _THOUGHT_MARK.search(response):
            thoughts = _thoughts(response)
            written = (
                self._with_response(opening, self._plain(response, mark))
                if thoughts is None
                else self._with_thoughts(opening, thoughts, mark)
            )
        if written is None:
            raise RenderError("the chat template does not write the response as it is")
        return written

    def _with_response(self, opening: _Opening, said: str) -> _Written | None:
        """The conversation with the response, or None where the template does not write it as it is."""
        whole = self._write([*opening.messages, {"role": "assistant", "content": said}])
        if not whole.startswith(opening.before) or said.strip() not in whole[len(opening.before) :]:
            return None
        return _Written(whole, opening.before, opening.after)

    def _with_thoughts(self, opening: _Opening, found: re.Match[str], mark: str) -> _Written | None:
        """The conversation with thoughts and answer as the template writes them, or as they are where it drops some.

        Thoughts of the template's own, which it writes before a response without any, give way to those of the
        response. None where the template does not write the answer as it is.
        """
        before = _OWN_THOUGHTS.sub("", opening.before)
        is_whole = found["whole"] is not None
        thoughts = self._plain(found["whole"] if is_whole else found["rest"], mark)
        answer = self._plain(found["answer"], mark)
        said = f"{'<think>' if is_whole else ''}{thoughts}</think>{answer}"
        whole = self._write([*opening.messages, {"role": "assistant", "content": said}])
        # All other marks are split: the last one is the template's.
        shown, is_shown, rest = whole[len(before) :].rpartition("</think>")
        if whole.startswith(before) and is_shown and thoughts.strip() in shown and answer.strip() in rest:
            return _Written(whole, before, opening.after)
        if self._with_response(opening, answer) is None:
            return None
        return _Written(f"{before}{'' if is_whole else '<think>'}{said}{opening.after}", before, opening.after)

    def _cut(self, ids: list[int], n_prompt: int) -> Rendered:
        too_many = len(ids) - self.limit
        if too_many <= 0:
            return Rendered(ids, n_prompt, is_truncated=False)
        if self.over_long == "drop":
            raise TooLong(f"too long: {len(ids)} tokens, the limit is {self.limit}")
        kept = int(self.tokenizer.bos_token_id is not None)
        if too_many > n_prompt - kept:
            n_left = len(ids) - n_prompt + kept
            raise TooLong(f"too long even without its prompt: {n_left} tokens, the limit is {self.limit}")
        return Rendered(ids[:kept] + ids[kept + too_many :], n_prompt - too_many, is_truncated=True)

    def _open(self, prompt: Prompt, mark: str) -> _Opening:
        """The prompt with a mark for its response, by which the template shows what it writes around a response."""
        messages = [{"role": turn.role, "content": self._neutral(turn.text, mark)} for turn in prompt]
        response = {"role": "assistant", "content": mark}
        system = [message["content"].strip() for message in messages if message["role"] == "system"]
        try:
            written = self._write([*messages, response])
        except RenderError:
            if not system:
                raise
            written = ""
        if any(text not in written for text in system):
            messages = _without_system(messages)
            written = self._write([*messages, response])
        before, found, after = written.rpartition(mark)
        if not found:
            raise RenderError("the chat template does not write the response")
        return _Opening(messages, before, after)

    def _write(self, messages: Messages, asks: bool = False) -> str:
        """The messages as text. asks: with what asks for a response."""
        try:
            written = self.tokenizer.apply_chat_template(
                messages,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=asks,
                date_string=PINNED_DATE.strftime(DATE_FORMAT),
                strftime_now=PINNED_DATE.strftime,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise RenderError(f"the chat template refuses the conversation: {error}") from error
        return str(written)

    def _neutral(self, text: str, mark: str) -> str:
        """The text with a mark inside every spelling of a special token."""
        while self._special is not None and self._special.search(text):
            text = self._special.sub(lambda found: found[0][0] + mark + found[0][1:], text)
        return text

    def _plain(self, text: str, mark: str) -> str:
        """The text with a mark inside every spelling of a special token, and of a mark of thoughts."""
        return self._neutral(_THOUGHT_MARK.sub(lambda found: found[0][0] + mark + found[0][1:], text), mark)

    def _encode(self, written: str, mark: str) -> list[int]:
        ids: list[int] = []
        for piece in written.split(mark):
            ids += self.tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        if bos is None:
            return ids
        n_written = sum(1 for _ in takewhile(lambda one: one == bos, ids))
        return [bos, *ids[n_written:]]


def _spellings(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str] | None:
    """Finds the spelling of any special token; longer ones first."""
    added: Any = tokenizer.added_tokens_decoder
    names = {token.content for token in added.values() if token.special} | set(tokenizer.all_special_tokens)
    by_length = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, by_length))) if by_length else None


def has_thoughts(response: str) -> bool:
    """True for a response that begins with thoughts."""
    return _thoughts(response) is not None


def _thoughts(response: str) -> re.Match[str] | None:
    """Thoughts and answer of a response that begins with thoughts."""
    return _THOUGHTS.fullmatch(response) if "</think>" in response else None


def _check(prompt: Prompt, response: str) -> str:
    """A character that no text of the example holds. Raises RenderError for an example that has no rendering."""
    if not response.strip():
        raise RenderError("empty response")
    if not prompt or prompt[-1].role != "user":
        raise RenderError("the prompt does not end with a turn of the user")
    texts = [*(turn.text for turn in prompt), response]
    if not all(map(is_unicode, texts)):
        raise RenderError("a text holds half a character (a lone surrogate)")
    mark = next((chr(code) for code in _PRIVATE_USE if not any(chr(code) in text for text in texts)), None)
    if mark is None:
        raise RenderError("a text uses all of Unicode's private characters")
    return mark


def _without_system(messages: Messages) -> Messages:
    """The messages with the system's text put before that of the first user turn."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    first, *rest = [message for message in messages if message["role"] != "system"]
    return [first | {"content": "\n\n".join([*system, first["content"]])}, *rest]
