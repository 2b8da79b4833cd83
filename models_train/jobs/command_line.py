"""The command line of all jobs: `python -m models_train.jobs <job> ...`, or `python -m models_train.jobs.<job> ...`.

A job is the function `run` of its module, whose parameters are the job's flags. The module is imported only once the
arguments are sound: help needs neither torch nor transformers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import joblib

from models_train.errors import UserError
from models_train.files import disk_problem
from models_train.jobs.reporting import reporter
from models_train.machine import is_out_of_memory, out_of_memory
from models_train.processes import INTERRUPTED, stopped_by_signals
from models_train.store import parts_at
from models_train.study.settings import Objective
from models_train.study.teachers import Method

MOST_PROCESSES = 8
"""Most processes that a job starts by default: its pieces of work are too short to keep more of them busy."""


def default_processes() -> int:
    """Cores that this process may use (the limit of a container counts), at most MOST_PROCESSES."""
    return min(joblib.cpu_count(), MOST_PROCESSES)


PROCESSES: dict[str, Any] = {
    "type": int,
    "default": default_processes(),
    "help": f"processes (default: all usable cores, at most {MOST_PROCESSES})",
}
FLAGS: dict[str, dict[str, Any]] = {
    "study": {"dest": "path", "type": Path, "required": True, "help": "study file"},
    "model": {"dest": "model_id", "required": True, "help": "model_id of the base model in the study file"},
    "objective": {"choices": get_args(Objective), "required": True, "help": "objective of the reward model"},
    "reward": {"dest": "reward_id", "required": True, "help": "reward_id of a reward model of the study file"},
    "policy": {"dest": "policy_id", "required": True, "help": "policy_id under teachers.policies in the study file"},
    "method": {"choices": get_args(Method), "required": True, "help": "method of the policy run"},
    "seed": {"type": int, "required": True, "help": "seed of the policy run"},
    "home": {"type": Path, "required": True, "help": "run-time folder: parts, texts, reward models, caches"},
    "inputs": {"type": Path, "required": True, "help": "folder with one folder of inputs per study"},
    "parts": {"type": parts_at, "required": True, "help": "folder or address of the parts"},
    "targets": {"default": "{}", "help": "JSON: study -> targets to predict (default: score)"},
    "folds": {"default": "{}", "help": "JSON: study -> what is left out together, publisher (default) or lineage"},
    "others": {"default": "{}", "help": "JSON: study -> other studies whose reward models it learns from, too"},
    "bootstraps": {"type": int, "default": 1000, "help": "resamples of publishers (default: 1000)"},
    "split": {
        "help": "share of a job array's task: i/n works on every n-th shard from the i-th on, i from 0 to n-1",
    },
    "devices": {
        "type": int,
        "default": 1,
        "help": "devices of the cluster that train together, at most (default: 1)",
    },
    "workers": PROCESSES,
    "jobs": PROCESSES,
    "gpus": {"required": True, "help": "number of GPUs to plan for"},
    "device": {"default": "", "help": "kind of GPU, such as H200 (default: the one that shards were scored on)"},
    "price": {"default": "", "help": "dollars per GPU and hour (default: no cost)"},
    "preemption": {"default": "", "help": "how often a GPU is taken away per hour, such as 0.05 (default: never)"},
    "asked": {"default": "{}", "help": "JSON: settings of the group race in place of the study's, such as a budget"},
    "probe": {"default": "", "help": "1: score a shard first, here"},
}
JOBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "find_models": (
        "Search the hub for the models that the group `hub` of a study describes, and keep the answer.",
        ("study", "home"),
    ),
    "make_lab": (
        "Make the synthetic lab of a study: base models, preferences, test set, documents, and their known truth.",
        ("study", "home", "workers"),
    ),
    "train_reward_model": (
        "Train the reward model of a base model: search over learning rates, select a checkpoint, save it.",
        ("study", "model", "objective", "home", "devices"),
    ),
    "race": (
        "Race the base models of a study: train them further and further, and drop those that cannot win.",
        ("study", "home", "asked"),
    ),
    "score_completions": (
        "Compute the reward of every completion of benchmarks, and of every response, with a trained reward model.",
        ("study", "model", "objective", "home"),
    ),
    "score_reward_model": (
        "Compute the reward of every completion of benchmarks, and of every response, with a reward model of a hub.",
        ("study", "reward", "home"),
    ),
    "sample_responses": (
        "Sample the responses of a policy to the prompts of the study.",
        ("study", "policy", "home"),
    ),
    "import_responses": (
        "Read the files of responses that a study lists, with the rewards in them.",
        ("study", "home"),
    ),
    "sample_documents": (
        "Draw the sample of documents of a study and write its texts.",
        ("study", "home"),
    ),
    "score_documents": (
        "Compute the log-probabilities of the sampled documents under a base model, shard by shard.",
        ("study", "model", "home", "split"),
    ),
    "teach_policy": (
        "Train a policy by a reward, and measure it on the way: its responses, their rewards, its distance.",
        ("study", "policy", "reward", "method", "seed", "home"),
    ),
    "plan": (
        "Plan the document scoring that is left of a study: hours, bottleneck, actors per model, cost.",
        ("study", "home", "gpus", "device", "price", "preemption", "probe"),
    ),
    "run_benchmarks": (
        "Run the benchmarks of a study on a base model through lm-evaluation-harness.",
        ("study", "model", "home"),
    ),
    "import_benchmarks": (
        "Import the benchmark result files (lm_eval, EvalPlus) that a study lists.",
        ("study", "home"),
    ),
    "import_leaderboard": (
        "Import the leaderboards of reward models that a study lists, with the base model of each entry.",
        ("study", "home"),
    ),
    "import_scores": (
        "Read the benchmarks of reward models and the score files that a study lists.",
        ("study", "home"),
    ),
    "run_checks": (
        "Check the responses of a study's policies: right answers, tests of programs.",
        ("study", "home"),
    ),
    "gold_rewards": (
        "Compute the gold rewards of responses: the lab's truth, checks, people's labels, copies of reward models.",
        ("study", "home"),
    ),
    "fit_performance_model": (
        "Fit the performance model of every study: predictions, comparisons, components, recommendations.",
        ("inputs", "parts", "targets", "folds", "others", "bootstraps", "jobs"),
    ),
}
"""Summary and flags of each job."""


def run_job(job: str | None = None, arguments: Sequence[str] | None = None) -> None:
    """Run a job and report its figures; an error that its reader can correct is reported without a traceback.

    job: by name; None where it is the first of the arguments. arguments: None for those of the process. Raises
    SystemExit where the arguments are wrong, the job fails or is stopped (Ctrl-C, SIGTERM).
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = vars(_parser().parse_args(given if job is None else [job, *given]))
    module = f"models_train.jobs.{options.pop('job')}"
    with stopped_by_signals(), reporter() as report:
        try:
            report.done(import_module(module).run(report=report, **options))
        except UserError as error:
            report.fail(str(error))
        except OSError as error:
            report.fail(disk_problem(error, options["home"] if "home" in options else Path.cwd()) or _of_file(error))
        except (MemoryError, RuntimeError, ImportError) as error:
            if not is_out_of_memory(error):
                raise
            report.fail(out_of_memory(f"the job {module.rpartition('.')[2]}", error))
        except KeyboardInterrupt:
            print("Interrupted. The same command resumes the work.", file=sys.stderr, flush=True)
            sys.exit(INTERRUPTED)


def _of_file(error: OSError) -> str:
    """The system's words about a file, without the number of the error."""
    if error.strerror is None:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models_train.jobs", description="Run one job of the study; results are written as parts."
    )
    jobs = parser.add_subparsers(dest="job", required=True, metavar="job")
    for name, (summary, flags) in JOBS.items():
        mine = jobs.add_parser(name, help=summary, description=summary)
        for flag in flags:
            mine.add_argument(f"--{flag}", **FLAGS[flag])
    return parser
