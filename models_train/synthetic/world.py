"""The lab on disk: tokenizer, base models, data sets, in `<home>/lab/<study>/`; and the truth about it as rows.

Existing files are kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from models_train.data.records import ATTRIBUTES
from models_train.errors import UserError
from models_train.files import atomic_path, write_if_changed
from models_train.modeling.packed_attention import use_packed_attention
from models_train.parts import content_hash
from models_train.study.fingerprints import content_of
from models_train.study.lab import DATA_SETS, LAB_VERSION, TASKS, Lab, LabModel, model_folder
from models_train.study.lab_record import Contents
from models_train.study.models import StudyModel
from models_train.study.scoring import DOMAINS
from models_train.study.study import Study
from models_train.synthetic.models import CONTEXT, mixed_sequences, new_model, pretrain, train_tokenizer
from models_train.synthetic.preferences import (
    TRUE_WEIGHTS,
    best_of_4_rows,
    preference_rows,
    rating_rows,
    test_rows,
    tie_rows,
)
from models_train.synthetic.stages import STEPS, further_stage
from models_train.synthetic.tasks import write_tasks
from models_train.synthetic.texts import documents

_MARK = ".lab"
"""File in a model's folder with the hash of its settings. Hidden: it does not change the folder's content hash."""
_HELD_OUT = 1_000_000
"""Added to the seed of the documents that are scored: no model was pre-trained on them."""
SETTINGS = (
    "seed",
    "vocabulary",
    "documents_per_domain",
    "preferences",
    "ratings",
    "validation",
    "preference_noise",
    "rating_noise",
    "test_pairs_per_subset",
    "best_of_4_per_subset",
    "ties",
)
"""Settings of a lab that are rows of `raw.lab_settings`."""


@dataclass(frozen=True)
class Made:
    """One model of the lab. how: a text on how it was made. is_new: it was made in this run."""

    model_id: str
    how: str
    n_parameters: int
    is_new: bool = True


def make_data(folder: Path, lab: Lab) -> dict[str, int]:
    """Write preferences, ratings, test set, documents and benchmarks; returns the rows of each file.

    Equal settings give equal files; a file that is there already, and equal, is left alone.
    """
    noise, rating_noise, seed = lab.preference_noise, lab.rating_noise, lab.seed
    rows: tuple[tuple[dict[str, Any], ...], ...] = (
        (
            *preference_rows(lab.preferences, seed, noise, "train"),
            *preference_rows(lab.validation, seed, noise, "validation"),
        ),
        (
            *rating_rows(lab.ratings, seed, rating_noise, "train"),
            *rating_rows(lab.validation, seed, rating_noise, "validation"),
        ),
        tuple(test_rows(lab.test_pairs_per_subset, seed)),
        tuple(_document_rows(lab)),
        (*best_of_4_rows(lab.best_of_4_per_subset, seed), *tie_rows(lab.ties, seed)),
    )
    files = zip(DATA_SETS, rows, strict=True)
    counts = {}
    for name, of_file in files:
        write_if_changed(folder / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in of_file))
        counts[name] = len(of_file)
    return counts | write_tasks(folder / TASKS, lab.seed, lab.questions_per_task)


def make_models(
    folder: Path, study: Study, lab: Lab, workers: int, say: Callable[[Made, int], None], known: Contents | None = None
) -> list[Made]:
    """Make every base model that is not there, or not as it was made, further stages after their parents.

    known: contents of the models as they were made. A model that is not among them is taken as it is.
    workers: processes at work at once, each with one thread, so that results do not depend on their number. say: called
    with every finished model, and the number of models still to come.
    """
    for vocabulary in {_vocabulary(lab, spec) for spec in lab.models}:
        _tokenizer(folder, lab.seed, vocabulary)
    parents = study.by_id
    waiting = in_order(lab, parents)
    unmade = set(waiting)
    made: list[Made] = []
    at_work: set[Future[Made]] = set()
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        while unmade:
            for name, spec in list(waiting.items()):
                if len(at_work) < workers and (spec.mix or _parent(parents, spec) not in unmade):
                    at_work.add(pool.submit(_make_model, folder, lab, waiting.pop(name), parents[name], known or {}))
            ended, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            for done in (job.result() for job in ended):
                made.append(done)
                unmade.remove(done.model_id)
                say(done, len(unmade))
    return sorted(made, key=lambda one: list(parents).index(one.model_id))


def in_order(lab: Lab, models: Mapping[str, StudyModel]) -> dict[str, LabModel]:
    """The models of a lab in the order of their making: those of a chain of stages, which wait for one another, first;
    then those that take longest."""
    in_chain = {name for spec in lab.models if spec.mix is None for name in (spec.model_id, _parent(models, spec))}

    def rank(spec: LabModel) -> tuple[bool, int]:
        return spec.model_id not in in_chain, -(spec.hidden**2) * spec.layers * (spec.pretraining_tokens or 0)

    return {spec.model_id: spec for spec in sorted(lab.models, key=rank)}


def _parent(models: Mapping[str, StudyModel], spec: LabModel) -> str:
    parent = models[spec.model_id].parent
    if parent is None:
        raise UserError(f"{spec.model_id}: has no mix and no parent; give it one of them in the study file")
    return parent


def _make_model(folder: Path, lab: Lab, spec: LabModel, model: StudyModel, known: Contents) -> Made:
    """Make one model in this process, unless it exists with these settings, as it was made."""
    target = model_folder(folder, spec.model_id)
    made_from = _made_from(folder, lab, spec, model)
    mark = target / _MARK
    made = known.get(target.relative_to(folder).as_posix())
    if mark.exists() and mark.read_text() == made_from and made in (None, content_of(target)):
        return Made(spec.model_id, "was there", _n_parameters(target), is_new=False)
    tokenizer = _tokenizer(folder, lab.seed, _vocabulary(lab, spec))
    torch.use_deterministic_algorithms(True)
    if spec.mix is not None:
        built = new_model(spec, len(tokenizer), lab.seed)
        loss = pretrain(built, mixed_sequences(spec, tokenizer, lab.seed), spec.pretraining_tokens or 0)
        how = f"pre-trained, loss {loss:.2f} nats"
    else:
        parent: PreTrainedModel = AutoModelForCausalLM.from_pretrained(model_folder(folder, model.parent or ""))
        use_packed_attention(parent)
        built = further_stage(model.stage, parent, tokenizer, CONTEXT, lab.seed, spec.steps or STEPS)
        how = f"made from {model.parent} by {model.stage}"
    _save(built, tokenizer, target, made_from)
    return Made(spec.model_id, how, _n_parameters(target))


def _made_from(folder: Path, lab: Lab, spec: LabModel, model: StudyModel) -> str:
    parent = model_folder(folder, model.parent or "") / _MARK
    return content_hash(
        {
            "version": LAB_VERSION,
            "spec": spec.model_dump(mode="json", exclude=set() if spec.steps else {"steps"}),  # earlier models stay
            "stage": model.stage,
            "seed": lab.seed,
            "vocabulary": _vocabulary(lab, spec),
            "parent": parent.read_text() if spec.mix is None and parent.exists() else None,
        }
    )


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, target: Path, made_from: str) -> None:
    with atomic_path(target) as beside:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        (beside / _MARK).write_text(made_from)


def _n_parameters(folder: Path) -> int:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _vocabulary(lab: Lab, spec: LabModel) -> int:
    return spec.vocabulary or lab.vocabulary


def _tokenizer(folder: Path, seed: int, vocabulary: int) -> PreTrainedTokenizerBase:
    place = folder / "tokenizer" / content_hash({"lab": LAB_VERSION, "seed": seed, "vocabulary": vocabulary})
    if not place.exists():
        with atomic_path(place) as beside:
            train_tokenizer(vocabulary, seed).save_pretrained(beside)
    return AutoTokenizer.from_pretrained(place)


def _document_rows(lab: Lab) -> Iterator[dict[str, Any]]:
    for domain in DOMAINS:
        texts: dict[str, None] = dict.fromkeys(
            islice(documents(domain, lab.seed + _HELD_OUT), lab.documents_per_domain)
        )
        for text in texts:
            yield {"text": text, "meta": {"redpajama_set_name": f"RedPajama{domain}"}}


def truth_rows(study: Study, lab: Lab, n_parameters: Mapping[str, int]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables of `warehouse.contracts.studies`, by table. n_parameters: of every model of the lab."""
    return {
        "lab_mixes": [row for spec in lab.models for row in _mix(study, lab, spec, n_parameters[spec.model_id])],
        "lab_attribute_weights": [
            {"attribute": name, "weight": weight} for name, weight in zip(ATTRIBUTES, TRUE_WEIGHTS, strict=True)
        ],
        "lab_settings": [{"setting": name, "value": getattr(lab, name)} for name in SETTINGS],
    }


def pretrained(study: Study, lab: Lab, model_id: str) -> LabModel:
    """The model of the lab whose pre-training a model has: itself, or the nearest ancestor that has a mix.

    Raises UserError where there is none.
    """
    specs = {spec.model_id: spec for spec in lab.models}
    parents = {model.model_id: model.parent for model in study.by_id.values()}
    name: str | None = model_id
    while name is not None:
        spec = specs.get(name)
        if spec is not None and spec.mix is not None:
            return spec
        name = parents.get(name)
    raise UserError(f"{model_id}: neither it nor a parent has a mix; give it one in the lab of the study file")


def _mix(study: Study, lab: Lab, spec: LabModel, n_parameters: int) -> list[dict[str, Any]]:
    origin = pretrained(study, lab, spec.model_id)
    return [
        {
            "model_id": spec.model_id,
            "domain": domain,
            "share": origin.share(domain),
            "pretrained_model_id": origin.model_id,
            "pretraining_tokens": origin.pretraining_tokens,
            "parameters_m": n_parameters / 1e6,
            "architecture": origin.architecture,
            "hidden": origin.hidden,
            "layers": origin.layers,
            "vocabulary": _vocabulary(lab, origin),
        }
        for domain in DOMAINS
    ]
