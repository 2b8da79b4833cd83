"""Policies: the prompts that they are asked, their responses, sampled here or elsewhere, and their training by rewards.

`prompts` chooses the prompts of a study. `sampling` samples by Transformers, `vllm_sampling` by vLLM. `imports` reads
responses of other programs. `texts` finds the texts of prompts for jobs that score responses. `teaching` trains small
policies, `trl_teaching` all others by TRL.
"""
