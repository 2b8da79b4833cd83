"""GPU work on base models, reward models and policies, one partition each: training, rewards, document scores,
benchmarks, responses; races of base models; and imports of files."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.defs.jobs import RunHome
from dagster_project.lib import keys
from dagster_project.lib.due import study_files
from dagster_project.lib.failures import as_dagster_failure
from dagster_project.lib.jobs import (
    job_command,
    model_of,
    nothing_to_do,
    policy_of,
    policy_run_of,
    race_of,
    reward_of,
    run_for_studies,
    run_job,
    with_costs,
)
from dagster_project.lib.run_requests import RACE_SETTINGS
from models_train.study.fingerprints import (
    BENCHMARK_VERSION,
    IMPORT_VERSION,
    LEADERBOARD_VERSION,
    SCORE_IMPORT_VERSION,
    SCORED_VERSION,
    SCORING_VERSION,
    TRAINING_VERSION,
    benchmark_run_id,
    evaluation_run_ids,
    scored_run_id,
    scoring_run_id,
    trained_run_ids,
)
from models_train.study.golds import golds_of
from models_train.study.policy_runs import policy_run_id, policy_runs
from models_train.study.race_ids import RACE_VERSION, race_cost_run_id, race_plan, race_run_id
from models_train.study.response_ids import (
    CHECKS_VERSION,
    RESPONSE_IMPORT_VERSION,
    RESPONSE_REWARDS_VERSION,
    RESPONSES_VERSION,
    TEACH_VERSION,
    responses_run_id,
)
from models_train.study.response_parts import responses_of, rewards_run_id
from models_train.study.study import Study, load_study
from warehouse.paths import Home

GPU_WORK: dict[str, Any] = {"kinds": {"torch", "parquet"}, "pool": keys.GPU_POOL}
"""Settings common to all assets that are made by jobs in the pool `gpu`."""
REWARD_MODEL: dict[str, Any] = GPU_WORK | {
    "partitions_def": keys.REWARD_MODEL_PARTITIONS,
    "group_name": "training",
    "owners": ["team:training"],
    "code_version": f"training-{TRAINING_VERSION}",
}
BASE_MODEL: dict[str, Any] = GPU_WORK | {
    "partitions_def": keys.BASE_MODEL_PARTITIONS,
    "owners": ["team:scoring"],
}
BENCHMARK_CODE = f"benchmarks-{BENCHMARK_VERSION}"


@dg.asset(
    key=keys.REWARD_MODELS,
    deps=[keys.STUDIES],
    description="A reward model of each base model by each objective: the search over learning rates, its runs, "
    "learning curves and checkpoints as parts (paper, Section 3.1).",
    **REWARD_MODEL,
)
def reward_models(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.train_reward_model` for the partition; an interrupted search resumes."""
    return _run_by_objective(context, run_home, pipes, "train_reward_model", lambda trained, *_: [trained])


@dg.asset(
    key=keys.COMPLETION_REWARDS,
    deps=[keys.REWARD_MODELS],
    description="The reward of every completion of the study's benchmarks (definitions, Section 1), and of every "
    "response of its policies, by each reward model.",
    **REWARD_MODEL,
)
def completion_rewards(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.score_completions` for the partition."""
    made_by = partial(_of_scoring, home=run_home.home)
    return _run_by_objective(context, run_home, pipes, "score_completions", made_by)


@dg.asset(
    key=keys.HUB_REWARDS,
    deps=[keys.STUDIES],
    partitions_def=keys.HUB_REWARD_PARTITIONS,
    group_name="training",
    owners=["team:training"],
    code_version=f"hub-rewards-{SCORED_VERSION}",
    description="The reward of every completion of the study's benchmarks, and of every response of its policies, by "
    "each reward model of a hub or folder.",
    **GPU_WORK,
)
def hub_rewards(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.score_reward_model` for the partition."""
    with as_dagster_failure(context):
        path, _, reward_id = reward_of(study_files(), context.partition_key)
    done = run_job(context, pipes, job_command("score_reward_model", path, run_home.home, None, "--reward", reward_id))
    study = _read_again(path)
    (scored,) = (one for one in study.reward_models if one.reward_id == reward_id)
    made = _of_scoring(scored_run_id(scored, path.parent), study, path.parent, run_home.home)
    return with_costs(done.get_materialize_result(), run_home.home, study, *made)


@dg.asset(
    key=keys.DOCUMENT_SCORES,
    deps=[keys.DOCUMENTS],
    group_name="scoring",
    code_version=f"scoring-{SCORING_VERSION}",
    description="Log-probabilities of the sampled documents under each base model, shard by shard (definitions, "
    "Section 7).",
    **BASE_MODEL,
)
def document_scores(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.score_documents` for the partition; finished shards are skipped."""
    with as_dagster_failure(context):
        path, study, model = model_of(study_files(), context.partition_key)
    if study.scoring is None:
        return nothing_to_do(f"{path.name} scores no documents; add a group `scoring` to it")
    done = run_job(context, pipes, job_command("score_documents", path, run_home.home, model))
    result = done.get_materialize_result()
    study = _read_again(path)
    assert study.scoring is not None
    for engine in reversed(study.scoring.engines):
        run_id = scoring_run_id(study.by_id[model], study.scoring, path.parent, engine)
        result = with_costs(result, run_home.home, study, run_id)
    return result


@dg.asset(
    key=keys.BENCHMARKS,
    deps=[keys.STUDIES],
    group_name="benchmarks",
    code_version=BENCHMARK_CODE,
    description="The benchmarks of a study, run on each of its base models through lm-evaluation-harness.",
    **BASE_MODEL,
)
def benchmarks(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.run_benchmarks` for the partition."""
    with as_dagster_failure(context):
        path, study, model = model_of(study_files(), context.partition_key)
    if model not in study.benchmarked_model_ids:
        return nothing_to_do(f"{path.name} runs no benchmarks on {model}; list tasks under `benchmarks`")
    assert study.benchmarks is not None
    done = run_job(context, pipes, job_command("run_benchmarks", path, run_home.home, model))
    study = _read_again(path)
    assert study.benchmarks is not None
    run_id = benchmark_run_id(study.by_id[model], study.benchmarks, path.parent)
    return with_costs(done.get_materialize_result(), run_home.home, study, run_id)


@dg.asset(
    key=keys.RESPONSES,
    deps=[keys.STUDIES],
    partitions_def=keys.POLICY_PARTITIONS,
    group_name="policies",
    owners=["team:training"],
    code_version=f"responses-{RESPONSES_VERSION}",
    description="The responses of each policy to the prompts of its study, and their log-probabilities.",
    **GPU_WORK,
)
def responses(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.sample_responses` for the partition; finished blocks are kept."""
    with as_dagster_failure(context):
        path, _, policy_id = policy_of(study_files(), context.partition_key)
    done = run_job(context, pipes, job_command("sample_responses", path, run_home.home, None, "--policy", policy_id))
    study = _read_again(path)
    assert study.teachers is not None
    (policy,) = (one for one in study.teachers.policies if one.policy_id == policy_id)
    run_ids = [responses_run_id(policy, engine, study, path.parent) for engine in policy.engines]
    return with_costs(done.get_materialize_result(), run_home.home, study, *run_ids)


@dg.asset(
    key=keys.POLICY_RUNS,
    deps=[keys.COMPLETION_REWARDS, keys.HUB_REWARDS],
    partitions_def=keys.POLICY_RUN_PARTITIONS,
    group_name="training",
    owners=["team:training"],
    code_version=f"teaching-{TEACH_VERSION}",
    description="Policies that are trained by a reward, and the responses of what they become, with their rewards.",
    **GPU_WORK,
)
def taught_policies(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.teach_policy` for the partition; an interrupted run resumes."""
    with as_dagster_failure(context):
        path, study, name = policy_run_of(study_files(), context.partition_key)
    (one,) = (run for run in policy_runs(study) if run.name == name)
    flags = ("--policy", one.policy_id, "--reward", one.reward_id, "--method", one.method, "--seed", str(one.seed))
    done = run_job(context, pipes, job_command("teach_policy", path, run_home.home, None, *flags))
    study = _read_again(path)
    made = [
        policy_run_id(study, one, responses.run_id, path.parent)
        for responses in responses_of(run_home.home.parts, study)
        if responses.policy_id == one.policy_id
    ]
    return with_costs(done.get_materialize_result(), run_home.home, study, *made)


@dg.asset(
    key=keys.RACES,
    deps=[keys.STUDIES],
    partitions_def=keys.RACE_PARTITIONS,
    group_name="race",
    owners=["team:training"],
    code_version=f"races-{RACE_VERSION}",
    description="A race of the base models of a study: its looks, decisions and answer, and what it cost. The tag "
    f"{RACE_SETTINGS} of a run has settings in place of the study file's, as JSON.",
    **GPU_WORK,
)
def races(
    context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
) -> dg.MaterializeResult:
    """Run `models_train.jobs.race` for the partition; an interrupted race goes on."""
    with as_dagster_failure(context):
        path, study, name = race_of(study_files(), context.partition_key)
    asked = context.run.tags.get(RACE_SETTINGS)
    if study.race is None and asked is None:
        return nothing_to_do(f"{path.name} asks for no race; add a group `race`, or run `make pick STUDY={name}`")
    done = run_job(context, pipes, job_command("race", path, run_home.home, None, "--asked", asked or "{}"))
    study = _read_again(path)
    plan = race_plan(study, str(path), json.loads(asked or "{}"))
    race = race_run_id(plan, path.parent)
    costs = [race_cost_run_id(race, one) for one in plan.candidates]
    return with_costs(done.get_materialize_result(), run_home.home, study, *costs)


def imports(
    key: dg.AssetKey,
    job: str,
    code_version: str,
    description: str,
    is_listed: Callable[[Study], object],
    group: str = "benchmarks",
) -> dg.AssetsDefinition:
    """Runs a job for every study that lists files for it. is_listed: whether a study does."""

    @dg.asset(
        key=key,
        # No dependency on parts/studies, although it reads the same files: Dagster would split the dbt run for it.
        group_name=group,
        owners=["team:training" if group == "training" else "team:scoring"],
        kinds={"python", "parquet"},
        code_version=code_version,
        description=description,
    )
    def imported(
        context: dg.AssetExecutionContext, run_home: RunHome, pipes: dg.PipesSubprocessClient
    ) -> dg.MaterializeResult:
        with as_dagster_failure(context):
            paths = [path for path, study in study_files().items() if is_listed(study)]
        return run_for_studies(context, pipes, run_home.home, key, job, paths)

    return imported


benchmark_imports = imports(
    keys.BENCHMARK_IMPORTS,
    "import_benchmarks",
    f"imports-{IMPORT_VERSION}",
    "Benchmark values from result files that studies name: of lm_eval (--output_path) and of EvalPlus.",
    lambda study: study.benchmarks and study.benchmarks.imports,
)
leaderboards = imports(
    keys.LEADERBOARDS,
    "import_leaderboard",
    f"leaderboards-{LEADERBOARD_VERSION}",
    "Entries of the leaderboards of reward models that studies list, and what they are built on.",
    lambda study: study.leaderboards,
)
score_imports = imports(
    keys.SCORE_IMPORTS,
    "import_scores",
    f"score-imports-{SCORE_IMPORT_VERSION}",
    "Items of the benchmarks of reward models that studies name, and rewards from score files: of "
    "reward-bench, RewardMATH, RM-Bench, JudgeBench, and plain rows.",
    lambda study: study.benchmark_sets or study.score_imports,
)
gold_rewards = imports(
    keys.GOLD_REWARDS,
    "gold_rewards",
    f"gold-rewards-{RESPONSE_REWARDS_VERSION}-{CHECKS_VERSION}",
    "Gold rewards of the responses of policies: the lab's truth, checks, people's labels, copies of reward models.",
    golds_of,
    "policies",
)
response_imports = imports(
    keys.RESPONSE_IMPORTS,
    "import_responses",
    f"response-imports-{RESPONSE_IMPORT_VERSION}",
    "Responses that were sampled elsewhere, from files that studies name: of AlpacaEval, UltraFeedback, reward-bench's "
    "best of n, generations with gold scores, and plain rows.",
    lambda study: study.teachers and study.teachers.responses,
    "policies",
)


def _read_again(path: Path) -> Study:
    """A study after a job, which may have resolved revisions: their commits are a part of the run ids."""
    return load_study(path)


def _run_by_objective(
    context: dg.AssetExecutionContext,
    run_home: RunHome,
    pipes: dg.PipesSubprocessClient,
    job: str,
    made_by: Callable[[str, Study, Path], Iterable[str]],
) -> dg.MaterializeResult:
    """One job for the base model and objective of the context's partition.

    made_by: the run ids of the parts that it makes, from that of the reward model.
    """
    partition = context.partition_key.keys_by_dimension
    with as_dagster_failure(context):
        path, study, model = model_of(study_files(), partition["base_model"])
    objective = partition["objective"]
    if study.training is None or objective not in study.training.objectives:
        return nothing_to_do(f"{path.name} trains no reward model by {objective}; list it under training: objectives")
    if not study.by_id[model].is_compared:
        return nothing_to_do(f"{path.name} compares no reward model of {model}: a candidate, or is_compared is false")
    command = job_command(job, path, run_home.home, model, "--objective", objective)
    done = run_job(context, pipes, command)
    study = _read_again(path)
    trained = trained_run_ids(study, study.by_id[model], objective, path.parent)[None]
    made = made_by(trained, study, path.parent)
    return with_costs(done.get_materialize_result(), run_home.home, study, *made)


def _of_scoring(reward_model: str, study: Study, folder: Path, home: Home) -> Iterable[str]:
    """Run ids of the rewards of a reward model, by its own: on the benchmarks, and of the responses that are there."""
    yield from evaluation_run_ids(reward_model, study, folder).values()
    for responses in responses_of(home.parts, study):
        yield rewards_run_id(study, reward_model, responses)
