"""Models as the scoring engine and the trainer share them.

`base_models` loads base models and tokenizers from the hub or a folder, `packing` puts sequences side by side without
padding, and `packed_attention` is the attention over such packs for every Transformers model.
"""
