"""Commands. run: do due work and print the answer. ui: Dagster's pages and daemon. rebuild: the warehouse from its
parts. docs: dbt's documentation as one page."""
