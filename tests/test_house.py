"""The rules of the house: which part may import which, what is public, and what `import kdlens` may cost."""

import ast
import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import kdlens

SOURCE = Path(kdlens.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

FLOORS = {  # a part may import parts on lower floors, and its own
    "cli": 10,
    "bench": 9,
    "demo": 9,
    "demo_experts": 9,
    "study_file": 8,
    "study": 7,
    "networks": 6,
    "measures": 6,
    "workbench": 6,
    "checks": 6,
    "questions": 5,
    "training": 5,
    "report": 5,
    "runtime": 4,
    "memory": 3,
    "models": 2,
    "data": 2,
    "nn": 1,
    "processes": 1,
    "stats": 1,
    # the ground: what every part may use
    **dict.fromkeys(
        ("answer", "config", "environment", "errors", "files", "progress", "registry", "runs", "visible", "_version"), 0
    ),
}
OUTSIDE = {"__init__", "__main__"}


def part_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree, *, everywhere):
    nodes = ast.walk(tree) if everywhere else tree.body
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down(path):
    if part_of(path) in OUTSIDE:
        return
    here = FLOORS[part_of(path)]
    for module in imports(ast.parse(path.read_text()), everywhere=False):
        if module.startswith("kdlens."):
            part = module.split(".")[1]
            below = FLOORS[part] < here or here == FLOORS[part] == 0
            assert part == part_of(path) or below, f"{path.name} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_optional_package_is_imported_on_the_way_in(path):
    for module in imports(ast.parse(path.read_text()), everywhere=False):
        assert module.split(".")[0] not in {"torchvision", "timm", "captum", "open_clip", "sentence_transformers"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.lineno + 1 - docstring <= 60, f"{path.name}: {node.name} is too long"


def run_python(code):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)


def test_importing_kdlens_brings_nothing_heavy():
    result = run_python("""
        import sys, torch
        before = set(sys.modules)
        import kdlens
        heavy = {"pandas", "matplotlib", "accelerate", "PIL", "torchvision", "timm", "pydantic", "jinja2", "rich"}
        sys.exit(str(heavy & (set(sys.modules) - before)) if heavy & (set(sys.modules) - before) else 0)
    """)
    assert result.returncode == 0, result.stderr


def test_the_help_needs_no_torch():
    result = run_python("""
        import sys
        from typer.testing import CliRunner
        from kdlens.cli import app
        result = CliRunner().invoke(app, ["--help"])
        assert "explain" in result.output
        assert "torch" not in sys.modules
    """)
    assert result.returncode == 0, result.stderr


def test_every_public_name_works_without_torchvision_and_timm():
    result = run_python("""
        import sys

        class Hide:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {"torchvision", "timm", "captum"}:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Hide())
        import kdlens
        for name in kdlens.__all__:
            getattr(kdlens, name)
        import torch
        net = kdlens.load_model("zoo:resnet8", classes=3)
        assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    """)
    assert result.returncode == 0, result.stderr


def test_public_names_are_few_documented_and_stay_callable():
    assert len(kdlens.__all__) <= 30  # one verb a question, and what it takes to load, train and show
    for name in kdlens.__all__:
        assert getattr(kdlens, name).__doc__
    for part in ("questions.unicam", "training.api", "checks"):  # importing a part must not hide a verb of its name
        importlib.import_module(f"kdlens.{part}")
    assert callable(kdlens.explain)
    assert callable(kdlens.distill)
    assert callable(kdlens.doctor)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'explian'"):
        kdlens.explian  # noqa: B018
