"""How documents are sampled and scored for the pre-training mix (paper, Section 5.2). Torch-free."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models_train.study.settings import Count, Distinct, Identifier, Settings
from models_train.study.training import DataSource, Precision

Domain = Literal["Github", "Book", "ArXiv", "Wikipedia", "StackExchange"]
DOMAINS: tuple[Domain, ...] = ("Github", "Book", "ArXiv", "Wikipedia", "StackExchange")


class Corpus(Settings):
    """A seeded sample of `documents_per_domain` documents of each domain; `source` has SlimPajama's columns.

    `most_hub_files`: files of a hub data set that are read at most, in a seeded order; a folder is read whole.
    SlimPajama has 59,166 files of about 15 MB; 4,000 of them hold some 10,000 books, the rarest domain.
    """

    name: Identifier
    source: DataSource
    domains: Annotated[tuple[Domain, ...], Field(strict=False, min_length=1), Distinct] = DOMAINS
    documents_per_domain: Count = 200_000
    most_hub_files: Count = 4000
    seed: Annotated[int, Field(ge=0)] = 0


class Scoring(Settings):
    """Log-prob scoring: the corpus, the engine and its limits.

    `max_document_tokens`: tokens of a document that are scored (the model's context may lower it). A donor's scores
    stand for its whole family where `share_within_family` (definitions, Section 7).
    """

    corpus: Corpus
    engine: Literal["packed", "vllm"] = "packed"
    precision: Precision = "bfloat16"
    max_document_tokens: Annotated[int, Field(ge=2)] = 2048
    documents_per_shard: Count = 10_000
    tokens_per_pack: Count = 16_384
    min_k_plus_plus: bool = True
    share_within_family: bool = True
