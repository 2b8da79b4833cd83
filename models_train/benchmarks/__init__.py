"""Benchmarks of base models: run through lm-evaluation-harness, or read from result files of lm_eval and EvalPlus."""
