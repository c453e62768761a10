"""The authors' own code, where a checkout is at hand; imported from there, patched at run time, never copied."""

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.unicam import LAYERS, MEAN, STD, inputs, network

DEPTH = {"layer4": 2, "layer3": 3, "layer2": 4, "layer1": 5}


def authors() -> Callable[[], Tensor]:
    """Flattened features at each stage, both directions, on the CPU."""
    build_pair, build_cam, normalise = load(Path(os.environ["BENCHMARK_PEER"]))
    student, teacher = network(2), network(1)
    images, labels = inputs()
    vectors = torch.eye(2)[labels]

    def run() -> Tensor:
        maps = []
        for layer in LAYERS:
            for model, given in ((student, teacher), (teacher, student)):
                pair = build_pair(model, given, normalise(MEAN, STD), normalise(MEAN, STD), DEPTH[layer]).eval()
                cam = build_cam(model=pair, target_layers=[model.get_submodule(layer)[-1]], use_cuda=False)
                maps.append(torch.from_numpy(cam(input_tensor=images, targets=vectors)))
                cam.activations_and_grads.release()
        return torch.stack(maps)

    return run


def load(checkout: Path) -> tuple[Callable, Callable, Callable]:
    """Their pair of networks, their CAM and their normalising layer."""
    if "prefetch_generator" not in sys.modules:  # imported there, never used on this path
        stub = types.ModuleType("prefetch_generator")
        stub.BackgroundGenerator = object
        sys.modules["prefetch_generator"] = stub
    sys.path.insert(0, str(checkout))
    os.chdir(checkout)
    from pdCor_CAM import PDC_CAM
    from pdCor_model import PDC_Model
    from utils import NormalizeLayer

    return PDC_Model, PDC_CAM, NormalizeLayer
