"""The asset graph as Dagster sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.lib.keys import GPU_PARTS

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def definitions(home: Path) -> Iterator[dg.Definitions]:
    """The code location over the finished home; the environment is put back afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DAGSTER_HOME", "DBT_TARGET_PATH", "DBT_LOG_PATH", "PATH"):
            patch.setenv(name, os.environ.get(name, ""))
        patch.setenv("REWARDBASE_HOME", str(home))
        from dagster_project.environment import prepare
        from dagster_project.lib.executor import load_definitions

        prepare()
        yield load_definitions()


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_every_dbt_node_is_an_asset_under_its_folder(specs: dict[str, dg.AssetSpec]) -> None:
    for folder in ("seeds", "models/staging", "models/intermediate", "models/marts"):
        files = [path for path in (REPOSITORY / "dbt" / folder).iterdir() if path.suffix in (".sql", ".py", ".csv")]
        assert {f"{path.parent.name}/{path.stem}" for path in files} == {
            key for key in specs if key.startswith(f"{folder.removeprefix('models/')}/")
        }


def test_every_asset_has_a_description_a_group_and_an_owner(specs: dict[str, dg.AssetSpec]) -> None:
    for name, spec in specs.items():
        assert spec.description, name
        assert spec.group_name not in (None, "default"), name
        assert spec.owners, name
        assert spec.code_version, name


def test_the_way_of_the_data_is_unbroken(specs: dict[str, dg.AssetSpec]) -> None:
    inputs = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs.items()}
    assert inputs["raw/base_models"] == {"parts/studies"}
    assert inputs["staging/stg_base_models"] == {"raw/base_models"}
    listed = "staging/stg_study_seeds"
    assert inputs["staging/stg_benchmark_results"] == {"seeds/benchmark_results", "raw/benchmark_results", listed}
    assert inputs["raw/benchmark_results"] == {"parts/studies", "parts/benchmarks", "parts/benchmark_imports"}
    assert inputs["staging/stg_benchmarks"] == {"seeds/table_2_benchmarks", "raw/benchmarks", listed}
    assert inputs["seeds/table_4_regression"] == {"raw/study_seeds"}, "a seed is checked before it is loaded"
    assert "marts/fct_regression_features" in inputs["parts/performance_inputs"]
    assert inputs["parts/performance"] == {"parts/performance_inputs"}
    assert inputs["raw/performance_scores"] == {"parts/performance"}
    assert inputs["marts/fct_predicted_coverage"] == {
        "raw/performance_predicted_coverage",
        "marts/fct_performance_scores",
    }
    marts = {name for name in specs if name.startswith("marts/")}
    assert inputs["reports/base_model_choice"] == marts
    assert inputs["published/snapshot"] == marts | {"reports/base_model_choice"}
    assert all(dep in specs for deps in inputs.values() for dep in deps)


def test_whatever_opens_the_database_is_in_the_pool_of_one(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    pools = {key.to_user_string(): graph.get(key).pools for key in graph.get_all_asset_keys()}
    assert pools.pop("parts/studies") == set()
    assert pools.pop("parts/performance") == set(), "the job opens no database"
    assert pools.pop("parts/lab") == pools.pop("parts/documents") == set()
    assert pools.pop("reports/charts") == set()
    assert pools.pop("parts/benchmark_imports") == pools.pop("parts/hub_models") == set()
    assert pools.pop("parts/score_imports") == pools.pop("parts/leaderboards") == set()
    assert pools.pop("parts/response_imports") == pools.pop("parts/gold_rewards") == set()
    for key in GPU_PARTS:
        assert pools.pop(key.to_user_string()) == {"gpu"}, "GPU work opens no database either"
    assert set(map(frozenset, pools.values())) == {frozenset({"warehouse"})}
    settings = (REPOSITORY / "dagster_project" / "instance.yaml").read_text()
    assert "default_limit: 1" in settings


def test_dbt_tests_are_asset_checks_and_the_results_have_two_more(definitions: dg.Definitions) -> None:
    checks = definitions.resolve_asset_graph().asset_check_keys
    of_results = {check.name for check in checks if check.asset_key.path[-1] == "fct_reward_model_results"}
    assert {"every_compared_model_has_a_result", "score_is_the_mean_of_the_categories"} <= of_results
    assert "grain_fct_reward_model_results_study_id__objective__model_id" in of_results
    tested = {check.asset_key.path[0] for check in checks}
    assert tested == {"seeds", "staging", "intermediate", "marts"}


def test_a_run_leaves_rows_charts_and_checks_in_dagster(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        results = instance.get_latest_materialization_event(dg.AssetKey(["marts", "fct_reward_model_results"]))
        charts = instance.get_latest_materialization_event(dg.AssetKey(["reports", "charts"]))
    assert results is not None and results.asset_materialization is not None
    assert results.asset_materialization.metadata["dagster/row_count"].value == 80
    assert charts is not None and charts.asset_materialization is not None
    preview = charts.asset_materialization.metadata["preview"].value
    assert preview.startswith("![") and "data:image/svg+xml;base64," in preview


def test_a_night_with_nothing_to_do_looks_at_the_snapshot_alone(definitions: dg.Definitions, home: Path) -> None:
    from dagster_project.defs.sensors import nightly

    night = datetime(2026, 1, 2, 3, tzinfo=UTC)
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        context = dg.build_schedule_context(
            instance, repository_def=definitions.get_repository_def(), scheduled_execution_time=night
        )
        began = time.monotonic()
        asked = nightly(context)
        assert time.monotonic() - began < 5
    assert isinstance(asked, dg.RunRequest) and asked.run_key == "night of 2026-01-02"
    assert asked.asset_selection == [dg.AssetKey(["published", "snapshot"])]


def test_all_from_the_raw_tables_on_follows_its_inputs_by_a_named_condition(definitions: dg.Definitions) -> None:
    by_group: dict[str, set[str | None]] = {}
    for spec in definitions.resolve_all_asset_specs():
        name = spec.automation_condition.get_label() if spec.automation_condition else None
        by_group.setdefault(spec.key.path[0], set()).add(name)
    assert by_group.pop("raw") == {"there are new parts, and no GPU work is in progress"}
    parts = by_group.pop("parts")
    assert parts == {None, "an input was made again"}, "but for the performance model, the sensor asks for them"
    assert set(map(frozenset, by_group.values())) == {frozenset({"an input was made again"})}
    sensors = {sensor.name: sensor.default_status.value for sensor in definitions.sensors or ()}
    running = ("default_automation_condition_sensor", "failed_runs", "new_models", "stale_snapshot")
    assert sensors == dict.fromkeys(running, "RUNNING")


PARSED = {
    "nodes": {
        "seed.r.figures": {"name": "figures", "resource_type": "seed", "schema": "seeds", "depends_on": {"nodes": []}},
        "model.r.a": {
            "name": "a", "resource_type": "model", "schema": "staging",
            "depends_on": {"nodes": ["seed.r.figures", "source.r.raw.figures"]},
        },
        "model.r.b": {"name": "b", "resource_type": "model", "schema": "marts", "depends_on": {"nodes": ["model.r.a"]}},
        "test.r.grain_a": {"name": "grain_a", "resource_type": "test", "depends_on": {"nodes": ["model.r.a"]}},
        "test.r.b_in_a": {"name": "b_in_a", "resource_type": "test", "depends_on": {"nodes": ["model.r.b", "model.r.a"]}},  # noqa: E501
        "test.r.source": {"name": "source", "resource_type": "test", "depends_on": {"nodes": ["source.r.raw.figures"]}},
    },
    "sources": {"source.r.raw.figures": {"name": "figures", "schema": "raw"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("built", "existing", "expected"),
    [
        ({"a"}, set(), ["grain_a", "source"]),
        ({"a"}, {"marts/b"}, ["b_in_a", "grain_a", "source"]),
        ({"b"}, {"staging/a"}, ["b_in_a"]),
        ({"a", "b"}, set(), ["b_in_a", "grain_a", "source"]),
        ({"figures"}, {"staging/a", "marts/b"}, []),
    ],
)
def test_which_tests_run_with_a_model(built: set[str], existing: set[str], expected: list[str]) -> None:
    """A test of two models runs when either is built, as soon as both exist; a source's with what reads it."""
    from dagster_project.lib.dbt import tests_of

    assert tests_of(PARSED, built, existing) == expected


def test_every_test_of_the_project_ran(home: Path) -> None:
    import json

    import duckdb

    parsed = json.loads((home / "dbt" / "target" / "manifest.json").read_text())
    expected = {key for key, node in parsed["nodes"].items() if node["resource_type"] in ("test", "model", "seed")}
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute("select node_id, status from audit.node_results").fetchall()
    assert {key for key, _ in found} == expected
    assert {status for _, status in found} == {"success", "pass"}
