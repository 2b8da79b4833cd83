"""Cross-checks of the group teachers, with the line of the study file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from models_train.study.study import load_study
from models_train.study.yaml_lines import StudyError
from tests.support.studies import SETTINGS

POLICY = {"policy_id": "mine", "model_id": "hub"}
PROMPTS = {"path": "prompts.jsonl", "measure": 8, "teach": 4}
FILE = {"path": "out.json", "format": "plain"}
SOUND: dict[str, Any] = {
    "policies": [POLICY, {"policy_id": "theirs", "hub_id": "o/p"}],
    "prompts": PROMPTS,
    "responses": [FILE | {"reward_id": "scores"}],
    "gold": [{"reward": "hub/regression"}, {"strongest": True}, {"reward": "scores", "gold_id": "of file"}],
    "rewards": ["hub/bradley_terry", "local/regression"],
    "ensembles": [{"over": "bases", "members": ["hub/regression", "local/regression"]}],
    "teach": {"policies": ["mine"], "rewards": ["hub/regression", "strongest", "ensemble:bases_mean"]},
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def problems(folder: Path, **changes: Any) -> list[str]:
    """The lines of the message, without the file's name."""
    teachers = {name: value for name, value in (SOUND | changes).items() if value is not None}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(SETTINGS | {"teachers": teachers}, sort_keys=False))
    try:
        load_study(path)
    except StudyError as error:
        return str(error).splitlines()
    return []


def test_sound_settings_are_taken(tmp_path: Path) -> None:
    assert problems(tmp_path) == []
    code = {"policy_id": "code", "hub_id": "o/c", "remote_code": True, "revision": COMMIT}
    assert problems(tmp_path, policies=[POLICY, code]) == []
    alone = dict.fromkeys(("policies", "prompts", "gold", "rewards", "ensembles", "teach"))
    assert problems(tmp_path, **alone) == []


@pytest.mark.parametrize(
    ("changes", "where", "said"),
    [
        ({"policies": [POLICY | {"model_id": "hubb"}]}, "teachers.policies[0].model_id", "did you mean 'hub'?"),
        ({"prompts": None, "teach": None}, "teachers.policies", "has policies, but no prompts to sample"),
        ({"policies": [], "teach": None}, "teachers.policies", "no policy is sampled on the prompts; list one"),
        ({"policies": [], "prompts": None, "responses": [], "teach": None}, "teachers", "names no responses; list"),
        (
            {"policies": [POLICY, {"policy_id": "c", "hub_id": "o/c", "remote_code": True, "revision": "main"}]},
            "teachers.policies[1].remote_code",
            "states no commit as revision; add it",
        ),
        ({"policies": [POLICY | {"remote_code": True}]}, "teachers.policies[0].remote_code", "set it there"),
        ({"policies": [POLICY, {"policy_id": "out:x", "path": "x"}]}, "teachers.policies[1].policy_id", "rename one"),
        ({"responses": [FILE | {"name": "prompts"}]}, "teachers.responses[0].name", "is also the name of the prompts"),
        ({"responses": [FILE | {"reward_id": "hub/regression"}]}, "teachers.responses[0].reward_id", "scores these"),
        ({"gold": [{"reward": "hub/regresion"}]}, "teachers.gold[0].reward", "did you mean 'hub/regression'?"),
        ({"gold": [{"lab": True}]}, "teachers.gold[0].lab", "the study has no lab, whose truth it would be"),
        ({"gold": [{"lab": True, "gold_id": "hub/regression"}]}, "teachers.gold[0].gold_id", "another gold_id"),
        ({"rewards": ["hub/regression", "nothing"]}, "teachers.rewards[1]", "'nothing' is no reward model of"),
        (
            {"ensembles": [{"over": "seeds", "members": ["hub/regression", "hub/regression/s9"]}]},
            "teachers.ensembles[0].members[1]",
            "'hub/regression/s9' is no reward model of the study",
        ),
        ({"teach": {"policies": ["minee"]}}, "teachers.teach.policies[0]", "did you mean 'mine'?"),
        ({"teach": {"rewards": ["gold"]}}, "teachers.teach.rewards[0]", "is neither a reward model nor a gold reward"),
        ({"teach": {"rewards": ["ensemble:x"]}, "ensembles": []}, "teachers.teach.rewards[0]", "is neither"),
        ({"policies": [], "prompts": None}, "teachers.teach", "no policy is sampled here that could be trained"),
    ],
)  # fmt: skip
def test_what_contradicts_is_told_with_its_line(changes: Any, where: str, said: str, tmp_path: Path) -> None:
    found = [line for line in problems(tmp_path, **changes) if f"{where}: " in line]
    assert found and said in found[0], found
    assert "line " in found[0] or found[0].split(":")[1].strip().isdigit(), found


def test_nothing_is_blamed_for_another_fault(tmp_path: Path) -> None:
    """A model with a fault may be the one that is meant."""
    path = tmp_path / "study.yaml"
    faulty = SETTINGS | {"teachers": SOUND | {"policies": [POLICY | {"model_id": "third"}], "teach": None}}
    models = [*SETTINGS["models"], {"model_id": "third", "hub_id": "o/t", "family": "T", "stage": "bse"}]
    path.write_text(yaml.safe_dump(faulty | {"models": models}))
    with pytest.raises(StudyError) as caught:
        load_study(path)
    assert "stage" in str(caught.value) and "teachers" not in str(caught.value)
