"""Log-prob scoring of documents: how well a base model knows the text of a corpus (paper, Section 5.2).

engine: the interface, and checks common to all engines. packed_engine: Transformers on packs of documents; head: its
last layer, tile by tile. vllm_engine: vLLM. trial: an engine beside plain Transformers. tokenization: documents to
token ids and covered bytes. scorer: from documents to rows with presence scores, by all of these; a new engine is added
there. shards: division of the work among processes; kept_costs: what the pieces cost.
"""
