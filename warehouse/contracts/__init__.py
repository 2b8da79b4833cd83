"""The raw tables: Arrow schema, key, partition and meaning of each; the one place for what a part holds.

A leaf of the import graph: of third-party packages it imports pyarrow alone, so that the science side
(`models_train`) and the database side (`warehouse`) can agree on a table without knowing each other.
"""

from warehouse.contracts.documents import DOCUMENT_TABLES
from warehouse.contracts.fields import Table, describe
from warehouse.contracts.lab import LAB_TABLES
from warehouse.contracts.performance import PERFORMANCE_TABLES
from warehouse.contracts.reward_models import REWARD_MODEL_TABLES
from warehouse.contracts.studies import STUDY_TABLES

TABLES: dict[str, Table] = STUDY_TABLES | LAB_TABLES | REWARD_MODEL_TABLES | DOCUMENT_TABLES | PERFORMANCE_TABLES
"""All raw tables by name."""

__all__ = [
    "DOCUMENT_TABLES",
    "LAB_TABLES",
    "PERFORMANCE_TABLES",
    "REWARD_MODEL_TABLES",
    "STUDY_TABLES",
    "TABLES",
    "Table",
    "describe",
]
