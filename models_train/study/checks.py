"""Consistency of a study: settings that contradict each other, checked on typed settings.

Entries with a problem in one of their fields are left out; their names count as listed, so that no other entry is
blamed for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from models_train.errors import close_match
from models_train.study.benchmarks import Benchmarks
from models_train.study.lab import Lab
from models_train.study.models import Candidate, SeedSource, SizeGroup, StudyModel
from models_train.study.race import Race
from models_train.study.revisions import is_pinned
from models_train.study.reward_benchmarks import FACTS, PUBLISHED, BenchmarkSet, ScoredRewardModel, ScoreImport
from models_train.study.run_noise import RunNoise
from models_train.study.settings import LONGEST_NAME, Location, Problem, Settings, shown
from models_train.study.teachers import LAB_PROMPTS, Teachers
from models_train.study.training import Training, trained_reward_id, variants
from warehouse.contracts.scores import REWARDBENCH

_OF_MODELS = ("seeds", "candidates", "training", "scoring", "benchmarks", "race", "lab", "hub", "also_learn_from")
"""Settings of a study that are about its base models."""
FURTHER_STAGES = ("sft", "dpo", "rlvr")
"""Stages that the lab can train a model to from its parent."""

Entry = TypeVar("Entry", bound=Settings)


@dataclass(frozen=True)
class Listed(Generic[Entry]):
    """The entries of a list in the file, or of several lists together.

    entries: those with correct fields, each with its location. faulty: names of the others, "" for one without a name.
    """

    entries: tuple[tuple[Location, Entry], ...]
    faulty: frozenset[str]

    def is_faulty(self, name: str) -> bool:
        """True where an entry with problems has this name, or may have it, since its name is a problem, too."""
        return name in self.faulty or "" in self.faulty


def consistency_problems(data: Mapping[str, Any]) -> list[Problem]:
    """Contradictions between settings. data: the fields of a study, validated or as the file has them."""
    models = _listed(data.get("models"), "models", StudyModel, "model_id")
    candidates = _listed(data.get("candidates"), "candidates", Candidate, "model_id")
    groups = _listed(data.get("size_groups"), "size_groups", SizeGroup, "name")
    seeds = _listed(data.get("seeds"), "seeds", SeedSource, "name")
    sets = _listed(data.get("benchmark_sets"), "benchmark_sets", BenchmarkSet, "name")
    imports = _listed(data.get("score_imports"), "score_imports", ScoreImport, "reward_id")
    scored = _listed(data.get("reward_models"), "reward_models", ScoredRewardModel, "reward_id")
    everyone: Listed[StudyModel] = Listed(models.entries + candidates.entries, models.faulty | candidates.faulty)
    return [
        *_repeated(models, "model_id", "model"),
        *_repeated(groups, "name", "size group"),
        *_repeated(seeds, "name", "seed"),
        *_repeated(candidates, "model_id", "candidate"),
        *_repeated(sets, "name", "benchmark"),
        *_without_benchmark(data.get("training"), scored, sets),
        *_repeated(scored, "reward_id", "reward model"),
        *_imported_and_scored(scored, imports),
        *_unpinned_code(scored),
        *_second_test_sets(sets, _has_test_set(data.get("training"))),
        *_missing_models(data),
        *_unknown_answer(data, sets),
        *_unknown_benchmarks(imports, sets),
        *_disagreeing_imports(imports),
        *_candidates_among_models(candidates, models),
        *_parent_problems(everyone),
        *_default_problems(groups, models),
        *_border_problems(groups),
        *_models_without_group(groups, everyone),
        *_unpinned_code(everyone),
        *_unknown_import_models(_valid(data.get("benchmarks"), Benchmarks), everyone),
        *_lab_problems(_valid(data.get("lab"), Lab), everyone),
        *_unmeasured_noise(_valid(data.get("run_noise"), RunNoise)),
        *_seeds_without_reward_model(_valid(data.get("training"), Training), models, candidates),
        *_teacher_problems(data, everyone, scored, imports),
        *_race_problems(data, everyone, sets),
    ]


def _unmeasured_noise(noise: RunNoise | None) -> Iterator[Problem]:
    """A run-to-run noise of 0 that nobody measured."""
    if noise and noise.basis != "seeds":
        for objective, target, deviation in noise.rows():
            if deviation == 0:
                text = "0 says that trainings do not differ; set basis: seeds if that was measured, or state the noise"
                yield Problem(("run_noise", objective, target), text)


def _seeds_without_reward_model(
    training: Training | None, models: Listed[StudyModel], candidates: Listed[Candidate]
) -> Iterator[Problem]:
    """Further seeds of base models that no reward model is trained on, or without any further seed."""
    if training is None or training.seeds_of is None:
        return
    is_compared = {model.model_id: model.is_compared for _, model in (*models.entries, *candidates.entries)}
    compared = [name for name, is_one in is_compared.items() if is_one]
    for index, name in enumerate(training.seeds_of):
        text = ""
        if name in compared:
            if not training.further_seeds(name):
                text = f"{shown(name)} gets no further reward model; give a seed that the search does not use in "
                text += "training.seeds, or remove seeds_of"
        elif name in is_compared:
            text = f"{shown(name)} has no reward model, because it is a candidate or has is_compared: false; remove it"
        elif not models.is_faulty(name) and not candidates.is_faulty(name):
            text = f"{shown(name)} is not among the models; {close_match(name, compared, 'compared are')}"
        if text:
            yield Problem(("training", "seeds_of", index), text)


def _listed(values: Any, name: str, settings: type[Entry], key: str) -> Listed[Entry]:
    entries: list[tuple[Location, Entry]] = []
    is_list = isinstance(values, list | tuple)
    # A list that is missing or no list at all is a problem of its own, and none of those who name its entries.
    faulty = set() if values or name not in ("models", "size_groups") else {""}
    faulty |= {""} if values and not is_list else set()
    for index, value in enumerate(values if is_list else ()):
        if (entry := _valid(value, settings)) is not None:
            entries.append(((name, index), entry))
        else:
            named = value.get(key) if isinstance(value, Mapping) else None
            faulty.add(named if isinstance(named, str) and named.isprintable() and len(named) <= LONGEST_NAME else "")
    return Listed(tuple(entries), frozenset(faulty))


def _valid(value: Any, settings: type[Entry]) -> Entry | None:
    try:
        return settings.model_validate(value)
    except ValidationError:
        return None


def _repeated(listed: Listed[Any], key: str, word: str) -> Iterator[Problem]:
    first: dict[str, Location] = {}
    for location, entry in listed.entries:
        name = getattr(entry, key)
        if name in first:
            at = Problem(first[name], "").where
            yield Problem((*location, key), f"the {word} {shown(name)} is already listed at {at}; keep one of them")
        first.setdefault(name, location)


def _candidates_among_models(candidates: Listed[Candidate], models: Listed[StudyModel]) -> Iterator[Problem]:
    names = {model.model_id for _, model in models.entries} | models.faulty
    for location, candidate in candidates.entries:
        if candidate.model_id in names:
            text = f"the candidate {shown(candidate.model_id)} is also listed under models; keep one of them"
            yield Problem((*location, "model_id"), text)


def _parent_problems(models: Listed[StudyModel]) -> Iterator[Problem]:
    parents = {model.model_id: model.parent for _, model in models.entries}
    for location, model in models.entries:
        name, parent = model.model_id, model.parent
        if parent is None or (parent not in parents and models.is_faulty(parent)):
            continue
        if parent not in parents:
            remedy = close_match(
                parent, [*parents, *sorted(models.faulty)], "list it too, or leave the key out; listed are"
            )
            yield Problem((*location, "parent"), f"the parent {shown(parent)} is not listed; {remedy}")
            continue
        chain = [name, parent]
        while (following := parents.get(chain[-1])) is not None and following not in chain:
            chain.append(following)
        if following == name or parent == name:
            circle = " -> ".join(dict.fromkeys(chain))
            yield Problem((*location, "parent"), f"parents go in a circle: {circle} -> {name}; remove one parent")


def _default_problems(groups: Listed[SizeGroup], models: Listed[StudyModel]) -> Iterator[Problem]:
    by_name = {model.model_id: model for _, model in models.entries}
    compared = [name for name, model in by_name.items() if model.is_compared]
    for location, group in groups.entries if by_name else ():
        default = group.default
        if default not in by_name and models.is_faulty(default):
            continue
        location = (*location, "default")
        if default not in by_name:
            remedy = close_match(default, compared, "list it, or choose one of")
            yield Problem(location, f"the default {shown(default)} is not among the models; {remedy}")
        elif default not in compared:
            yield Problem(location, f"the default {shown(default)} has is_compared: false; choose a compared model")
        else:
            params = by_name[default].params_b
            if params is not None and not group.holds(params):
                borders = f"from {group.params_b_from:g}B"
                borders += "" if group.params_b_below is None else f" to below {group.params_b_below:g}B"
                text = f"the default {shown(default)} has {params:g}B parameters and lies outside its group ({borders})"
                yield Problem(location, f"{text}; choose a model of the group")


def _border_problems(groups: Listed[SizeGroup]) -> Iterator[Problem]:
    for location, group in groups.entries:
        end = group.params_b_below
        if end is not None and end <= group.params_b_from:
            text = f"{end:g} is not above params_b_from ({group.params_b_from:g}); swap or correct the borders"
            yield Problem((*location, "params_b_below"), text)
    if groups.faulty:
        return
    ordered = sorted(groups.entries, key=lambda entry: (entry[1].params_b_from, entry[0][1]))
    if ordered != list(groups.entries):
        yield Problem(("size_groups",), "the size groups are not in order; list them from the smallest models up")
    for (_, lower), (location, upper) in pairwise(ordered):
        names = f"{shown(lower.name)} and {shown(upper.name)}"
        location = (*location, "params_b_from")
        end, start = lower.params_b_below, upper.params_b_from
        if end is None or end > start:
            remedy = f"set params_b_below of {shown(lower.name)} to {start:g}"
            yield Problem(location, f"the size groups {names} overlap; {remedy}")
        elif end < start:
            text = f"the size groups {names} leave a gap from {end:g}B to {start:g}B; correct a border"
            yield Problem(location, text)


def _models_without_group(groups: Listed[SizeGroup], models: Listed[StudyModel]) -> Iterator[Problem]:
    if groups.faulty or not groups.entries:
        return
    for location, model in models.entries:
        params = model.params_b
        if params is not None and not any(group.holds(params) for _, group in groups.entries):
            text = f"{params:g}B parameters lie in no size group; widen a group or add one"
            yield Problem((*location, "params_b"), text)


def _unpinned_code(models: Listed[StudyModel] | Listed[ScoredRewardModel]) -> Iterator[Problem]:
    """Code of a hub repository may only run at a commit that the study states."""
    for location, model in models.entries:
        has_place = isinstance(model, ScoredRewardModel) and model.is_local
        if model.remote_code and not has_place and (model.revision is None or not is_pinned(model)):
            text = "runs code of the repository, but states no commit as revision; add it, or remove remote_code"
            yield Problem((*location, "remote_code"), text)


def _unknown_import_models(benchmarks: Benchmarks | None, models: Listed[StudyModel]) -> Iterator[Problem]:
    """Names in result files are mapped to models of the study only."""
    listed = [model.model_id for _, model in models.entries]
    for index, entry in enumerate(benchmarks.imports if benchmarks else ()):
        for name, model_id in entry.models.items():
            if model_id not in listed and not models.is_faulty(model_id):
                remedy = close_match(model_id, listed, "listed are")
                text = f"{shown(name)} is mapped to {shown(model_id)}, which the study does not list; {remedy}"
                yield Problem(("benchmarks", "imports", index, "models", name), text)


def _has_test_set(training: Any) -> bool:
    """training: settings, or what the file has."""
    found = training.get("test_set") if isinstance(training, Mapping) else getattr(training, "test_set", None)
    return found is not None


def _without_benchmark(
    training: Any, scored: Listed[ScoredRewardModel], sets: Listed[BenchmarkSet]
) -> Iterator[Problem]:
    """Reward models that nothing would be known of."""
    if _has_test_set(training) or sets.entries or sets.faulty:
        return
    if isinstance(training, Mapping | Training):
        text = (
            "trains reward models, but the study names nothing to compare them on; name test pairs of RewardBench's "
            "columns as test_set here, or other benchmarks, such as pairs of your own, under benchmark_sets"
        )
        yield Problem(("training",), text)
    elif scored.entries:
        text = "the study names nothing to score reward models on; name a benchmark under benchmark_sets"
        yield Problem(("reward_models",), text)


def _imported_and_scored(scored: Listed[ScoredRewardModel], imports: Listed[ScoreImport]) -> Iterator[Problem]:
    """Scores of one name come from one place."""
    first: dict[str, Location] = {}
    for location, entry in imports.entries:
        first.setdefault(entry.reward_id, location)
    for location, one in scored.entries:
        if one.reward_id in first:
            at = Problem(first[one.reward_id], "").where
            text = f"{shown(one.reward_id)} is also the reward_id of the scores of {at}; give one of them another"
            yield Problem((*location, "reward_id"), text)


def _second_test_sets(sets: Listed[BenchmarkSet], is_tested: bool) -> Iterator[Problem]:
    """The test set of training is RewardBench: a second one would take its place in the tables."""
    for location, one in sets.entries:
        if is_tested and one.name == REWARDBENCH:
            text = "'rewardbench' is the test set of training already; remove this entry, or give it another name"
            yield Problem((*location, "name"), text)


def _missing_models(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Only scores of others can do without base models, and only both lists together can be left out."""
    missing = [name for name in ("models", "size_groups") if not data.get(name)]
    wanting = [name for name in _OF_MODELS if data.get(name)]
    others = ("score_imports", "leaderboards", "reward_models", "teachers")
    has_scores = any(data.get(name) for name in others)
    if missing and (len(missing) == 1 or wanting or not has_scores):
        because = f", because the study has {' and '.join(wanting)}" if wanting and len(missing) == 2 else ""
        for name in missing:
            text = "missing; add this key" if name not in data else "empty; list at least 1"
            yield Problem((name,), f"{text}{because}")


def _unknown_answer(data: Mapping[str, Any], sets: Listed[BenchmarkSet]) -> Iterator[Problem]:
    """The answer is that of a benchmark that the study can have rewards on."""
    name = data.get("answer_on")
    if isinstance(name, str):
        yield from _not_among_sets(
            ("answer_on",), name, sets, PUBLISHED if data.get("score_imports") else (REWARDBENCH,)
        )


def _unknown_benchmarks(imports: Listed[ScoreImport], sets: Listed[BenchmarkSet]) -> Iterator[Problem]:
    for location, entry in imports.entries:
        if entry.benchmark is not None:
            yield from _not_among_sets((*location, "benchmark"), entry.benchmark, sets, PUBLISHED)


def _not_among_sets(
    location: Location, name: str, sets: Listed[BenchmarkSet], others: Sequence[str]
) -> Iterator[Problem]:
    """A benchmark that is neither a set of the study nor one of others, which need no set."""
    known = [*dict.fromkeys([*(one.name for _, one in sets.entries), *others])]
    if name not in known and not sets.is_faulty(name):
        remedy = close_match(name, known, "list it there, or choose one of")
        yield Problem(location, f"the benchmark {shown(name)} is not under benchmark_sets; {remedy}")


def _disagreeing_imports(imports: Listed[ScoreImport]) -> Iterator[Problem]:
    """Several entries may have scores of one reward model, on different benchmarks; it is described once."""
    first: dict[str, tuple[Location, ScoreImport]] = {}
    for location, entry in imports.entries:
        where, known = first.setdefault(entry.reward_id, (location, entry))
        for name in FACTS:
            one, other = getattr(known, name), getattr(entry, name)
            if None not in (one, other) and one != other:
                text = (
                    f"{shown(other)}, but {Problem(where, '').where} has {shown(one)} for {shown(entry.reward_id)}; "
                    "one reward model is described in the same way in each entry: correct one of them, or its reward_id"
                )
                yield Problem((*location, name), text)


def _lab_problems(lab: Lab | None, models: Listed[StudyModel]) -> Iterator[Problem]:
    """The study lists all models of the lab; a model without a mix is a further stage of another model of the lab."""
    if lab is None:
        return
    made = Listed(tuple((("lab", "models", index), model) for index, model in enumerate(lab.models)), frozenset())
    yield from _repeated(made, "model_id", "model")
    names = {model.model_id for model in lab.models}
    listed = {model.model_id: model for _, model in models.entries}
    for location, spec in made.entries:
        location = (*location, "model_id")
        name = shown(spec.model_id)
        if spec.model_id not in listed and models.is_faulty(spec.model_id):
            continue
        if spec.model_id not in listed:
            remedy = close_match(spec.model_id, listed, "listed are")
            yield Problem(location, f"the lab makes {name}, which the study does not list; {remedy}")
        elif spec.mix is None:
            stage, parent = listed[spec.model_id].stage, listed[spec.model_id].parent
            if stage not in FURTHER_STAGES:
                text = f"{name} has no mix, so its stage must be one of {', '.join(FURTHER_STAGES)}, not {stage}"
                yield Problem(location, f"{text}; give it a mix and pretraining_tokens, or correct its stage")
            if parent not in names:
                text = f"{name} has no mix, so its parent must be a model of the lab, not {parent}"
                yield Problem(location, f"{text}; give it a mix and pretraining_tokens, or correct its parent")


ENSEMBLE = "ensemble:"
"""Beginning of the names of ensembles, which may teach as reward models do."""


def _teacher_problems(
    data: Mapping[str, Any],
    models: Listed[StudyModel],
    scored: Listed[ScoredRewardModel],
    imports: Listed[ScoreImport],
) -> Iterator[Problem]:
    """Names that the group teachers uses and nothing has, and what its parts lack."""
    teachers = _valid(data.get("teachers"), Teachers)
    if teachers is None:
        return
    training, lab = _valid(data.get("training"), Training), data.get("lab")
    yield from _policy_problems(teachers, models)
    yield from _prompt_problems(teachers, has_lab=bool(lab))
    yield from _response_problems(teachers, training, models, scored)
    # Models that a hub query finds, and entries with problems, may have a name that is not known here.
    if data.get("hub") or scored.faulty or models.faulty or (data.get("training") and training is None):
        return
    known = _rewards_here(training, models, scored)
    in_files = {one.reward_id: None for one in teachers.responses if one.reward_id}
    in_files |= {one.reward_id: None for _, one in imports.entries}
    yield from _gold_problems(teachers, [*known, *in_files], training, has_lab=bool(lab))
    yield from _unknown_rewards(("rewards",), teachers.rewards or (), known, "no reward model of the study")
    for index, one in enumerate(teachers.ensembles):
        name = ("ensembles", index, "members")
        yield from _unknown_rewards(name, one.members or (), known, "no reward model of the study")
    yield from _teach_problems(teachers, known)


def _rewards_here(
    training: Training | None, models: Listed[StudyModel], scored: Listed[ScoredRewardModel]
) -> list[str]:
    """Names of the reward models that the study trains or scores."""
    trained = [
        trained_reward_id(model.model_id, *one)
        for _, model in models.entries
        if training is not None and model.is_compared
        for one in variants(training, model.model_id)
    ]
    return [*trained, *(one.reward_id for _, one in scored.entries)]


def _policy_problems(teachers: Teachers, models: Listed[StudyModel]) -> Iterator[Problem]:
    listed = [model.model_id for _, model in models.entries]
    for index, one in enumerate(teachers.policies):
        location = ("teachers", "policies", index)
        if one.model_id is not None and one.model_id not in listed and not models.is_faulty(one.model_id):
            remedy = close_match(one.model_id, listed, "listed are") if listed else "list it under models"
            yield Problem((*location, "model_id"), f"{shown(one.model_id)} is no model of the study; {remedy}")
        if one.remote_code and one.hub_id is not None and not is_pinned(one):
            text = "runs code of the repository, but states no commit as revision; add it, or remove remote_code"
            yield Problem((*location, "remote_code"), text)
        if one.remote_code and one.model_id is not None:
            text = "is that of the study's model; set it there, and remove it here"
            yield Problem((*location, "remote_code"), text)
        for number, entry in enumerate(teachers.responses):
            if entry.has_policy(one.policy_id):
                text = (
                    f"{shown(one.policy_id)} may also be a policy of teachers.responses[{number}]; rename one of them"
                )
                yield Problem((*location, "policy_id"), text)


def _prompt_problems(teachers: Teachers, *, has_lab: bool) -> Iterator[Problem]:
    prompts = teachers.prompts
    if not teachers.policies and not teachers.responses:
        text = "names no responses; list policies to sample them from, or files of them under responses"
        yield Problem(("teachers",), text)
    elif teachers.policies and prompts is None and not has_lab:
        text = "has policies, but no prompts to sample their responses to; add prompts"
        yield Problem(("teachers", "policies"), text)
    elif prompts is not None and not teachers.policies:
        yield Problem(("teachers", "policies"), "no policy is sampled on the prompts; list one, or remove prompts")
    for index, one in enumerate(teachers.responses):
        name = prompts.name if prompts is not None else LAB_PROMPTS if has_lab else None
        if one.prompt_set == name:
            text = f"{shown(name)} is also the name of the prompts of the policies; give these another name"
            yield Problem(("teachers", "responses", index, "name"), text)


def _response_problems(
    teachers: Teachers, training: Training | None, models: Listed[StudyModel], scored: Listed[ScoredRewardModel]
) -> Iterator[Problem]:
    """Rewards in files have names of their own: the reward models of the study score these responses, too."""
    for index, one in enumerate(teachers.responses):
        if one.reward_id is not None and one.reward_id in _rewards_here(training, models, scored):
            text = f"{shown(one.reward_id)} is a reward model of the study, which scores these responses itself; give "
            text += "the scores of the file another reward_id, or remove it"
            yield Problem(("teachers", "responses", index, "reward_id"), text)


def _gold_problems(
    teachers: Teachers, known: Sequence[str], training: Training | None, *, has_lab: bool
) -> Iterator[Problem]:
    for index, one in enumerate(teachers.gold):
        location = ("teachers", "gold", index)
        if one.reward is not None:
            yield from _unknown_rewards((*location[1:], "reward"), (one.reward,), known, "no reward of the study")
        elif one.name in known:
            text = f"{shown(one.name)} is also the name of a reward model; give the gold reward another gold_id"
            yield Problem((*location, "gold_id"), text)
        if one.lab and not has_lab:
            yield Problem((*location, "lab"), "the study has no lab, whose truth it would be; choose another gold")
        if one.strongest and training is None:
            text = "the study trains no reward models, of which it would be one; name one as reward"
            yield Problem((*location, "strongest"), text)


def _teach_problems(teachers: Teachers, known: Sequence[str]) -> Iterator[Problem]:
    teach = teachers.teach
    if teach is None:
        return
    if not teachers.policies:
        text = "no policy is sampled here that could be trained; list one under policies"
        yield Problem(("teachers", "teach"), text)
        return
    sampled = [one.policy_id for one in teachers.policies]
    for index, name in enumerate(teach.policies or ()):
        if name not in sampled:
            text = f"{shown(name)} is not among teachers.policies; {close_match(name, sampled, 'listed are')}"
            yield Problem(("teachers", "teach", "policies", index), text)
    golds = [name for one in teachers.gold for name in one.names]
    names = [one for one in teach.rewards or () if not (teachers.ensembles and one.startswith(ENSEMBLE))]
    what = "neither a reward model nor a gold reward of the study"
    yield from _unknown_rewards(("teach", "rewards"), names, [*known, *golds], what)


def _unknown_rewards(key: Location, names: Sequence[str], known: Sequence[str], what: str) -> Iterator[Problem]:
    """Names of the group teachers that no reward has. key: of one name, or of their list."""
    for place, name in enumerate(names):
        if name not in known:
            remedy = close_match(name, known, "there are") if known else "train or list one"
            index = () if key[-1] == "reward" else (place,)
            yield Problem(("teachers", *key, *index), f"{shown(name)} is {what}; {remedy}")


def race_problems(
    race: Race, training: Training, models: Sequence[str], benchmarks: Sequence[str]
) -> Iterator[Problem]:
    """What the group race names and the study lacks. models, benchmarks: names of all of the study."""
    if race.objective is not None and race.objective not in training.objectives:
        text = f"{shown(race.objective)} is not among training.objectives; add it there, or choose another"
        yield Problem(("race", "objective"), text)
    if race.decides is not None and race.decides not in benchmarks:
        remedy = close_match(race.decides, benchmarks, "list it under benchmark_sets, or choose one of")
        yield Problem(("race", "decides"), f"{shown(race.decides)} is no benchmark of the study; {remedy}")
    for place, name in enumerate(race.candidates or ()):
        if name not in models:
            text = f"{shown(name)} is no base model of the study; {close_match(name, models, 'listed are')}"
            yield Problem(("race", "candidates", place), text)
    if race.candidates is None and len(models) < 2:
        yield Problem(("race",), "needs two base models that race; list another under models or candidates")


def _race_problems(
    data: Mapping[str, Any], models: Listed[StudyModel], sets: Listed[BenchmarkSet]
) -> Iterator[Problem]:
    race, training = _valid(data.get("race"), Race), _valid(data.get("training"), Training)
    if race is None:
        return
    if not data.get("training"):
        text = "missing; the group race trains reward models: add this key, which says how and on what data"
        yield Problem(("training",), text)
    # Models that a hub query finds, and entries with problems, may have a name that is not known here.
    if training is None or data.get("hub") or models.faulty or sets.faulty:
        return
    tested = (REWARDBENCH,) if training.test_set is not None else ()
    names = [model.model_id for _, model in models.entries]
    yield from race_problems(race, training, names, [*tested, *(one.name for _, one in sets.entries)])
