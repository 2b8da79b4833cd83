"""The marts by name, as the dbt project has them."""

from dagster_project.environment import DBT_PROJECT

MARTS = tuple(sorted(path.stem for path in (DBT_PROJECT / "marts").glob("*.sql")))
