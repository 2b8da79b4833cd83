"""A job as `models_train.jobs` has them, without torch: it marks its beginning and end in a file, sleeps and reports.

As a program with `run` it is a Dagster run instead, whose steps are such jobs on a cluster.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

MODULE = "tests.support.cluster_job"


def job() -> None:
    """The job: `--mark <file> --seconds <n> --fail <words>|once|exit`."""
    from dagster_pipes import open_dagster_pipes

    parser = argparse.ArgumentParser()
    for flag in ("mark", "name", "seconds", "fail", "home"):
        parser.add_argument(f"--{flag}", default="")
    options = parser.parse_args()
    mark = Path(options.mark)
    began = mark.read_text().count("began") if mark.exists() else 0

    def say(what: str) -> None:
        with mark.open("a") as file:
            print(what, options.name, file=file)

    def stop(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Ray may send it more than once
        say("stopped")
        sys.exit(1)

    signal.signal(signal.SIGTERM, stop)
    say("began")
    with open_dagster_pipes() as context:
        context.log.info(f"home {options.home}, {os.environ.get('REWARDBASE_RAY')}")
        time.sleep(float(options.seconds or 0))
        if options.fail == "exit":
            os._exit(3)
        if options.fail and (options.fail != "once" or not began):
            context.report_custom_message({"failure": f"no luck: {options.fail}", "may_pass": options.fail == "once"})
            sys.exit(0)
        key = context.extras.get("asset_key")
        context.report_asset_materialization(metadata={"rows": 3, "name": options.name}, asset_key=key)
    say("ended")


def run(instance_folder: str, *arguments: str) -> None:
    """A run with one step, a job with these arguments."""
    import dagster as dg

    from dagster_project.lib import jobs
    from dagster_project.lib.failures import as_dagster_failure

    jobs.ON_CLUSTER.append(MODULE)

    @dg.asset(key="made_0")
    def made_0(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        with as_dagster_failure(context):
            return jobs.run_job(context, pipes, [sys.executable, "-m", MODULE, *arguments]).get_materialize_result()

    with dg.DagsterInstance.from_config(instance_folder) as instance:
        resources = {"pipes": jobs.job_client({})}
        done = dg.materialize([made_0], instance=instance, resources=resources, raise_on_error=False)
        for event in done.all_events:
            if event.is_step_failure:
                data = event.step_failure_data.user_failure_data
                print("FAILED", data.description if data else event.message)
            elif event.is_step_materialization:
                print("MADE", event.materialization.metadata["rows"].value, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(*sys.argv[2:])
    else:
        job()
