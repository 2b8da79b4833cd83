"""Wiring: Dagster assets, checks, jobs and resources over models_train and warehouse."""
