"""Whether a reward model is a good teacher of a policy.

`recommendation` names the base model to train a reward model on, by policy and use, and what it loses where better
evidence is missing.
"""
