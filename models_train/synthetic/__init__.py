"""The lab: a small synthetic study that is made on the spot, where the truth is known.

texts: documents in five made-up languages. models: tokenizer and pre-training. stages: SFT, DPO and RLVR. preferences:
prompts, responses, pairs, ratings and the test set. tasks: benchmarks. world: all of these on disk. truth: the known
facts as rows. checks: estimates compared with them; resampling: their intervals.
"""
