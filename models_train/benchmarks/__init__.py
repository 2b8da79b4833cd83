"""Benchmarks of base models: run through lm-evaluation-harness, or read from result files of lm_eval and EvalPlus.

lm_eval: runs on a model. results: one checked value, and the values in lm_eval's results. evalplus: values in result
files of EvalPlus. imports: results of a study's models from such files; a new format is added there. leaderboards:
entries of leaderboards of reward models; entry_bases: what they are built on.
"""
