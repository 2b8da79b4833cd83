"""Reward models: what they learn, how they are trained, chosen, saved and asked for rewards (paper, Section 3.1)."""
