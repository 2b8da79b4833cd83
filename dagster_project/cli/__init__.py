"""Commands. run: due work, then the answer. ui: Dagster's UI and daemon. rebuild: the warehouse from its parts. docs:
dbt's documentation as one page."""
