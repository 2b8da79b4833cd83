"""Settings of teaching: policies, prompts, responses, gold rewards, and the training of policies. Torch-free."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models_train.study.models import LOCAL
from models_train.study.settings import (
    MOST,
    Count,
    CountOrZero,
    Distinct,
    Name,
    NotNegative,
    Params,
    Positive,
    Rate,
    Revision,
    Seed,
    Settings,
    Stage,
    Text,
)
from models_train.study.training import DataSource, Precision

ResponseFormat = Literal["alpaca_eval", "ultrafeedback", "best_of_n", "gold_labelled", "plain"]
CheckName = Literal["math_answer", "code_tests"]
SamplingEngine = Literal["vllm", "transformers"]
Method = Literal["rloo", "grpo", "best_of_n_distill"]
Over = Literal["seeds", "bases", "objectives"]
Probability = Annotated[float, Field(gt=0, le=1)]
CODE_TESTS: CheckName = "code_tests"
FLAT = "_flat"
"""Added to the name of a gold reward that is the lab's truth: the teacher of the same order and less spread."""
LAB_PROMPTS = "lab_prompts"
"""Name of the lab's prompt set."""
RECORD_ENDINGS = (".json.gz", ".json.zst", ".jsonl.gz", ".jsonl.zst", ".json", ".jsonl", ".parquet")
"""Endings of files of responses, which are no part of the name of their prompt set."""
SHARES_SAVED = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the steps of a policy run after which its policy is saved and measured."""


class Policy(Settings):
    """A model that responses are sampled from: either a model of the study, `hub_id` or `path`."""

    policy_id: Name
    """Name of the policy in all tables."""
    model_id: Name | None = None
    """A model of the study, its candidates included."""
    hub_id: Name | None = None
    """Repository on the hub."""
    revision: Revision | None = None
    """Commit, branch or tag of the repository; without it, the newest commit."""
    path: Text | None = None
    """Local folder. A relative path begins at the folder of the study file; `~` and variables are filled in."""
    remote_code: bool = False
    """Run Python code of the repository or folder; of a hub only with a commit as revision."""
    family: Name | None = None
    """Model family, such as Llama-3.1; of a model of the study, its own."""
    stage: Stage | None = None
    """Last training stage; of a model of the study, its own."""
    params_b: Params | None = None
    """Parameters in billions; of a model of the study, its own."""
    responses: Annotated[int, Field(ge=1, le=4096)] = 16
    """Responses to each prompt."""
    temperature: Positive = 1.0
    """Temperature of sampling; 1 samples the model's own distribution."""
    top_p: Probability = 1.0
    """Smallest share of probability that tokens are sampled from; 1 for all of them."""
    top_k: CountOrZero = 0
    """Number of the likeliest tokens that are sampled from; 0 for all of them."""
    repetition_penalty: Positive = 1.0
    """Penalty of tokens that occurred before; 1 for none."""
    max_tokens: Count = 512
    """Most tokens of a response."""
    seed: Seed = 0
    """Seed of sampling."""
    prompt_format: Literal["chat_template", "plain"] | None = None
    """How a prompt becomes token ids: the model's chat template, or turns of plain text. By default the template where
    the model has one."""
    engine: Literal["auto"] | SamplingEngine = "auto"
    """What samples: vLLM, or Transformers; auto takes vLLM where it is installed and can run the model on a GPU."""
    precision: Precision = "bfloat16"
    """Number format of the forward pass."""

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if sum(one is not None for one in (self.model_id, self.hub_id, self.path)) != 1:
            raise PydanticCustomError("policy", "needs either model_id, hub_id or path, one of them")
        if self.revision is not None and self.hub_id is None:
            raise PydanticCustomError("policy", "has a revision, which goes with hub_id only; remove it")
        if self.hub_id is not None and self.hub_id.startswith(LOCAL):
            raise PydanticCustomError("policy", "has a folder as hub_id; give the folder as path instead")
        return self

    @property
    def is_local(self) -> bool:
        """True for a folder."""
        return self.path is not None

    @property
    def engines(self) -> tuple[SamplingEngine, ...]:
        """Engines that the setting allows."""
        return get_args(SamplingEngine) if self.engine == "auto" else (self.engine,)

    def at_commit(self, commit: str) -> Self:
        """The same at the commit of its revision."""
        return self.model_copy(update={"revision": commit})


class Prompts(DataSource):
    """Prompts of policies: rows with `prompt` (a text, or messages), and where there are any with `prompt_id`, `split`,
    `gold_kind` and `gold`."""

    name: Name = "prompts"
    """Name of the prompt set in all tables."""
    measure: Count = 500
    """Prompts whose responses are compared."""
    teach: CountOrZero = 0
    """Prompts that policies are trained on; none of them is measured on."""


class ResponseImport(Settings):
    """Responses that were sampled elsewhere."""

    path: Text
    """A file, or a folder, which is searched with all folders in it: JSON, JSONL (also .gz, .zst) or Parquet."""
    format: ResponseFormat
    """`alpaca_eval`: `instruction`, `output`, `generator`. `ultrafeedback`: `instruction` and `completions` with
    `model`, `response` and `overall_score`. `best_of_n`: rows of reward-bench's best of n. `gold_labelled`:
    `instruction`, `input`, `answers`, `gold_scores`. `plain`: `prompt`, `response` or `responses`, and where there are
    any `policy`, `prompt_id` and `reward`."""
    name: Name | None = None
    """Name of the prompt set; by default the name of the file or folder."""
    policy_id: Name | None = None
    """Name of the policy, where the rows do not state it; by default that of the prompt set. A policy that rows state
    has the name of the prompt set before its own, such as `model_outputs:gpt4`."""
    reward_id: Name | None = None
    """Name of the scores in the rows, which are imported as its rewards; without it they are left out."""
    licence: Name | None = None
    """Licence of the responses."""

    @property
    def prompt_set(self) -> str:
        """Name of the prompt set."""
        name = PurePath(self.path).name
        ending = next((one for one in RECORD_ENDINGS if name.lower().endswith(one)), "")
        return self.name or name[: len(name) - len(ending)].strip() or "responses"

    def policy_of(self, stated: str | None) -> str:
        """policy_id of a response. stated: what its row names, in the prompt set of which it is a policy."""
        return self.policy_id or self.prompt_set if stated is None else f"{self.prompt_set}:{stated}"

    def has_policy(self, policy_id: str) -> bool:
        """True for a policy_id that the file may have responses of."""
        return policy_id == self.policy_of(None) or policy_id.startswith(self.policy_of(""))


class Gold(Settings):
    """A reward that others are measured against: either `reward`, `strongest`, `checks`, `labels` or `lab`."""

    gold_id: Name | None = None
    """Name of the gold reward; by default that of the reward model, else its kind."""
    reward: Name | None = None
    """reward_id of a reward model of the study."""
    strongest: bool = False
    """Take the reward model that is trained here with the highest RewardBench score; it is left out of its own
    comparison."""
    checks: Annotated[tuple[CheckName, ...], Field(strict=False), Distinct] = ()
    """Checks whose mean is the reward. `math_answer`: the `gold` of a prompt is its right answer, a text or a number.
    `code_tests`: it is a test, or a list of tests, in Python."""
    labels: Text | None = None
    """File of people's ratings: rows of `policy_id`, `prompt_id`, `response_no` and `label`."""
    lab: bool = False
    """Take the true utility that the lab's world is made with."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = (self.reward is not None, self.strongest, bool(self.checks), self.labels is not None, self.lab)
        if sum(given) != 1:
            raise PydanticCustomError("gold", "needs either reward, strongest, checks, labels or lab, one of them")
        return self

    @property
    def kind(self) -> Literal["reward", "checks", "labels", "lab"]:
        """What it is made of."""
        return "checks" if self.checks else "labels" if self.labels is not None else "lab" if self.lab else "reward"

    @property
    def name(self) -> str:
        """Its gold_id."""
        return self.gold_id or self.reward or ("strongest" if self.strongest else self.kind)

    @property
    def names(self) -> tuple[str, ...]:
        """reward_ids that it gives: its own, and of the lab's truth that of the flat teacher."""
        return (self.name, self.name + FLAT) if self.lab else (self.name,)


class Ensemble(Settings):
    """Ensembles of reward models, under every formula: mean, min, uwo, mean_minus_std, median, soft_min."""

    over: Over
    """In what its members differ: seeds (of one base model and objective), bases (of one objective), or objectives (of
    one base model)."""
    members: Annotated[tuple[Name, ...], Field(strict=False, min_length=2), Distinct] | None = None
    """reward_ids of its members; by default all reward models of the study that differ in nothing else."""


class Teach(Settings):
    """Training of the policies by rewards."""

    method: Annotated[tuple[Method, ...], Field(strict=False, min_length=1), Distinct] = ("rloo",)
    """RLOO, GRPO, or fine-tuning on the best of n responses by the reward."""
    policies: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct] | None = None
    """policy_ids that are trained; by default all that are sampled here."""
    rewards: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct] | None = None
    """reward_ids that teach, of reward models, gold rewards and ensembles; by default all reward models of the study,
    and the gold rewards."""
    steps: Count = 200
    """Optimizer steps."""
    prompts_per_step: Count = 16
    """Prompts of a step."""
    generations: Annotated[int, Field(ge=2, le=MOST)] = 4
    """Responses to each prompt of a step."""
    learning_rate: Rate = 1e-6
    """Learning rate, constant."""
    kl: NotNegative = 0.05
    """Weight of the KL divergence from the initial policy."""
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1), Distinct] = (0, 1, 2)
    """Seeds; every run is done once with each."""


class Teachers(Settings):
    """Whether reward models are good teachers of policies."""

    policies: Annotated[tuple[Policy, ...], Field(strict=False)] = ()
    """Policies that responses are sampled from."""
    prompts: Prompts | None = None
    """Prompts of these policies; of a study with a lab, by default the lab's."""
    responses: Annotated[tuple[ResponseImport, ...], Field(strict=False)] = ()
    """Files of responses that were sampled elsewhere."""
    gold: Annotated[tuple[Gold, ...], Field(strict=False)] = ()
    """Rewards that the reward models are measured against."""
    rewards: Annotated[tuple[Name, ...], Field(strict=False, min_length=1), Distinct] | None = None
    """reward_ids of the reward models that score the responses; by default all that the study trains or scores."""
    best_of: Annotated[tuple[Count, ...], Field(strict=False, min_length=1), Distinct] = (1, 2, 4, 8, 16)
    """Numbers of responses that the best is chosen of."""
    ensembles: Annotated[tuple[Ensemble, ...], Field(strict=False)] = ()
    """Ensembles of reward models."""
    teach: Teach | None = None
    """Training of policies by rewards; left out where there is none."""
    allow_code: bool = False
    """Run code that policies wrote, for the check code_tests: in a process without network, environment or rights."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [one.policy_id for one in self.policies]
        if repeated := [name for name in names if names.count(name) > 1]:
            text = "has the policy_id '{name}' twice; give one of them another"
            raise PydanticCustomError("teachers", text, {"name": repeated[0]})
        golds = [one.name for one in self.gold]
        if repeated := [name for name in golds if golds.count(name) > 1]:
            text = "has the gold '{name}' twice; give one of them another gold_id"
            raise PydanticCustomError("teachers", text, {"name": repeated[0]})
        if any(CODE_TESTS in one.checks for one in self.gold) and not self.allow_code:
            text = "has the check code_tests, which runs code that policies wrote; state allow_code: true to allow it"
            raise PydanticCustomError("teachers", text)
        if self.teach is not None and self.prompts is not None and self.prompts.teach == 0:
            raise PydanticCustomError("teachers", "trains policies, which needs prompts: add `teach` to `prompts`")
        return self

    @property
    def checks(self) -> tuple[CheckName, ...]:
        """Checks that the gold rewards are made of."""
        return tuple(dict.fromkeys(check for one in self.gold for check in one.checks))
