"""Estimates held against the truth of a lab: pure functions that dbt's Python models call. Imports no torch."""
