"""The performance model: which base model will make the best reward model, and how far to trust the answer."""
