"""Nonsense in every key of a study file: it is refused, by one sentence that names the key, or it is of use."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from models_train.study.checks import consistency_problems
from models_train.study.settings import MOST, Location, Problem, field_problems
from models_train.study.study import Study

# Every key of a study file, so that no key is left out of the test.
FULL = yaml.safe_load("""\
study_id: full
title: Everything
synthetic: true
source: made
use_loose_benchmarks: false
answer_on: rewardbench
predicted_targets: [score]
run_noise:
  basis: seeds
  regression: {score: 0.7, chat: 1.6, chat_hard: 2.2, safety: 2.7, reasoning: 3.3}
  bradley_terry: {score: 1.4, chat: 7.9, chat_hard: 5.3, safety: 2.6, reasoning: 2.8}
folds: publisher
also_learn_from: [published]
size_groups:
- {name: small, params_b_from: 0, params_b_below: 3, default: a}
- {name: large, params_b_from: 3, default: b}
seeds: [{name: table_4_regression, paper_table: "4", source: s, licence: l}]
models:
- {model_id: a, hub_id: o/a, revision: main, publisher: p, family: f, params_b: 1, tokens_t: 1.0, stage: base,
   is_compared: true, remote_code: false, licence: mit, downloads: 3}
- {model_id: b, hub_id: o/b, publisher: p, family: f, params_b: 4, stage: sft, parent: a}
candidates:
- {model_id: c, hub_id: o/c, revision: main, publisher: p, family: f, params_b: 1, tokens_t: 1.0, stage: base,
   parent: a, is_compared: false, remote_code: false, licence: mit, downloads: 3,
   benchmarks: [{benchmark: mmlu, metric: acc_pct, value: 3.0, shots: "5", match: exact, pipeline: p, source: s}]}
training:
  preferences: {hub_id: o/d, revision: "0123456789012345678901234567890123456789"}
  ratings: {path: ./x}
  test_set: {path: ./y}
  objectives: [bradley_terry, regression]
  bradley_terry: {learning_rates: [0.1], epochs: 1, global_batch: 4, warmup_steps: 0, checkpoint_every: 2,
    max_tokens: 8, over_long: drop, weight_decay: 0.0, max_gradient_norm: 1.0, adam_betas: [0.9, 0.99],
    adam_epsilon: 1.0e-8}
  regression: {learning_rates: [0.1]}
  search: {method: exhaustive, seeds: [0], rungs: [0.1, 1.0], keep: 0.4, budget: 0.3}
  precision: float32
  seeds: [0, 1]
  seeds_of: [a]
  thoughts: keep
  tokens_per_pack: 100
scoring:
  corpus: {name: c, source: {path: ./d}, domains: [Book], documents_per_domain: 3, most_hub_files: 2, seed: 1}
  engine: auto
  precision: bfloat16
  max_document_tokens: 5
  documents_per_shard: 3
  tokens_per_pack: 10
  min_k_plus_plus: true
  share_within_family: true
  fixed_bins: {presence_score: {low: -10.0, high: 0.5, n: 10}}
benchmarks:
  tasks: [{name: mmlu, task: mmlu, folder: ./t, metric: acc, scale: fraction, few_shot: 5, limit: 3, topic: t,
    run: true}]
  imports: [{path: ./r, format: lm_eval, models: {x: a}, unknown_models: error}]
  precision: bfloat16
  batch_size: 3
benchmark_sets: [{name: mine, path: ./m, kind: pairs, split: test}]
leaderboards: [{name: l, path: ./l, format: csv, snapshot_date: "2024-12-01"}]
reward_models:
- {reward_id: h, hub_id: o/h, revision: main, base_model: a, objective: o, data_id: d, family: f, publisher: p,
   params_b: 8.0, scale: logit, remote_code: false, merge_weights: {helpful: 1.0, safe: 0.5}, precision: float32,
   max_tokens: 8}
- {reward_id: i, path: ./i}
score_imports:
- {path: ./s, format: plain, reward_id: r, benchmark: rewardmath, commit: "0123456", hub_id: o/r, revision: main,
   base_model: a, objective: o, data_id: d, family: f, publisher: p, params_b: 8.0, scale: logit}
teachers:
  policies:
  - {policy_id: t, model_id: a, family: f, stage: sft, params_b: 1.0, responses: 4, temperature: 0.5, top_p: 0.5,
     top_k: 3, repetition_penalty: 1.5, max_tokens: 9, seed: 1, prompt_format: plain, engine: vllm, precision: float32}
  - {policy_id: u, hub_id: o/u, revision: main, remote_code: false}
  - {policy_id: v, path: ./v}
  prompts: {name: q, path: ./q, measure: 8, teach: 4}
  responses: [{path: ./o, format: plain, name: n, policy_id: w, reward_id: z, licence: mit}]
  gold: [{gold_id: g, reward: h}, {strongest: true}, {checks: [code_tests]}, {labels: ./l}, {lab: true}]
  rewards: [h]
  best_of: [1, 2]
  ensembles: [{over: bases, members: [h, i]}]
  teach: {method: [rloo], policies: [t], rewards: [h], steps: 2, prompts_per_step: 2, generations: 2,
    learning_rate: 1.0e-4, kl: 0.0, seeds: [0]}
  allow_code: true
race: {candidates: [a, c], objective: regression, decides: mine, budget: 20h, indifference: 0.5, confidence: 0.95,
  rungs: [0.5, 1.0], rates: [0.1], seed: 0, census: false, train_all: true}
lab:
  seed: 0
  vocabulary: 1024
  models:
  - {model_id: a, architecture: llama, hidden: 16, layers: 1, pretraining_tokens: 100, mix: {Book: 1.0}}
  - {model_id: b, architecture: llama, hidden: 16, layers: 1, steps: 2}
  documents_per_domain: 1
  preferences: 1
  ratings: 1
  validation: 1
  preference_noise: 0.5
  rating_noise: 0.1
  test_pairs_per_subset: 1
  best_of_4_per_subset: 1
  ties: 1
  questions_per_task: 1
hub: {publishers: [o], collections: [c], min_params_b: 0.0, max_params_b: 3, licences: [mit], min_downloads: 0,
  most_models: 3, stage: base, refresh_hours: 24.0}
""")
# None of these is right anywhere, but for lists and groups, which may be empty where they are optional.
ALWAYS_WRONG = (-1, -0.5, MOST * 10, 10**30, 1e300, math.nan, math.inf, "", "a\nb", [[]], [None], {"nonsense": 1},
                {1: 2}, datetime.date(2024, 1, 1))  # fmt: skip
SOMETIMES_RIGHT = (None, [], {}, 0, 1, True, "nonsense", "x" * 5000, [1])


def places(value: Any, location: Location = ()) -> Iterator[Location]:
    """The locations of all values in settings, those of lists and groups included."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inside in steps:
        yield (*location, step)
        yield from places(inside, (*location, step))


def changed(location: Location, value: Any) -> Any:
    settings = copy.deepcopy(FULL)
    inside = settings
    for step in location[:-1]:
        inside = inside[step]
    inside[location[-1]] = value
    return settings


def problems_of(settings: Any) -> list[Problem]:
    try:
        Study.model_validate(settings)
    except ValidationError as error:
        return [*field_problems(error, Study), *consistency_problems(settings)]
    return []


def groups(settings: type[BaseModel]) -> set[type[BaseModel]]:
    found = {settings}
    for field in settings.model_fields.values():
        waiting = [field.annotation]
        while waiting:
            one = waiting.pop()
            waiting += get_args(one)
            if isinstance(one, type) and issubclass(one, BaseModel):
                found |= groups(one)
    return found


def test_the_settings_above_have_every_key() -> None:
    assert problems_of(FULL) == []
    keys = {location[-1] for location in places(FULL)}
    assert [name for group in groups(Study) for name in group.model_fields if name not in keys] == []


def test_every_key_refuses_nonsense_by_its_name() -> None:
    accepted, unclear = [], []
    for location in places(FULL):
        here = Problem(location, "").where
        for value in (*ALWAYS_WRONG, *SOMETIMES_RIGHT):
            problems = problems_of(changed(location, value))
            # Bins of scores below zero, and weights of harm.
            is_edge = (location[-1] in ("low", "high") or "merge_weights" in location[:-1]) and value in (-1, -0.5)
            is_date = location[-1] == "snapshot_date" and isinstance(value, datetime.date)
            if not problems and not is_edge and not is_date and any(value is wrong for wrong in ALWAYS_WRONG):
                accepted.append((here, value))
            named = [one for one in problems if one.where.startswith(here) or here.startswith(one.where)]
            of_others = [one for one in problems if one not in named]
            # A model by another name is missed where its name is used: the message names that place.
            by_name = ("model_id", "parent", "params_b_from", "params_b_below", "params_b", "is_compared")
            is_missed = location[-1] in by_name
            if ((problems and not named) or of_others) and not is_missed:
                unclear.append((here, value, [f"{one.where}: {one.text}" for one in problems]))
            for one in problems:
                text = f"{one.where}: {one.text}"
                if len(text) > 330 or "Input should" in text or "Keys should" in text or one.text.startswith("{'pre"):
                    unclear.append((here, value, [text]))
    assert accepted == []
    assert not unclear, "\n".join(map(str, unclear))
