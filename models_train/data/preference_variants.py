"""Variants of preference data: files of labels, pairs turned round, cleaning by a rule. Torch-free.

A variant changes training pairs only. Each pair keeps its `pair_id`, whatever its label becomes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from models_train.data.records import Loaded, Preference, Prompt
from models_train.data.rows import Column, Form, filled_text
from models_train.data.sources import open_data
from models_train.errors import Problems, UserError
from models_train.parts import content_hash
from models_train.study.preference_data import GIVEN_KINDS, DataVariant, LabelKind
from models_train.study.settings import shown
from models_train.study.training import DataSource, Training

FEWEST_CLEAN = 20
"""Fewest clean validation pairs that a threshold is chosen on."""
Kinds = Mapping[str, LabelKind]
"""Kinds of labels by pair_id."""


@dataclass(frozen=True)
class LabelledPair:
    """A training pair, the better response first by the label of its data. is_kept: whether it is trained on."""

    pair: Preference
    pair_id: str
    label_kind: LabelKind = "original"
    is_kept: bool = True

    def turned(self, kind: LabelKind) -> LabelledPair:
        """The same with the other response as the better one. A pair that was turned round here is as it was again."""
        pair = replace(self.pair, chosen=self.pair.rejected, rejected=self.pair.chosen)
        is_back = kind == self.label_kind == "flipped"
        return replace(self, pair=pair, label_kind="original" if is_back else kind)


@dataclass(frozen=True)
class Estimate:
    """A cross-fitted estimate. p_labels: probability of each label, by pair_id; noise: share of wrong ones."""

    p_labels: Mapping[str, float]
    noise: float


Estimates = Callable[[str | None], Estimate]
"""Gives the estimate of a variant, or of the preferences themselves (None). Raises UserError where there is none."""


def pair_id(pair: Preference) -> str:
    """Names a pair by prompt and both responses, the better one first: 16 hex digits."""
    return content_hash([pair.prompt_id, pair.chosen, pair.rejected], 16)


def kept_pairs(
    training: Training, data_id: str, study_folder: Path, estimates: Estimates, loaded: Loaded[Preference]
) -> list[Preference]:
    """The pairs that a variant trains on, as `labelled_pairs`. Raises UserError where there is none."""
    kept = [one.pair for one in labelled_pairs(training, data_id, study_folder, estimates, loaded) if one.is_kept]
    if not kept:
        raise UserError(f"the variant {data_id} keeps none of {len(loaded.train)} training pairs; correct its settings")
    return kept


def labelled_pairs(
    training: Training, data_id: str | None, study_folder: Path, estimates: Estimates, loaded: Loaded[Preference]
) -> list[LabelledPair]:
    """Every training pair with its label in a variant, or in the preferences themselves (None), in their order.

    Raises UserError for a file of labels that cannot be used, and LocationError where it is not there.
    """
    if data_id is None:
        return [LabelledPair(pair, pair_id(pair)) for pair in loaded.train]
    variant = training.variant_of(data_id)
    before = labelled_pairs(training, variant.of, study_folder, estimates, loaded)
    if variant.labels is not None:
        known = {one.pair_id for one in before} | {pair_id(pair) for pair in loaded.validation}
        return _with_kinds(before, read_kinds(variant.labels, study_folder, known), variant)
    if variant.flip is not None:
        return _flipped(before, variant.flip, variant.seed)
    return _cleaned(before, variant, study_folder, estimates(variant.of), loaded.validation)


def folds_of(prompts: Sequence[Prompt], n: int) -> list[int]:
    """The fold of each pair by its prompt, from 0 to n - 1, by hashes: prompts that differ by blanks or by capital
    letters only are in one fold, and folds have equally many prompts."""
    names = [" ".join("\0".join(turn.text for turn in prompt).casefold().split()) for prompt in prompts]
    order = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    places = {name: place for place, name in enumerate(order)}
    return [places[name] % n for name in names]


def _kind(value: Any) -> LabelKind:
    if value not in GIVEN_KINDS:
        raise UserError(f"{shown(value)} is no kind of label; the kinds are {', '.join(GIVEN_KINDS)}: correct it")
    kind: LabelKind = value
    return kind


LABELS = (Form({"pair_id": Column(filled_text), "label_kind": Column(_kind)}),)
"""Form of a file of labels."""


def read_kinds(place: str, study_folder: Path, known: AbstractSet[str]) -> Kinds:
    """Kinds of labels of a file or folder, JSONL or Parquet, by pair_id. known: pair_ids of the data.

    Raises UserError for rows that cannot be used, for a pair that the data do not have, and for one that is labelled
    twice; LocationError where the file is not there.
    """
    kinds: dict[str, LabelKind] = {}
    first: dict[str, str] = {}
    problems = Problems(place)
    for row in open_data(DataSource(path=place), study_folder).rows(LABELS):
        name, where = row.values["pair_id"], f"row {row.number} of {row.file}"
        if name not in known:
            text = f"{shown(name)} is no pair of the preferences; clean_preferences lists their pair_ids: correct it"
            problems.add(text, row.number, "pair_id")
        elif name in first:
            problems.add(f"{shown(name)} is already labelled in {first[name]}; keep one of them", row.number, "pair_id")
        else:
            kinds[name], first[name] = row.values["label_kind"], where
    problems.raise_any()
    return kinds


def _with_kinds(pairs: Sequence[LabelledPair], kinds: Kinds, variant: DataVariant) -> list[LabelledPair]:
    found = []
    for one in pairs:
        kind = kinds.get(one.pair_id, one.label_kind)
        labelled = one.turned(kind) if kind == "opposite" else replace(one, label_kind=kind)
        is_wanted = kind in variant.keep or (kind == "flipped" and "original" in variant.keep)
        found.append(replace(labelled, is_kept=one.is_kept and is_wanted))
    return found


def _flipped(pairs: Sequence[LabelledPair], share: float, seed: int) -> list[LabelledPair]:
    """Turn round the share of the kept pairs whose hashes are the smallest, whatever their order."""
    kept = [one.pair_id for one in pairs if one.is_kept]
    order = sorted(kept, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())
    turned = set(order[: round(share * len(kept))])
    return [one.turned("flipped") if one.pair_id in turned else one for one in pairs]


def _cleaned(
    pairs: Sequence[LabelledPair],
    variant: DataVariant,
    study_folder: Path,
    estimate: Estimate,
    validation: Sequence[Preference],
) -> list[LabelledPair]:
    """Drop pairs, or turn them round, whose label is less probable than the threshold."""
    own = {pair_id(pair) for pair in validation}
    kinds = read_kinds(str(variant.clean), study_folder, {one.pair_id for one in pairs} | own)
    p_clean = [
        1 - estimate.p_labels[name] if kind == "opposite" else estimate.p_labels[name]
        for name, kind in kinds.items()
        if name in own and kind in ("same", "opposite") and name in estimate.p_labels
    ]
    if len(p_clean) < FEWEST_CLEAN:
        raise UserError(
            f"the variant {variant.data_id}: {variant.clean} has {len(p_clean)} validation pairs labelled same or "
            f"opposite; the threshold of its rule needs {FEWEST_CLEAN}: label more"
        )
    judged = [estimate.p_labels[one.pair_id] for one in pairs if one.is_kept and one.pair_id in estimate.p_labels]
    threshold = best_threshold(judged, p_clean, estimate.noise)
    found = []
    for one in pairs:
        is_below = one.is_kept and estimate.p_labels.get(one.pair_id, 1.0) < threshold
        changed = replace(one, is_kept=False) if variant.rule == "drop" else one.turned("flipped")
        found.append(changed if is_below else one)
    return found


def best_threshold(p_labels: Sequence[float], p_clean: Sequence[float], noise: float) -> float:
    """The probability below which most wrong labels are found for the right ones that are taken for wrong.

    p_labels: of the pairs to clean; p_clean: of labels that are known to be right, which say what share F(t) of right
    labels a threshold t would hit. Of the share D(t) of all labels below t, D - (1 - noise) F are wrong, so that the
    threshold of the highest D - 2 (1 - noise) F corrects the most labels, net of those that it spoils; 0 where none
    does. Of equally good thresholds the lowest is taken.
    """
    labels, clean = np.sort(np.asarray(p_labels, float)), np.sort(np.asarray(p_clean, float))
    candidates = np.nextafter(np.unique(labels), 2.0)
    below = np.searchsorted(labels, candidates) / labels.size
    hit = np.searchsorted(clean, candidates) / clean.size
    net = below - 2 * (1 - noise) * hit
    best = int(np.argmax(net))
    return float(candidates[best]) if net[best] > 0 else 0.0
