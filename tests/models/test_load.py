import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

from kdlens.errors import ModelError, UnknownNameError, UnsafeFileError
from kdlens.models import sources
from kdlens.models.load import load_model
from kdlens.models.weights import save_weights


@pytest.mark.parametrize("arch", ["resnet8", "zoo:resnet8"])
def test_the_zoo_by_name(arch):
    network = load_model(arch, classes=6, in_channels=1)
    assert network(torch.zeros(2, 1, 16, 16)).shape == (2, 6)
    assert not any(module.training for module in network.modules())


UNKNOWN = {
    "resnet21": ['unknown network "resnet21"', '"resnet20"', "timm:NAME"],
    "zoo:mobilnetv2": ['did you mean "mobilenetv2"'],
    "hub:resnet18": ['unknown source "hub"', "zoo:NAME", "path/file.py:function"],
    "file:resnet18": ['unknown source "file"'],
    "": ['unknown network ""'],
}


@pytest.mark.parametrize(("arch", "texts"), UNKNOWN.items())
def test_unknown_names(arch, texts):
    with pytest.raises(UnknownNameError) as caught:
        load_model(arch)
    for text in texts:
        assert text in str(caught.value)


@pytest.fixture
def nets(tmp_path):
    (tmp_path / "helper.py").write_text("WIDTH = 3\n")
    path = tmp_path / "nets.py"
    path.write_text(
        textwrap.dedent("""
        import pathlib
        from dataclasses import dataclass
        from torch import nn
        from helper import WIDTH

        pathlib.Path(__file__).with_name("ran").touch()

        @dataclass
        class Settings:
            width: int = WIDTH

        def build(num_classes=10, bias=True):
            return nn.Sequential(nn.Linear(Settings().width, num_classes, bias=bias))

        def build_fixed():
            return nn.Linear(2, 2)

        def build_any(**options):
            return nn.Linear(2, options["num_classes"])

        def build_other(classes, width=2):
            return nn.Linear(width, classes)

        def not_a_network():
            return "network"

        def needs_more(size):
            return nn.Linear(size, 1)

        CONSTANT = 3
        """)
    )
    return path


def test_code_is_not_run_unless_allowed(nets):
    with pytest.raises(UnsafeFileError, match=r"would run the code in .*nets.py.*--allow-code .*allow_code=True"):
        load_model(f"{nets}:build")
    assert not nets.with_name("ran").exists()


@pytest.mark.parametrize(
    ("function", "outputs"), [("build", 4), ("build_fixed", 2), ("build_any", 4), ("build_other", 4)]
)
def test_functions_in_files(nets, function, outputs):
    network = load_model(f"{nets}:{function}", classes=4, allow_code=True)
    assert isinstance(network, nn.Module)
    assert not network.training
    assert next(iter(network.parameters())).shape[0] == outputs
    assert str(nets.parent) not in sys.path


def test_options_reach_the_function(nets):
    assert load_model(f"{nets}:build", allow_code=True, bias=False, num_classes=7)[0].bias is None
    assert load_model(f"{nets}:build_other", classes=3, allow_code=True, width=5).in_features == 5


def test_relative_paths_and_weights(nets, monkeypatch, tmp_path):
    monkeypatch.chdir(nets.parent)
    network = load_model("nets.py:build", classes=4, allow_code=True)
    save_weights(network, tmp_path / "a.safetensors")
    again = load_model("nets.py:build", classes=4, allow_code=True, weights=tmp_path / "a.safetensors")
    assert torch.equal(network[0].weight, again[0].weight)


WRONG = {
    "nets.py:biuld": (UnknownNameError, r'nets.py has no function "biuld"; did you mean "build"'),
    "nets.py:CONSTANT": (UnknownNameError, 'has no function "CONSTANT"'),
    "nets.py": (ModelError, "names no function; write path/file.py:function"),
    "other.py:build": (ModelError, "there is no file .*other.py"),
    "nets.py:not_a_network": (ModelError, r"gives str; a torch.nn.Module was expected"),
    "nets.py:needs_more": (ModelError, r"cannot be built with \(\): .*size"),
    "broken.py:build": (ModelError, "broken.py raised ZeroDivisionError when it was run"),
}


@pytest.mark.parametrize(("arch", "expected"), WRONG.items(), ids=WRONG)
def test_wrong_files_and_functions(nets, arch, expected):
    nets.with_name("broken.py").write_text("1 / 0\n")
    kind, text = expected
    with pytest.raises(kind, match=text):
        load_model(str(nets.parent / arch), allow_code=True)


def test_a_drive_letter_is_not_a_source(tmp_path):
    with pytest.raises(UnsafeFileError, match=r"would run the code in C:/nets\.py"):
        load_model("C:/nets.py:build")


@pytest.mark.parametrize("arch", ["timm:resnet18", "torchvision:resnet18"])
@pytest.mark.parametrize(
    ("error", "texts"),
    [
        (
            RuntimeError("operator torchvision::nms does not exist"),
            ["operator torchvision::nms does not exist", "built for another torch", "download.pytorch.org/whl/cpu"],
        ),
        (ModuleNotFoundError("No module named 'torchvision'", name="torchvision"), ["not installed", "kdlens[vision]"]),
        (OSError("libtorch_cuda.so: cannot open shared object file\nmore"), ["libtorch_cuda.so", "another torch"]),
    ],
    ids=["broken", "missing", "library"],
)
def test_a_missing_or_broken_torchvision_gives_advice(arch, error, texts, monkeypatch):
    def fail(name):
        raise error

    monkeypatch.setattr(sources.importlib, "import_module", fail)
    with pytest.raises(ModelError) as caught:
        load_model(arch)
    for text in texts:
        assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_looking_for_a_network_imports_neither_timm_nor_torchvision():
    code = """
import sys
from kdlens.models.load import load_model
load_model("resnet8")
sys.exit(str([m for m in ("timm", "torchvision", "pandas", "matplotlib", "PIL") if m in sys.modules] or ""))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
