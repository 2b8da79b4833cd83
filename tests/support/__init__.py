"""Modules shared by several tests: studies, tiny models, databases and programs."""
