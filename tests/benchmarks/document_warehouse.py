"""A warehouse with made-up document scores of any number of models, written straight into the raw tables."""

from __future__ import annotations

import duckdb

from warehouse import landing
from warehouse.connection import write
from warehouse.paths import Home

DOMAINS = ("ArXiv", "Book", "Github", "StackExchange", "Wikipedia")
STUDY = {
    "studies": "select 'made' as study_id, 'Made up' as title, true as synthetic, 'a benchmark' as source, "
    "false as use_loose_benchmarks, null as answer_on, 'r' as run_id",
    "size_groups": "select 'made' as study_id, 'any' as size_group, 1 as position, 0 as params_b_from, "
    "'model-00' as default_model_id, 'r' as run_id",
    "score_bins": "from (values ('presence_score', -10, 0), ('bits_per_byte', 0, 4)) as t (score_kind, low, high) "
    "select 'made' as study_id, *, 100 as n_bins, 'r' as run_id",
}


def make(home: Home, n_models: int, per_domain: int, kinds: int = 1) -> None:
    """Fill the raw tables: `n_models` models, `per_domain` documents of each domain, presence scores (kinds = 1) and
    bits per byte (kinds = 2). Scores of a document go along with each other from model to model."""
    with write(home.warehouse) as connection:
        connection.execute("set memory_limit = '2GB'")
        landing.create_raw_tables(connection)
        for table, query in STUDY.items():
            connection.execute(f"insert into raw.{table} by name {query}")
        connection.execute("select setseed(0.5)")
        connection.execute(
            f"""
            insert into raw.documents by name
            select 'made' as study_id, 'corpus' as corpus, left(md5(i::varchar), 16) as document_id,
                {list(DOMAINS)}[1 + (i % {len(DOMAINS)})] as domain, 4000 as n_bytes, 4000 as n_characters,
                md5(i::varchar) || md5(i::varchar) as content_hash, 'r' as run_id
            from range({per_domain * len(DOMAINS)}) as t (i)
            """
        )
        for number in range(n_models):
            add_model(connection, number, kinds)
            connection.execute("checkpoint")


def add_model(connection: duckdb.DuckDBPyConnection, number: int, kinds: int = 1) -> None:
    """One more base model, and a score of every document under it."""
    name = f"model-{number:02d}"
    connection.execute(
        """
        insert into raw.base_models by name
        select 'made' as study_id, $name as model_id, $name as hub_id, $family as publisher, $name as family,
            $size as params_b, 1.0 as tokens_t, 'base' as stage, true as is_compared, false as is_candidate,
            'r' as run_id
        """,
        {"name": name, "family": f"publisher {number % 5}", "size": 1.0 + number / 4},
    )
    connection.execute(
        f"""
        insert into raw.document_scores by name
        with drawn as (
            select study_id, corpus, document_id, domain, row_number() over () as place,
                -- the document, the model's way with its domain, and chance; all of them bell-shaped
                -2 - 0.02 * $number - 0.1 * length(domain) * (1 + 0.3 * sin($number + length(domain)))
                    + 0.5 * sqrt(-2 * ln((hash(document_id) % 1000003 + 1) / 1000004))
                        * cos(2 * pi() * (hash(document_id, 1) % 1000003) / 1000003)
                    + 0.35 * (random() + random() + random() - 1.5) as score
            from raw.documents
        )
        select study_id, $name as model_id, corpus, document_id, domain,
            lpad(((place - 1) // 10000)::varchar, 5, '0') as shard, 'packed' as engine, 1000 * score as logprob_sum,
            1000 as n_tokens_scored, 4000 as n_bytes_scored, place % 7 = 0 as is_truncated, 'bos' as bos_policy,
            score as presence_score, {"-score / (4 * ln(2))" if kinds > 1 else "null"} as bits_per_byte,
            'bfloat16' as dtype, '{{"torch": "2.13.0"}}' as versions, 'ok' as status,
            $name || '-' || lpad(((place - 1) // 10000)::varchar, 5, '0') as run_id
        from drawn
        """,
        {"name": name, "number": number},
    )
