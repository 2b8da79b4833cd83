"""Fixtures of the tests of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.support.hub_server import Hub, served

DataSets = Mapping[str, Mapping[str, bytes]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[DataSets], Hub]]:
    """Starts a hub with the given data sets and makes it the one that the product asks; its cache is the test's own."""
    with ExitStack() as stack:

        def start(data_sets: DataSets) -> Hub:
            hub = stack.enter_context(served(data_sets))
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
            monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
            template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
            monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
            return hub

        yield start
