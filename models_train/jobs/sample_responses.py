"""Sample the responses of a policy to the prompts of its study, block by block, and write their parts.

Finished blocks lie in `<home>/responses/<run id>/` until all are there; what was interrupted goes on after them.
"""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from models_train.errors import UserError, close_match
from models_train.files import atomic_path, remove
from models_train.jobs.command_line import run_job
from models_train.jobs.reporting import Reporter, progress
from models_train.jobs.training_job import at_commit, beside_others, locked, model_of, study_of
from models_train.logprobs.packed_engine import model_on_device, rows_that_count
from models_train.logprobs.vllm_engine import why_not_here
from models_train.metering import Costs, default_device, measure
from models_train.modeling.base_models import ModelSource, load_config, load_tokenizer
from models_train.parts import is_whole, part_path, read_table, renew_run, write_part
from models_train.policies.prompts import PolicyPrompt, load_prompts, prompt_rows, prompts_at_commit
from models_train.policies.sampling import (
    OK,
    PolicyText,
    SamplingEngine,
    TransformersEngine,
    policy_source,
    sampled_rows,
)
from models_train.policies.vllm_sampling import load_vllm_sampler
from models_train.reward_benchmarks.items import family_of
from models_train.store import Parts, parts_of
from models_train.study.response_ids import prompts_run_id, responses_run_id
from models_train.study.study import Study
from models_train.study.teachers import Policy
from models_train.study.teachers import SamplingEngine as EngineName
from warehouse.contracts import REWARD_MODEL_TABLES
from warehouse.contracts.responses import POLICIES, PROMPTS, RESPONSES

JOB = "sample_responses"
RUN_COSTS = REWARD_MODEL_TABLES["run_costs"]
MADE = (POLICIES, RESPONSES, RUN_COSTS)
"""Tables that the responses of a policy have a part in, beside the prompts, which all policies share."""
SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed")
"""Settings of a policy that are its sampling arguments."""
_COSTS = b"costs"


def run(path: Path, policy_id: str, home: Path, report: Reporter) -> dict[str, Any]:
    """Sample what is left; returns figures over all responses. Raises UserError, OSError."""
    study, policy = sampled_policy(path, policy_id, home)
    return SamplingJob(study, policy, path, home, report).run()


def sampled_policy(path: Path, policy_id: str, home: Path) -> tuple[Study, Policy]:
    """A study with the commits of its prompts and of one of its policies, and that policy.

    Raises UserError where the study is wrong or has no such policy, or where the hub does not know a revision.
    """
    study = study_of(path, home)
    teachers = study.teachers
    policies = {one.policy_id: one for one in teachers.policies} if teachers else {}
    if teachers is None or policy_id not in policies:
        hint = close_match(policy_id, policies, "listed are") if policies else "list it there"
        raise UserError(f"{path}: the study has no {policy_id!r} under teachers.policies; {hint}")
    policy = policies[policy_id]
    if policy.model_id is not None:
        model = model_of(study, path, policy.model_id, home)
        if model != study.by_id[policy.model_id]:
            study = study_of(path, home)  # with the commit that is kept now
    elif policy.hub_id is not None:
        policy = at_commit(policy, policy_id, path, home)
    return prompts_at_commit(study, path, home), policy


class SamplingJob:
    """The sampling of a policy's responses. study: with the commit of its prompts. policy: at its commit."""

    def __init__(self, study: Study, policy: Policy, path: Path, home: Path, report: Reporter) -> None:
        self._study, self._policy, self._path, self._home, self._report = study, policy, path, home, report
        self._parts: Parts = parts_of(home)
        self._run_ids: dict[EngineName, str] = {
            engine: responses_run_id(policy, engine, study, path.parent) for engine in policy.engines
        }

    def run(self) -> dict[str, Any]:
        """Sample what is left; returns figures over all responses."""
        for run_id in self._run_ids.values():
            if all(is_whole(self._part(table.name, run_id)) for table in MADE):
                self._say("the responses are there; nothing to do")
                self._write_prompts(load_prompts(self._study, self._path.parent).prompts)
                for table in MADE:
                    renew_run(self._parts, table.name, self._study.study_id, run_id)
                return self._figures(run_id)
        found = load_prompts(self._study, self._path.parent)
        for note in found.notes:
            self._say(note)
        with beside_others(self._home, self._say):
            sampler, text = self._load(found.prompts)
            run_id = self._run_ids[sampler.name]  # type: ignore[index]
            folder = self._home / "responses" / run_id
            with locked(folder, f"{self._policy.policy_id}: another process samples these responses"):
                rows, costs = self._sampled(sampler, text, found.prompts, folder)
        return self._write(rows, costs, sampler, text, found.prompts)

    def _say(self, text: str) -> None:
        self._report.say(f"{self._policy.policy_id}: {text}")

    def _part(self, table: str, run_id: str) -> Any:
        return part_path(self._parts, table, self._study.study_id, run_id)

    def _load(self, prompts: Sequence[PolicyPrompt]) -> tuple[SamplingEngine, PolicyText]:
        """The engine, and the policy's texts. Raises UserError where the model cannot be loaded."""
        source = policy_source(self._policy, self._study, self._path.parent)
        text = PolicyText(self._policy, load_tokenizer(source), load_config(source))
        reason = why_not_here() if self._policy.engine == "auto" else None
        if "vllm" in self._policy.engines and reason is None:
            try:
                return self._told(self._load_vllm(source, text, prompts), text, ""), text
            except UserError as error:
                if self._policy.engine == "vllm":
                    raise
                self._report.say(f"{str(error).rpartition('; ')[0]}; Transformers samples instead")
                gc.collect()
                torch.cuda.empty_cache()
        model = model_on_device(source, getattr(torch, self._policy.precision))
        n_rows = rows_that_count(model, text.largest_token_id)
        return self._told(TransformersEngine(model, self._policy, text.ends(source), n_rows), text, reason), text

    def _load_vllm(self, source: ModelSource, text: PolicyText, prompts: Sequence[PolicyPrompt]) -> SamplingEngine:
        asked = (text.ask(prompt) for prompt in prompts)
        most = max((len(one.token_ids) for one in asked if not isinstance(one, str)), default=1)
        return load_vllm_sampler(source, self._policy, text.ends(source), text.largest_token_id, most)

    def _told(self, engine: SamplingEngine, text: PolicyText, reason: str | None) -> SamplingEngine:
        why = f" ({reason})" if reason else ""
        self._say(
            f"{engine.name} samples{why}, {self._policy.precision} on {default_device()}, prompts by "
            f"{text.prompt_format.replace('_', ' ')}"
        )
        return engine

    def _sampled(
        self, engine: SamplingEngine, text: PolicyText, prompts: Sequence[PolicyPrompt], folder: Path
    ) -> tuple[pa.Table, Costs]:
        """Rows of all responses, and what they cost; blocks that are there are read."""
        numbers = range(self._policy.responses)
        size = max(1, engine.n_at_once // len(numbers))
        blocks = [Block(folder, place, prompts[place : place + size]) for place in range(0, len(prompts), size)]
        done = sum(len(block.prompts) for block in blocks if block.is_there) * len(numbers)
        with progress(
            self._report, f"{self._policy.policy_id}: responses", len(prompts) * len(numbers), done
        ) as counter:
            for block in blocks:
                if not block.is_there:
                    block.sample(engine, text, numbers, counter.advance)
        rows, costs = zip(*(block.read() for block in blocks), strict=True)
        return pa.concat_tables(rows), reduce(add, costs)

    def _write(
        self, rows: pa.Table, costs: Costs, engine: SamplingEngine, text: PolicyText, prompts: Sequence[PolicyPrompt]
    ) -> dict[str, Any]:
        """Write the parts; returns figures. Raises UserError where there is no response."""
        policy, run_id = self._policy, self._run_ids[engine.name]  # type: ignore[index]
        statuses = Counter(rows["status"].to_pylist())
        if not statuses[OK]:
            first = next(iter(statuses))
            raise UserError(
                f"{policy.policy_id}: none of its {rows.num_rows:,} responses has text, so nothing was written; the "
                f"first has the status: {first}"
            )
        self._write_prompts(prompts)
        described = policy_row(policy, self._study, text.prompt_format, engine.name)
        cost = costs.row(policy.policy_id, JOB, engine.name)
        for table, found in ((POLICIES, [described]), (RESPONSES, rows), (RUN_COSTS, [cost])):
            write_part(self._parts, table, found, study_id=self._study.study_id, run_id=run_id)
        remove(self._home / "responses" / run_id)
        return self._figures(run_id)

    def _write_prompts(self, prompts: Sequence[PolicyPrompt]) -> None:
        """Write the part of the prompts, or see to it that it is the newest: all policies share it."""
        run_id = prompts_run_id(self._study, self._path.parent)
        if is_whole(self._part(PROMPTS.name, run_id)):
            renew_run(self._parts, PROMPTS.name, self._study.study_id, run_id)
        else:
            write_part(self._parts, PROMPTS, prompt_rows(prompts), study_id=self._study.study_id, run_id=run_id)

    def _figures(self, run_id: str) -> dict[str, Any]:
        columns = ["status", "n_tokens", "finish_reason"]
        rows = read_table(self._part(RESPONSES.name, run_id), columns)
        (costs,) = read_table(self._part(RUN_COSTS.name, run_id)).to_pylist()
        statuses = Counter(status.split(":")[0] for status in rows["status"].to_pylist())
        return {
            "rows": rows.num_rows,
            **{f"responses, {status}": n for status, n in statuses.most_common()},
            "cut at max_tokens": rows["finish_reason"].to_pylist().count("length"),
            "engine": costs["variant"],
            "device seconds": round(costs["device_seconds"], 1),
        }


@dataclass(frozen=True)
class Block:
    """The responses to some prompts, which are kept in a file together. place: of the first prompt."""

    folder: Path
    place: int
    prompts: Sequence[PolicyPrompt]

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.place:07d}-{len(self.prompts)}.parquet"

    @property
    def is_there(self) -> bool:
        """True where the block is finished; a damaged file is not."""
        return self._file.exists() and is_whole(self._file)

    def sample(
        self, engine: SamplingEngine, text: PolicyText, numbers: Sequence[int], advance: Callable[[int, int], None]
    ) -> None:
        """Sample the responses, and keep them."""
        with measure(default_device()) as meter:

            def counted(n: int, n_tokens: int) -> None:
                meter.add_tokens(n_tokens)
                advance(n, n_tokens)

            rows = sampled_rows(engine, text, self.prompts, numbers, counted)
        table = pa.Table.from_pylist(rows, RESPONSES.filled_columns)
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(self._file) as beside:
            metadata = {_COSTS: json.dumps(vars(meter.costs)).encode()}
            pq.write_table(table.replace_schema_metadata(metadata), beside, write_page_checksum=True)

    def read(self) -> tuple[pa.Table, Costs]:
        """Rows and costs."""
        table = read_table(self._file)
        return table.replace_schema_metadata(None), Costs(**json.loads(table.schema.metadata[_COSTS]))


def policy_row(policy: Policy, study: Study, prompt_format: str, engine: str) -> dict[str, Any]:
    """The row of the raw table policies of one that is sampled here."""
    model = study.by_id[policy.model_id] if policy.model_id else None
    facts: Mapping[str, Any] = model.model_dump() if model else {}
    of_hub = model if model is not None and not model.is_local else None
    sampling = policy.model_dump(include=set(SAMPLING))
    return {
        "policy_id": policy.policy_id,
        "kind": "sampled",
        "model_id": policy.model_id,
        "hub_id": of_hub.hub_id if of_hub else policy.hub_id,
        "revision": of_hub.revision if of_hub else policy.revision,
        "family": policy.family or facts.get("family") or family_of(policy.hub_id),
        "stage": policy.stage or facts.get("stage"),
        "params_b": policy.params_b or facts.get("params_b"),
        "parent_policy_id": None,
        "sampling": json.dumps(sampling, sort_keys=True),
        "prompt_format": prompt_format,
        "engine": engine,
        "source": None,
        "licence": facts.get("licence"),
    }


main = partial(run_job, JOB)

if __name__ == "__main__":
    main()
