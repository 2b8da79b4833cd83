"""Loading and packed attention of models, shared by the scoring engine and the trainer.

`base_models` loads base models and tokenizers, from a folder or the hub's snapshot that `hub_snapshots` fetches, after
`model_files` has checked their files. `packing` puts sequences side by side without padding, and `packed_attention` is
the attention over such packs for every Transformers model. `smollm2` makes the models of `make example`.
"""
