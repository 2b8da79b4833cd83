"""What follows from what without anybody asking, on a small graph with the conditions of the real one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import dagster as dg
import pytest

from dagster_project.lib.automation import INPUTS_CHANGED, PARTS_CHANGED
from dagster_project.lib.keys import (
    BASE_MODEL_PARTITIONS,
    COMPLETION_REWARDS,
    DOCUMENT_SCORES,
    GPU_PARTS,
    REWARD_MODEL_PARTITIONS,
    REWARD_MODELS,
    SNAPSHOT,
    STUDIES,
)

FAILS: set[str] = set()


def step(
    key: dg.AssetKey | list[str], *deps: dg.AssetKey | list[str], condition: dg.AutomationCondition | None = None
) -> dg.AssetsDefinition:
    @dg.asset(key=key, deps=deps, automation_condition=condition)
    def made(context: dg.AssetExecutionContext) -> None:
        if context.asset_key.to_user_string() in FAILS:
            raise dg.Failure("as the test wants it", allow_retries=False)

    return made


def gpu(key: dg.AssetKey) -> dg.AssetsDefinition:
    is_trained = key.path[-1] in ("reward_models", "completion_rewards")

    @dg.asset(key=key, deps=[STUDIES], partitions_def=REWARD_MODEL_PARTITIONS if is_trained else BASE_MODEL_PARTITIONS)
    def made(context: dg.AssetExecutionContext) -> None:
        if str(context.partition_key) in FAILS:
            raise dg.Failure("as the test wants it", allow_retries=False)

    return made


DEFINITIONS = dg.Definitions(
    [
        step(STUDIES),
        *map(gpu, GPU_PARTS),
        step(["raw", "base_models"], STUDIES, condition=PARTS_CHANGED),
        step(["raw", "rewards"], STUDIES, REWARD_MODELS, COMPLETION_REWARDS, condition=PARTS_CHANGED),
        step(["raw", "scores"], STUDIES, DOCUMENT_SCORES, condition=PARTS_CHANGED),
        step(["marts", "fct"], ["raw", "rewards"], ["raw", "base_models"], condition=INPUTS_CHANGED),
        step(["marts", "other"], ["raw", "scores"], ["raw", "base_models"], condition=INPUTS_CHANGED),
        step(SNAPSHOT, ["marts", "fct"], ["marts", "other"], condition=INPUTS_CHANGED),
    ]
)
EVERYTHING = {"raw/base_models", "raw/rewards", "raw/scores", "marts/fct", "marts/other", "published/snapshot"}


class Days:
    """An instance and the ticks of the automation on it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor = None

    def tick(self, at: datetime | None = None) -> set[str]:
        """What is asked for now, or at another time."""
        # In a thread of its own: it runs an event loop, and a browser's may be running in this one.
        with ThreadPoolExecutor(1) as thread:
            found = thread.submit(
                dg.evaluate_automation_conditions,
                defs=DEFINITIONS,
                instance=self.instance,
                cursor=self.cursor,
                evaluation_time=at,
            ).result()
        self.cursor = found.cursor
        graph = DEFINITIONS.resolve_asset_graph()
        asked = (key for key in graph.get_all_asset_keys() if found.get_num_requested(key))
        return {key.to_user_string() for key in asked}

    def make(self, *names: str, partition: str | None = None) -> bool:
        keys = [dg.AssetKey(name.split("/")) for name in names]
        job = DEFINITIONS.resolve_implicit_global_asset_job_def()
        done = job.get_subset(asset_selection=set(keys)).execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False
        )
        return done.success

    def plan(self, name: str, partition: str | None = None) -> dg.DagsterRun:
        """A run that has begun and is not done."""
        key = dg.AssetKey(name.split("/"))
        job = DEFINITIONS.resolve_implicit_global_asset_job_def().get_subset(asset_selection={key})
        tags = {"dagster/partition": partition} if partition else {}
        run = self.instance.create_run_for_job(job, tags=tags, asset_selection=frozenset({key}))
        started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name)
        self.instance.report_dagster_event(started, run.run_id)
        return run


@pytest.fixture
def days() -> Iterator[Days]:
    FAILS.clear()
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("base_models", ["s/a", "s/b"])
        yield Days(instance)


def test_all_that_follows_from_new_parts_is_asked_for_at_once_and_once(days: Days) -> None:
    assert days.tick() == set()
    days.make("parts/studies")
    assert days.tick() == EVERYTHING
    days.make(*EVERYTHING)
    assert days.tick() == set()
    days.make("parts/document_scores", partition="s/a")
    assert days.tick() == {"raw/scores", "marts/other", "published/snapshot"}
    days.make("raw/scores", "marts/other", "published/snapshot")
    assert days.tick() == set() == days.tick()


def test_a_model_that_fails_or_never_ran_holds_back_nothing_else(days: Days) -> None:
    days.tick()
    days.make("parts/studies")
    days.make(*days.tick())
    FAILS.add("s/a|bradley_terry")
    assert not days.make("parts/reward_models", "parts/completion_rewards", partition="s/a|bradley_terry")
    assert days.tick() == set()
    days.make("parts/reward_models", "parts/completion_rewards", partition="s/b|bradley_terry")
    assert days.tick() == {"raw/rewards", "marts/fct", "published/snapshot"}


def test_what_failed_is_not_asked_for_again_until_something_changes(days: Days) -> None:
    days.tick()
    days.make("parts/studies")
    FAILS.add("marts/fct")
    assert not days.make(*days.tick())
    assert days.tick() == set() == days.tick()
    FAILS.clear()
    days.make("parts/studies")
    assert days.tick() == EVERYTHING


def test_nothing_is_landed_while_models_are_at_work_or_a_snapshot_is_made(days: Days) -> None:
    days.tick()
    days.make("parts/studies")
    days.make(*days.tick())
    assert days.tick() == set()
    run = days.plan("parts/document_scores", partition="s/a")
    days.make("parts/studies")
    assert days.tick() == set()
    days.instance.report_run_failed(run, "ended")
    publishing = days.plan("published/snapshot")
    assert days.tick() == set()
    days.instance.report_run_failed(publishing, "ended")
    assert days.tick() == EVERYTHING


def test_what_is_there_is_landed_once_an_hour_however_long_models_are_at_work(days: Days) -> None:
    hour = datetime.now().astimezone().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    days.tick()
    days.make("parts/studies")
    days.make(*days.tick())
    assert days.tick() == set()
    days.make("parts/document_scores", partition="s/a")
    days.plan("parts/document_scores", partition="s/b")
    assert days.tick(hour - timedelta(minutes=1)) == set()
    assert days.tick(hour + timedelta(minutes=1)) == {"raw/scores", "marts/other", "published/snapshot"}
    assert days.tick(hour + timedelta(minutes=2)) == set()
