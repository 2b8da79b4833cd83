"""The base model of an entry of a leaderboard: by the hub's card, else the configuration, else the name. Torch-free.

What the hub says of a repository is kept in `<run-time folder>/hub_bases/`; remove a file, and the hub is asked again.
Where the hub cannot be asked, its answer is missing, the next source answers, and the number of such entries is
reported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from models_train.benchmarks.leaderboards import HUB_ID, Entry
from models_train.errors import first_line
from models_train.files import write_text
from models_train.study.hub import asked
from warehouse.contracts.leaderboards import JOINT, UNKNOWN

MOST_STEPS = 10
"""Most cards followed from an entry to its root."""
FAMILIES = (
    # A digit that is followed by more and a B is a size: Llama-30B is a Llama, Gemma-2B a Gemma.
    ("Llama-3.x", r"llama[-_ ]?3(?!\d*b)"),
    ("Llama-2", r"llama[-_ ]?2(?!\d*b)"),
    ("Llama-4", r"llama[-_ ]?4(?!\d*b)"),
    ("Gemma-3", r"gemma[-_ ]?3(?!\d*b)"),
    ("Gemma-2", r"gemma[-_ ]?2(?!\d*b)"),
    ("Gemma", r"gemma"),
    ("Qwen3", r"qwen[-_ ]?3(?!\d*b)"),
    ("Qwen2.5", r"qwen[-_ ]?2[._]5"),
    ("Qwen2", r"qwen[-_ ]?2(?!\d*b)"),
    ("Qwen1.5", r"qwen[-_ ]?1[._]5"),
    ("Qwen", r"qwen"),
    ("Mixtral", r"mixtral"),
    ("Mistral", r"mistral"),
    ("DeepSeek", r"deepseek"),
    ("InternLM3", r"internlm3"),
    ("InternLM2", r"internlm2"),
    ("InternLM", r"internlm"),
    ("Nemotron-4", r"nemotron-4"),
    ("Phi-3", r"phi-?3"),
    ("Phi", r"\bphi-?\d"),
    ("Yi", r"(^|[/_-])yi-"),
    ("OLMo", r"olmo"),
    ("Falcon", r"falcon"),
    ("Pythia", r"pythia"),
    ("T5", r"(^|[/_-])(flan-)?t5"),
    ("DeBERTa", r"deberta"),
    ("Stable LM", r"stablelm"),
    ("Llama", r"(^|[/_-])llama"),
)
"""Families of base models and how their names look, in lower case; the first that fits."""
_MODEL_TYPES = {
    "gemma": "Gemma", "gemma2": "Gemma-2", "gemma3": "Gemma-3", "gemma3_text": "Gemma-3", "qwen3": "Qwen3",
    "mixtral": "Mixtral", "mistral": "Mistral", "internlm2": "InternLM2", "internlm3": "InternLM3", "phi3": "Phi-3",
    "olmo": "OLMo", "olmo2": "OLMo", "falcon": "Falcon", "t5": "T5", "deberta-v2": "DeBERTa", "stablelm": "Stable LM",
    "llama4": "Llama-4",
}  # fmt: skip
"""Architectures that one family has."""
_QWEN_2_5_ONLY = (2048, 5120)
"""Hidden sizes of Qwen2.5 that Qwen2 has not; at the others the two are alike."""
_PADDING = 400
"""Most entries that a reward model's tokenizer adds to the vocabulary."""


@dataclass(frozen=True)
class Base:
    """What an entry is built on, as columns of raw.leaderboard_entries."""

    kind: str
    base_model: str | None
    base_family: str
    base_source: str


@dataclass
class HubCards:
    """What the hub says of repositories, each asked once and kept below `home`.

    n_unasked: repositories whose answer is missing, because the hub could not be asked; problem: why.
    """

    home: Path
    n_unasked: int = 0
    problem: str = ""
    _known: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, hub_id: str) -> Mapping[str, Any]:
        """base (repositories), relation and config of a repository; empty where it is not there or not public.

        After the first failure of the network the hub is not asked again.
        """
        if hub_id not in self._known:
            self._known[hub_id] = self._kept(hub_id) or self._ask(hub_id)
        return self._known[hub_id]

    def _file(self, hub_id: str) -> Path:
        return self.home / "hub_bases" / f"{quote(hub_id, safe='')}.json"

    def _kept(self, hub_id: str) -> Mapping[str, Any] | None:
        try:
            kept = json.loads(self._file(hub_id).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept if isinstance(kept, dict) and isinstance(kept.get("base"), list) else None

    def _ask(self, hub_id: str) -> Mapping[str, Any]:
        if self.problem:
            self.n_unasked += 1
            return {}
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError  # here, where a hub is asked

        try:
            found = self._answer(hub_id)
        except (HFValidationError, RepositoryNotFoundError):
            found = {"base": [], "relation": None, "config": None}
        except Exception as error:
            self.problem = first_line(error)
            self.n_unasked += 1
            return {}
        write_text(self._file(hub_id), json.dumps(found, indent=1, sort_keys=True) + "\n")
        return found

    def _answer(self, hub_id: str) -> dict[str, Any]:
        from huggingface_hub import HfApi  # here, where a hub is asked

        info = asked(partial(HfApi().model_info, hub_id, expand=["cardData", "config"], timeout=20))
        card = info.card_data.to_dict() if info.card_data else {}
        stated = card.get("base_model") or []
        stated = [stated] if isinstance(stated, str) else stated
        names = [one.strip() for one in stated if isinstance(one, str) and HUB_ID.fullmatch(one.strip())]
        names = [name for name in names if name != hub_id]
        # With a base the card answers already.
        config = None if names else self._config(hub_id)
        return {"base": list(dict.fromkeys(names)), "relation": card.get("base_model_relation"), "config": config}

    def _config(self, hub_id: str) -> dict[str, Any] | None:
        from huggingface_hub import hf_hub_download  # here, where a hub is asked
        from huggingface_hub.errors import GatedRepoError, RemoteEntryNotFoundError

        try:
            content = json.loads(Path(hf_hub_download(hub_id, "config.json")).read_text(encoding="utf-8"))
        except (RemoteEntryNotFoundError, GatedRepoError, json.JSONDecodeError, UnicodeDecodeError):
            return None
        names = ("_name_or_path", "model_type", "hidden_size", "vocab_size", "max_position_embeddings")
        return {name: content.get(name) for name in names} if isinstance(content, dict) else None


def base_of(entry: Entry, cards: HubCards) -> Base:
    """The first that answers: the card followed to its root, the configuration, the name; else unknown."""
    if entry.is_judge:
        return Base("judge", None, UNKNOWN, UNKNOWN)
    said = cards.of(entry.hub_id) if entry.hub_id else {}
    if entry.hub_id and said.get("base"):
        roots = _roots(entry.hub_id, cards)
        kind = "merge" if len(roots) > 1 else "adapter" if said.get("relation") == "adapter" else "model"
        return Base(kind, JOINT.join(roots), JOINT.join(_family_of_root(root, cards) for root in roots), "card")
    config = said.get("config") or {}
    trained_from = str(config.get("_name_or_path") or "")
    if HUB_ID.fullmatch(trained_from) and trained_from != entry.hub_id and family_of_name(trained_from):
        return Base("model", trained_from, family_of_name(trained_from) or UNKNOWN, "config")
    if family := family_of_config(config):
        return Base("model", None, family, "config")
    if family := family_of_name(entry.name):
        return Base("model", None, family, "name")
    return Base("model", None, UNKNOWN, UNKNOWN)


def _roots(hub_id: str, cards: HubCards) -> list[str]:
    """The repositories that an entry goes back to: those without a base of their own, or where a circle closes."""
    found: dict[str, None] = {}
    seen, level = {hub_id}, list(cards.of(hub_id)["base"])
    for _ in range(MOST_STEPS):
        following: list[str] = []
        for one in level:
            above = [base for base in cards.of(one).get("base", []) if base not in seen and base != one]
            seen.add(one)
            following += above
            if not above:
                found[one] = None
        if not following:
            break
        level = list(dict.fromkeys(following))
    else:
        found |= dict.fromkeys(level)
    return list(found)


def _family_of_root(root: str, cards: HubCards) -> str:
    """By the name, else by the configuration, else the name itself."""
    return family_of_name(root) or family_of_config(cards.of(root).get("config") or {}) or root.split("/")[-1]


def family_of_name(name: str) -> str | None:
    """Family that a name says, or None."""
    lowered = name.casefold()
    return next((family for family, pattern in FAMILIES if re.search(pattern, lowered)), None)


def family_of_config(config: Mapping[str, Any]) -> str | None:
    """Family that architecture and sizes say, or None where several fit."""
    kind, vocabulary, hidden = (config.get(name) for name in ("model_type", "vocab_size", "hidden_size"))
    if not isinstance(kind, str) or not isinstance(vocabulary, int):
        return None
    if kind == "llama":
        return _of_llama(vocabulary, config.get("max_position_embeddings"))
    if kind == "qwen2":
        return "Qwen2.5" if hidden in _QWEN_2_5_ONLY else "Qwen2 or 2.5"
    return _MODEL_TYPES.get(kind)


def _of_llama(vocabulary: int, positions: Any) -> str | None:
    """The family of Llama's architecture with this vocabulary, which reward models pad by a few entries."""
    families = {128_256: "Llama-3.x", 64_000: "Yi", 102_400: "DeepSeek"}
    for size, family in families.items():
        if size <= vocabulary <= size + _PADDING:
            return family
    if 32_000 <= vocabulary <= 32_000 + _PADDING:
        return {2048: "Llama", 4096: "Llama-2"}.get(positions)
    return None
