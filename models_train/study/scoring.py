"""Settings of document sampling and scoring for the pre-training mix (paper, Section 5.2). Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.settings import MOST, Count, Distinct, Identifier, Seed, Settings
from models_train.study.training import DataSource, Precision

Engine = Literal["packed", "vllm"]
ENGINES: tuple[Engine, ...] = ("packed", "vllm")
"""Engines of document scoring."""
Domain = Literal["Github", "Book", "ArXiv", "Wikipedia", "StackExchange"]
DOMAINS: tuple[Domain, ...] = ("Github", "Book", "ArXiv", "Wikipedia", "StackExchange")


class Corpus(Settings):
    """A seeded sample of documents of each domain."""

    name: Identifier
    """Name of the corpus in tables: lower-case letters, digits and "_"."""
    source: DataSource
    """Documents, with the columns of SlimPajama."""
    domains: Annotated[tuple[Domain, ...], Field(strict=False, min_length=1), Distinct] = DOMAINS
    """Domains of the sample."""
    documents_per_domain: Count = 200_000
    """Documents of each domain; a domain with fewer documents gives all of them."""
    most_hub_files: Count = 4000
    """Most files read of a hub data set, in a seeded order; a folder is read whole. SlimPajama has 59,166 files of
    about 15 MB; 4,000 of them hold some 10,000 books, the rarest domain."""
    seed: Seed = 0
    """Seed of the sample."""


ScoreKind = Literal["presence_score", "bits_per_byte", "min_k", "min_k_plus_plus", "logprob_per_zlib_byte"]


Edge = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]


class Bins(Settings):
    """Equally wide bins of a document score; scores outside count in the bin at that end."""

    low: Edge
    """Lower edge of the first bin, in the unit of the score."""
    high: Edge
    """Upper edge of the last bin."""
    n: Annotated[int, Field(ge=2, le=1000)] = 100
    """Number of bins."""

    @model_validator(mode="after")
    def _ascends(self) -> Bins:
        if not self.low < self.high:
            raise PydanticCustomError("bins", "has a lower end that is not below the upper one; exchange low and high")
        return self


FIXED_BINS: dict[ScoreKind, Bins] = {"presence_score": Bins(low=-10, high=0), "bits_per_byte": Bins(low=0, high=4)}


class Scoring(Settings):
    """Log-probability scoring of documents: the corpus, the engine and its limits."""

    corpus: Corpus
    """Sample of documents to score."""
    engine: Literal["auto", "packed", "vllm"] = "auto"
    """Engine: `packed` runs anywhere; `vllm` needs the extra of that name. `auto` takes vLLM where it is installed, a
    GPU is there and vLLM can run the model, else packed."""
    precision: Precision = "bfloat16"
    """Number format of the forward pass."""
    max_document_tokens: Annotated[int, Field(ge=2, le=MOST)] = 2048
    """Most tokens scored of a document; a shorter context of the model lowers it."""
    documents_per_shard: Count = 10_000
    """Documents per shard; a finished shard is never scored again."""
    tokens_per_pack: Count = 16_384
    """Most tokens that pass through the model at once."""
    min_k_plus_plus: bool = True
    """Compute Min-K%++, too."""
    share_within_family: bool = True
    """Use the scores of the largest model of a family with the same pre-training tokens for the whole family
    (definitions, Section 7)."""
    fixed_bins: dict[ScoreKind, Bins] = FIXED_BINS
    """Bins of the binning `fixed`, whose distances no further model changes (definitions, Section 8)."""

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Engines that the setting allows."""
        return ENGINES if self.engine == "auto" else (self.engine,)


@dataclass(frozen=True)
class Shard:
    """Documents `start` to before `stop` of a sample."""

    index: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Such as `00003`."""
        return f"{self.index:05d}"


def cut(n_documents: int, documents_per_shard: int) -> list[Shard]:
    """Shards of all documents, in order."""
    return [
        Shard(index, start, min(start + documents_per_shard, n_documents))
        for index, start in enumerate(range(0, n_documents, documents_per_shard))
    ]
