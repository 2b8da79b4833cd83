"""The dbt project as one op whose models are assets and whose tests are asset checks."""
