"""Rules of the repository: imports, top level, private names, lock, length of files, what is never committed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("models_train", "warehouse", "dagster_project")

# Packages of the project that a package may import beside itself, by prefix.
GROUND_FLOOR = (
    *("models_train.errors", "models_train.files", "models_train.machine", "models_train.processes"),
    *("models_train.store", "models_train.footers"),
)
ALLOWED = {
    "models_train": ("warehouse.contracts",),
    "warehouse": GROUND_FLOOR,
    # Of the science side only what needs no torch: settings, names of results, parts.
    "dagster_project": (
        *GROUND_FLOOR,
        "warehouse",
        "models_train.study",
        "models_train.parts",
        "models_train.telemetry",
        *GROUND_FLOOR,
    ),
    "dbt": ("models_train.selection", "models_train.synthetic.checks", "models_train.teachers"),
}
# Packages that a package must not import at all.
FORBIDDEN = {
    "models_train": ("dagster", "duckdb", "dbt"),
    "warehouse": ("torch", "transformers", "vllm", "lm_eval", "dagster", "dbt"),
    "dagster_project": ("torch", "transformers", "vllm", "lm_eval"),
    "dbt": ("torch", "transformers", "vllm", "dagster"),
}


def imports(path: Path, package: str) -> Iterator[tuple[int, str]]:
    """Every module that a file imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def begins(module: str, prefixes: tuple[str, ...]) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def wrong_edges(path: Path, package: str) -> list[str]:
    found = []
    for line, module in imports(path, package):
        where = f"{path.name}:{line} imports {module}"
        if begins(module, FORBIDDEN[package]) or (
            begins(module, PACKAGES) and not begins(module, (package, *ALLOWED[package]))
        ):
            found.append(where)
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_one_way(package: str) -> None:
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert files
    assert [edge for path in files for edge in wrong_edges(path, package)] == []


def test_contracts_import_pyarrow_alone() -> None:
    files = (REPOSITORY / "warehouse" / "contracts").glob("*.py")
    modules = {module for path in files for _, module in imports(path, "warehouse")}
    found = {module.split(".")[0] for module in modules if not begins(module, ("warehouse.contracts",))}
    assert found - set(sys.stdlib_module_names) == {"pyarrow"}


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("warehouse", "import dagster"),
        ("warehouse", "from models_train.study.study import Study"),
        ("models_train", "from warehouse import landing"),
        ("models_train", "def f():\n    import duckdb"),
        ("dagster_project", "from models_train.selection.correlations import critical_r"),
    ],
)
def test_a_wrong_edge_is_found(package: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(line)
    assert len(wrong_edges(path, package)) == 1


def private_uses(path: Path) -> list[str]:
    """Private names of other packages that a file imports, reads from an imported module, or patches by `vars`."""
    tree, found = ast.parse(path.read_text()), []

    def is_private(name: str) -> bool:
        return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))

    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
            found += [(node.lineno, alias.name) for alias in node.names if is_private(alias.name)]
        elif isinstance(node, ast.ImportFrom):
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(node.lineno, name) for name in names if is_private(name)]
    own = (*PACKAGES, *sys.stdlib_module_names)  # `os._exit` is documented
    foreign = {name for name, module in modules.items() if not begins(module, own)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in foreign:
            found += [(node.lineno, f"{node.value.id}.{node.attr}")] if is_private(node.attr) else []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "vars" and node.args:
            inner = node.args[0]
            found += [(node.lineno, "vars()")] if isinstance(inner, ast.Name) and inner.id in foreign else []
    return [f"{path.name}:{line} uses {name}" for line, name in sorted(found)]


def test_no_private_name_of_a_dependency_is_used() -> None:
    files = [path for package in (*PACKAGES, "dbt") for path in sorted((REPOSITORY / package).rglob("*.py"))]
    assert [use for path in files for use in private_uses(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "from dagster._core.storage import x",
        "from lm_eval.tasks import _index",
        "import torch._foreach",
        "import torch\ntorch._foreach_mul_([], 1)",
        "from dagster_dbt import core\nvars(core)['_cli_version'] = None",
    ],
)
def test_a_private_use_is_found(text: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(text)
    assert len(private_uses(path)) == 1


@pytest.mark.slow
def test_the_published_study_needs_no_torch(tmp_path: Path) -> None:
    """Loading all definitions imports nothing for training or drawing."""
    code = """
import sys
from dagster_project import environment
environment.prepare()
from dagster_project.lib.executor import load_definitions
load_definitions()
print(sorted({"torch", "transformers", "vllm", "altair", "vl_convert"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"REWARDBASE_HOME": str(tmp_path)},
        timeout=120,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    return [name for name in done.stdout.splitlines() if (REPOSITORY / name).exists()]


def test_the_top_level_is_what_the_house_names() -> None:
    top = {name.split("/")[0] for name in tracked()}
    named = {"dagster_project", "dbt", "models_train", "warehouse", "tests", "pyproject.toml"}
    beside = {"README.md", "LICENSE", "Makefile", "requirements.lock"}
    assert {name for name in top - named - beside if not name.startswith(".")} == set()


def test_no_registry_host_and_no_path_of_a_machine_is_committed() -> None:
    pattern = re.compile(
        r"--(extra-)?index-url|--find-links|/simple/|files\.python" + r"hosted|(?<![\w.$}/-])/(work|root|farm|home)/\w"
    )
    for name in tracked():
        if name.endswith((".png", ".gz", ".csv")) or name == "tests/project/test_house.py":
            continue
        text = (REPOSITORY / name).read_text()
        found = pattern.search(text)
        assert found is None, f"{name}: {text[max(0, found.start() - 40) : found.end() + 40]!r}"


def test_the_lock_names_versions_only() -> None:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert len(pins) > 100
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.!]+", line) for line in pins)


def test_the_lock_satisfies_what_the_project_requires() -> None:
    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + [
        one for name in ("train", "dev") for one in project["optional-dependencies"][name]
    ]
    for requirement in map(Requirement, required):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None and requirement.specifier.contains(version), f"{requirement}: `make lock`"


@pytest.mark.parametrize("minor", [10, 13, 14])
def test_make_accepts_the_versions_of_python_that_the_project_requires(minor: int, tmp_path: Path) -> None:
    python = tmp_path / "python"
    told = f"import sys; sys.version_info = (3, {minor}); exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" -c "{told}" "$2"\n')
    python.chmod(0o755)
    command = ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    accepted = SpecifierSet(project["requires-python"]).contains(f"3.{minor}")
    # The stand-in can make no environment, so the set-up ends at the next step at the latest.
    said = "The venv module is missing" if accepted else f"Rewardbase needs Python 3.11 to 3.13; '{python}' is not."
    assert done.returncode != 0 and said in done.stdout and ("Creating" in done.stdout) == accepted


def test_files_stay_short() -> None:
    long = {
        name: count
        for name in tracked()
        if name.endswith((".py", ".sql")) and (count := len((REPOSITORY / name).read_text().splitlines())) > 650
    }
    assert long == {}
