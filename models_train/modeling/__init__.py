"""Base models, and packed sequences without padding: shared by the scoring engine and the trainer."""
