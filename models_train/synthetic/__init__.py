"""The lab: a small synthetic study made on this machine, with known truth.

texts: documents in five made-up languages. models: tokenizer and pre-training. stages: SFT, DPO and RLVR. preferences:
prompts, responses, pairs, ratings and the test set. tasks: benchmarks. world: all of these on disk, and the known
facts as rows. checks: estimates compared with these facts; resampling: their intervals.
"""
