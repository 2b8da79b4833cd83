"""Policies: the prompts that they are asked, and their responses, sampled here or elsewhere.

`prompts` chooses the prompts of a study. `sampling` samples by Transformers, `vllm_sampling` by vLLM. `imports` reads
responses of other programs. `texts` finds the texts of prompts for jobs that score responses.
"""
