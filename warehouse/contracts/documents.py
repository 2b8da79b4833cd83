"""Raw tables of log-prob scoring: the sample of documents, and their scores under each base model."""

from warehouse.contracts.fields import MODEL_ID, by_name, flag, integer, number, table, text

_CORPUS = text("corpus", "Corpus that the documents were sampled from, as the study names it.")
_DOCUMENT_ID = text("document_id", "Document: the first 16 hex digits of its content hash.")

DOCUMENTS = table(
    "documents",
    "One row per study, corpus and sampled document; the text itself stays in the sample's own file.",
    ("corpus", "document_id"),
    _CORPUS,
    _DOCUMENT_ID,
    text("domain", "Domain: Github, Book, ArXiv, Wikipedia or StackExchange."),
    integer("n_bytes", "Bytes of the text in UTF-8."),
    integer("n_characters", "Characters of the text."),
    text("content_hash", "SHA-256 of the text in UTF-8, hexadecimal."),
    partition_by=("corpus",),
)

DOCUMENT_SCORES = table(
    "document_scores",
    "One row per study, base model, corpus, document and engine: log-probabilities summed (paper, Equation 10).",
    ("model_id", "corpus", "engine", "document_id"),
    MODEL_ID,
    _CORPUS,
    _DOCUMENT_ID,
    text("domain", "Domain of the document."),
    text("shard", "Shard of the sample, such as `00003`."),
    text("engine", "packed or vllm."),
    number("logprob_sum", "Sum of the natural log-probabilities of the scored tokens; null unless ok.", nullable=True),
    integer("n_tokens_scored", "Tokens that have a log-probability."),
    integer("n_bytes_scored", "Bytes of text that those tokens cover."),
    flag("is_truncated", "True where the document is longer than the tokens scored."),
    text("bos_policy", "bos (a BOS token precedes the document) or none; scores begin with its second token in both."),
    number("presence_score", "logprob_sum / n_tokens_scored (definitions, Section 7).", nullable=True),
    number("bits_per_byte", "-logprob_sum / (ln 2 x n_bytes_scored).", nullable=True),
    number("min_k", "Min-K%: mean of the lowest 20 % of the token log-probabilities.", nullable=True),
    number("min_k_plus_plus", "Min-K%++, standardised over the vocabulary; null where the engine cannot.", True),
    number("logprob_per_zlib_byte", "logprob_sum / bytes of the scored text after zlib.", nullable=True),
    text("dtype", "Number format that the model ran in."),
    text("versions", "Versions of the engine's libraries, as JSON."),
    text("status", "ok, or what went wrong."),
    partition_by=("model_id", "corpus", "engine", "shard"),
)

DOCUMENT_TABLES = by_name(DOCUMENTS, DOCUMENT_SCORES)
"""Raw tables that log-prob scoring fills, by name."""
