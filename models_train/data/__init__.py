"""Data of training, evaluation and scoring: one record type each, from a hub, a file or a folder.

Torch-free, but for `chat`, which takes a tokenizer of Transformers.
"""
