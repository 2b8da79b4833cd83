"""A census of the lab for races: its crossed base models at two learning rates, with the outcome of every item at every
rung. Trains small reward models by the project's own TrainingRun on more preferences than the default lab has.

`REWARDBASE_HOME=... python -m tests.benchmarks.race_census` makes what is missing of `<home>/race/census.npz`: base
models, then one file per base; a run that was stopped goes on. `test_bench_race.py` races over it. Synthetic.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from models_train.data.chat import Renderer
from models_train.data.rewardbench import load_test_pairs
from models_train.files import atomic_path
from models_train.modeling.base_models import ModelSource, context_length, load_config, load_model, load_tokenizer
from models_train.modeling.packed_attention import use_packed_attention
from models_train.modeling.packing import pack
from models_train.race.replay import Census
from models_train.race.rules import Candidate, doubling
from models_train.reward_models.data import TokenPair, load_search_data, n_tokens
from models_train.reward_models.distributed import current_processes
from models_train.reward_models.model import RewardModel
from models_train.reward_models.training import TrainingRun
from models_train.reward_models.validation import rewards_of
from models_train.study.lab import Lab, LabModel, lab_folder, model_folder
from models_train.study.scoring import DOMAINS
from models_train.study.study import Study, load_study
from models_train.study.training import DataSource, Recipe, Training
from models_train.synthetic.models import next_token_loss
from models_train.synthetic.texts import documents
from models_train.synthetic.world import Made, make_data, make_models
from tests.support.training_runs import plan

STUDY = Path(__file__).resolve().parents[2] / "dagster_project" / "studies" / "lab.yaml"
RATES = (3e-4, 1e-3)
N_PAIRS, BATCH = 1280, 8
RUNGS = doubling(40, N_PAIRS)
RECIPE = Recipe(learning_rates=RATES, global_batch=BATCH, warmup_steps=5, checkpoint_every=RUNGS[0] // BATCH)
N_ITEMS = (100, 100, 200, 400, 800, 800)
"""Items scored at each rung: few where training costs little."""
CELLS = ("tiny-long-", "tiny-", "tiny-bpe-", "tiny-wide-", "tiny-gemma-")
TOKENS_PER_PACK = 2048
N_DOCUMENTS = 12
"""Held-out documents of each domain, for the benchmark of a base."""
ITEM_SEED = 20
SEED = 0


@dataclass(frozen=True)
class Base:
    """A base model with its data as tokens. items: in the random order of a race."""

    name: str
    source: ModelSource
    train: Sequence[TokenPair]
    items: Sequence[TokenPair]
    bits_per_byte: float

    def model(self) -> RewardModel:
        return RewardModel.from_base(self.source, 1, SEED, torch.float32)


def home() -> Path:
    return Path(os.environ["REWARDBASE_HOME"])


def census_file() -> Path:
    return home() / "race" / "census.npz"


def lab_of(study: Study) -> Lab:
    """The crossed base models only, and enough preferences."""
    assert study.lab is not None
    models = tuple(one for one in study.lab.models if one.mix is not None)
    # One pair in twelve is left out, as tied or repeated.
    return study.lab.model_copy(update={"models": models, "preferences": math.ceil(N_PAIRS * 1.6)})


def cells_of(lab: Lab) -> list[tuple[LabModel, ...]]:
    """The base models by cell of the crossed design."""
    return [tuple(one for one in lab.models if one.model_id[:-1] == cell) for cell in CELLS]


def base_of(folder: Path, name: str) -> Base:
    source = ModelSource(name, str(model_folder(folder, name)))
    config, tokenizer = load_config(source), load_tokenizer(source)
    renderer = Renderer(tokenizer, RECIPE.max_tokens, RECIPE.over_long, context_length(config))
    training = Training(
        preferences=DataSource(path=str(folder / "preferences.jsonl")),
        objectives=("bradley_terry",),
        bradley_terry=RECIPE,
    )
    data = load_search_data(training, "bradley_terry", folder, renderer)
    assert len(data.train.examples) >= N_PAIRS, f"only {len(data.train.examples)} pairs"
    tests = load_test_pairs(DataSource(path=str(folder / "test.jsonl")), folder)
    pairs = [
        TokenPair(*(renderer.render(one.prompt, side).token_ids for side in (one.chosen, one.rejected)))
        for one in tests
    ]
    order = np.random.default_rng(ITEM_SEED).permutation(len(pairs))
    return Base(name, source, data.train.examples[:N_PAIRS], [pairs[place] for place in order], benchmark(source))


def benchmark(source: ModelSource) -> float:
    """Bits per byte of held-out documents, mean over the five languages: what is public about a base here."""
    tokenizer = load_tokenizer(source)
    model = load_model(source, AutoModelForCausalLM, torch.float32)
    use_packed_attention(model)
    found = []
    with torch.no_grad():
        for domain in DOMAINS:
            texts = list(islice(documents(domain, 2_000_000), N_DOCUMENTS))
            ids = [tokenizer(text)["input_ids"][:511] for text in texts]
            nats = [float(next_token_loss(model, pack([one]))) * (len(one) - 1) for one in ids]
            n_bytes = [len(tokenizer.decode(one, skip_special_tokens=True).encode()) for one in ids]
            found.append(sum(nats) / math.log(2) / sum(n_bytes))
    return float(np.mean(found))


class Averages:
    """Means of the weights at the checkpoints of the second half of the steps so far: less of a constant rate's noise,
    as if the rate had fallen. The training goes on from its own weights."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[str, torch.Tensor]] = {}

    def add(self, step: int, model: RewardModel) -> None:
        self.kept[step] = {name: weight.detach().clone() for name, weight in model.module.named_parameters()}
        self.kept = {one: weights for one, weights in self.kept.items() if one > step // 4}

    @contextmanager
    def in_place(self, step: int, model: RewardModel) -> Iterator[None]:
        """The model with the mean weights, while the context lasts."""
        used = [weights for one, weights in self.kept.items() if one > step // 2]
        self._put(model, {name: torch.stack([one[name] for one in used]).mean(dim=0) for name in used[0]})
        try:
            yield
        finally:
            self._put(model, self.kept[step])

    def _put(self, model: RewardModel, weights: Mapping[str, torch.Tensor]) -> None:
        for name, weight in model.module.named_parameters():
            weight.copy_(weights[name])


def measured(base: Base, rate: float, folder: Path) -> dict[str, Any]:
    """One training with a look at every rung, by its weights and by their averages."""
    sequences = [ids for pair in base.items for ids in pair.sequences]
    won: dict[str, list[np.ndarray]] = {"won": [], "won_averaged": []}
    averages = Averages()

    def look(name: str, n_items: int, model: RewardModel) -> None:
        rewards = rewards_of(model, sequences[: 2 * n_items], TOKENS_PER_PACK, current_processes())[:, 0].numpy()
        margins = rewards[0::2].astype(np.float64) - rewards[1::2]
        won[name].append(np.pad((2 * (margins > 0)).astype(np.int8), (0, len(base.items) - n_items)))

    def evaluate(model: RewardModel) -> Mapping[str, Any]:
        averages.add(run.step, model)
        if run.step * BATCH in RUNGS:
            n_items = N_ITEMS[RUNGS.index(run.step * BATCH)]
            look("won", n_items, model)
            with averages.in_place(run.step, model):
                look("won_averaged", n_items, model)
        return {"n_won": 0, "n_pairs": 1, "loss": None}

    run = TrainingRun(
        base.model,
        base.train,
        RECIPE,
        objective="bradley_terry",
        learning_rate=rate,
        seed=SEED,
        folder=folder,
        plan=plan(tokens_per_pack=TOKENS_PER_PACK),
        evaluate=evaluate,
    )
    seconds, tokens, losses = [], [], []
    for rung in RUNGS:
        began = time.process_time()
        run.advance(rung // BATCH)
        seconds.append(time.process_time() - began)
        steps = run.steps
        tokens.append(sum(row["n_tokens"] for row in steps))
        losses.append(float(np.mean([row["loss"] for row in steps[len(steps) // 2 :]])))
    arrays = {name: np.array(one) for name, one in won.items()}
    return arrays | {"tokens": np.array(tokens), "seconds": np.array(seconds), "loss": np.array(losses)}


def measure_base(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Looks at one base at all rates: arrays of (rates, rungs, ...)."""
    base = base_of(folder, name)
    working = home() / "race" / "training" / name
    shutil.rmtree(working, ignore_errors=True)
    found = [measured(base, rate, working / f"{rate:g}") for rate in RATES]
    shutil.rmtree(working, ignore_errors=True)
    arrays = {key: np.stack([one[key] for one in found]) for key in found[0]}
    lengths = np.array([n_tokens(pair) for pair in base.items])
    return arrays | {"item_tokens": lengths, "bits_per_byte": np.array(base.bits_per_byte)}


def load_census(*, averaged: bool = False) -> Census:
    """The census as it was measured; averaged: by the averages of weights."""
    with np.load(census_file()) as stored:
        candidates = tuple(
            Candidate(str(name), float(size), benchmark=-float(bits))
            for name, size, bits in zip(stored["names"], stored["params_b"], stored["bits_per_byte"], strict=True)
        )
        return Census(
            candidates,
            tuple(float(rate) for rate in stored["rates"]),
            tuple(int(rung) for rung in stored["rungs"]),
            tuple(int(n) for n in stored["n_items"]),
            stored["won_averaged" if averaged else "won"],
            stored["tokens"],
            stored["item_tokens"],
            stored["seconds"],
            stored["loss"],
            np.zeros(stored["won"].shape[:2], bool),
        )


def main() -> None:
    """Measure base by base; the file holds all that have been measured so far."""
    torch.set_num_threads(1)
    study = load_study(STUDY)
    lab, folder = lab_of(study), lab_folder(home(), study.study_id)
    folder.mkdir(parents=True, exist_ok=True)
    make_data(folder, lab)
    parts = census_file().parent / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for cell in cells_of(lab):
        if not all((parts / f"{one.model_id}.npz").exists() for one in cell):
            make_models(folder, study, lab.model_copy(update={"models": cell}), 1, say_made)
        for one in cell:
            if not (parts / f"{one.model_id}.npz").exists():
                measure(folder, one.model_id, parts)
                join(study, lab, parts)
    join(study, lab, parts)


def say_made(made: Made, left: int) -> None:
    print(f"{made.model_id} {made.how}; {left} to come", flush=True)


def measure(folder: Path, name: str, parts: Path) -> None:
    """Write the part of one base."""
    began = time.process_time()
    arrays = measure_base(folder, name)
    with atomic_path(parts / f"{name}.npz") as beside, beside.open("wb") as file:
        np.savez_compressed(file, **arrays)
    for key in ("won", "won_averaged"):
        points = [50 * arrays[key][:, place, :n].mean(axis=-1) for place, n in enumerate(N_ITEMS)]
        print(name, key, np.round(np.array(points).T, 1).tolist(), f"{time.process_time() - began:.1f} s", flush=True)


def join(study: Study, lab: Lab, parts: Path) -> None:
    """Write the census of the parts that are there."""
    names = [one.model_id for cell in cells_of(lab) for one in cell if (parts / f"{one.model_id}.npz").exists()]
    found = []
    for name in names:
        with np.load(parts / f"{name}.npz") as stored:
            found.append({key: stored[key] for key in stored.files})
    sizes = [study.by_id[name].params_b for name in names]
    arrays = {key: np.stack([one[key] for one in found]) for key in found[0]}
    fixed = {"names": names, "params_b": sizes, "rates": RATES, "rungs": RUNGS, "n_items": N_ITEMS}
    with atomic_path(census_file()) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **fixed, **arrays)
    print(f"{len(names)} bases, {float(arrays['seconds'].sum()):.0f} s of a core; {census_file()}", flush=True)


if __name__ == "__main__":
    main()
