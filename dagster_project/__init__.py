"""Wiring: models_train and warehouse as a Dagster project.

definitions: the code location. defs: assets, checks, jobs, sensors, schedules. lib: modules that both share. cli:
commands. environment: settings and the process environment. studies: the study files that ship with the project.
"""
