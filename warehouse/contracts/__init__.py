"""The raw tables: Arrow schema, key, partition and description of each. Their columns are described only here.

`fields` has the building blocks; `studies`, `reward_models`, `scores`, `responses`, `documents`, `leaderboards`,
`races` and `performance` the tables. Landing creates the tables and their comments from these contracts, and dbt's
sources name the tables only. A leaf of the import graph: it imports pyarrow and nothing else, so that `models_train`
writes parts and `warehouse` lands them without importing each other.
"""

from warehouse.contracts.documents import DOCUMENT_TABLES
from warehouse.contracts.fields import Table, describe
from warehouse.contracts.leaderboards import LEADERBOARD_TABLES
from warehouse.contracts.performance import PERFORMANCE_TABLES
from warehouse.contracts.races import RACE_TABLES
from warehouse.contracts.responses import RESPONSE_TABLES
from warehouse.contracts.reward_models import REWARD_MODEL_TABLES
from warehouse.contracts.scores import SCORE_TABLES
from warehouse.contracts.studies import LAB_TABLES, STUDY_TABLES

TABLES: dict[str, Table] = (
    STUDY_TABLES
    | LAB_TABLES
    | REWARD_MODEL_TABLES
    | SCORE_TABLES
    | RESPONSE_TABLES
    | DOCUMENT_TABLES
    | LEADERBOARD_TABLES
    | RACE_TABLES
    | PERFORMANCE_TABLES
)
"""All raw tables by name."""

RETIRED = ".retired"
"""Folder, within the folder of parts and in the same layout, of the parts that are set aside."""

__all__ = [
    "DOCUMENT_TABLES",
    "LAB_TABLES",
    "LEADERBOARD_TABLES",
    "PERFORMANCE_TABLES",
    "RACE_TABLES",
    "RESPONSE_TABLES",
    "RETIRED",
    "REWARD_MODEL_TABLES",
    "SCORE_TABLES",
    "STUDY_TABLES",
    "TABLES",
    "Table",
    "describe",
]
