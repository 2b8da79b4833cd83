"""Policies: their prompts and responses.

- `texts`: the texts of prompts.
"""
