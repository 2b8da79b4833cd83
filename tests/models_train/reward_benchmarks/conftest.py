"""The hub of the tests of data."""

from tests.models_train.data.conftest import serve

__all__ = ["serve"]
