"""Does virtual attention improve students under distillation? KD against KD + VAM on real images, and what it costs.

python -m benchmarks.vam --folder runs --seeds 10      # resumes; tables at the end
python -m benchmarks.vam --cost                        # training and inference time beside the plain student, only
python -m benchmarks.vam --scale smoke                 # a minute, means nothing

Photographs of Fashion-MNIST that come with kdlens: 5,000 to learn from, 1,000 of the training split held out to
choose settings by, 2,000 of the test split, looked at once, for the comparison. The paper's gamma, block size and
temperature are not known, so each is varied alone around the middle setting, and so is the learning rate of the
attention: with that of the weights it hardly moves. KD chooses its temperature on the same images. Runs of one seed
share first weights and the order of images, so differences are taken seed by seed.
"""

import argparse
import copy
import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import kdlens
from benchmarks.measure import least_cpu, table, write
from kdlens.data.fashion import Fashion
from kdlens.measures.diffroar import accuracy
from kdlens.nn import attention_entropy, insert_vam
from kdlens.stats.resampling import seed_interval
from kdlens.stats.student_t import t_tail
from kdlens.training.batches import as_batches

STUDENTS = ("cnn8", "resnet8")
TEACHER = "cnn32"


@dataclass(frozen=True)
class Scale:
    """How large everything is, and how long it learns."""

    train: int = 5000
    held_out: int = 1000
    test: int = 2000
    epochs: int = 8
    teacher_epochs: int = 12


SCALES = {"full": Scale(), "smoke": Scale(200, 100, 100, 1, 1)}


@dataclass(frozen=True)
class Setting:
    """One way to distil: KD at a temperature, with or without attention."""

    temperature: float = 4.0
    vam: bool = False
    gamma: float = 0.01
    blocks: int = 4
    lr: float | None = None

    @property
    def name(self) -> str:
        """As it stands in tables."""
        if not self.vam:
            return f"KD, T {self.temperature:g}"
        lr = "" if self.lr is None else f", lr {self.lr:g}"
        return f"KD + VAM, T {self.temperature:g}, gamma {self.gamma:g}, {self.blocks} blocks{lr}"


MIDDLE = Setting(vam=True)
KD_SWEEP = tuple(Setting(temperature=t) for t in (1.0, 2.0, 4.0, 8.0))
VAM_SWEEP = (
    *(replace(MIDDLE, gamma=gamma) for gamma in (0.0, 1e-3, 1e-2, 1e-1)),
    *(replace(MIDDLE, blocks=blocks) for blocks in (2, 8)),
    *(replace(MIDDLE, temperature=t) for t in (1.0, 2.0, 8.0)),
    *(replace(MIDDLE, temperature=1.0, gamma=gamma, lr=0.06) for gamma in (1e-2, 1e-1)),
)


@dataclass
class Runs:
    """Trains and judges; whatever is finished in the folder is read again."""

    folder: Path
    scale: Scale
    figures: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self.figures = json.loads(self._file.read_text())

    @property
    def _file(self) -> Path:
        return self.folder / "figures.json"

    def accuracies(self, arch: str, setting: Setting, seed: int) -> dict[str, float]:
        """Accuracy on the held-out and on the test images, and the entropy of the attention."""
        key = f"{arch}/{setting.name}/{seed}"
        if key not in self.figures:
            network = self._trained(arch, setting, seed)
            found = {
                part: 100 * accuracy(network, as_batches(images(part, self.scale))) for part in ("held out", "test")
            }
            if setting.vam:
                found["entropy"] = attention_entropy(network).item()
            self.figures[key] = found
            write(self._file, key, found)
            print(f"{key}: {found}", flush=True)
        return self.figures[key]

    def teacher(self) -> nn.Module:
        """Trained on the labels, once."""
        return self._distilled(None, fresh(TEACHER, 1000), "labels", self.scale.teacher_epochs, 0, "teacher")

    def _trained(self, arch: str, setting: Setting, seed: int) -> nn.Module:
        network = fresh(arch, seed)
        options: dict[str, Any] = {"temperature": setting.temperature, "alpha": 0.9}
        if setting.vam:
            insert_vam(network, blocks=setting.blocks)
            options["attention"] = {"entropy": setting.gamma, "lr": setting.lr}
        return self._distilled(self.teacher(), network, "kd", self.scale.epochs, seed, None, **options)

    def _distilled(
        self,
        teacher: nn.Module | None,
        network: nn.Module,
        method: str,
        epochs: int,
        seed: int,
        name: str | None,
        **more: Any,
    ) -> nn.Module:
        return kdlens.distill(
            teacher,
            network,
            images("train", self.scale),
            method=method,
            epochs=epochs,
            optimizer={"name": "adam", "lr": 6e-3},
            schedule="one-cycle",
            seed=seed,
            cache_teacher=teacher is not None,
            path_layers=(),
            out=None if name is None else self.folder / name,
            **more,
        ).network


@cache
def images(part: str, scale: Scale) -> kdlens.Images:
    """Images to learn from, to choose settings by, or to compare on."""
    data = Fashion("test" if part == "test" else "train")
    starts = {
        "train": (0, scale.train),
        "held out": (scale.train, scale.train + scale.held_out),
        "test": (0, scale.test),
    }
    return kdlens.Images(data, mean=data.mean, std=data.std).subset(torch.arange(*starts[part]))


def fresh(arch: str, seed: int) -> nn.Module:
    """A network with the first weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kdlens.load_model(f"zoo:{arch}", classes=10, in_channels=1)


def sweep(runs: Runs, arch: str, seeds: int) -> tuple[Setting, Setting]:
    """Judge all settings on the held-out images; return the best of KD and the best of KD + VAM."""
    means: dict[Setting, float] = {}
    rows = []
    for setting in (*KD_SWEEP, *VAM_SWEEP):
        found = [runs.accuracies(arch, setting, seed) for seed in range(seeds)]
        interval = seed_interval([one["held out"] for one in found])
        means[setting] = interval.value
        entropy = sum(one["entropy"] for one in found) / seeds if setting.vam else None
        ends = "" if seeds < 2 else f" [{interval.low:.1f}, {interval.high:.1f}]"
        rows.append([setting.name, f"{interval.value:.2f}{ends}", "" if entropy is None else f"{entropy:.3f}"])
    print(f"\n{arch}: {seeds} seeds, {runs.scale.held_out} held-out images\n")
    print(table(["setting", "accuracy, % [95 % over seeds]", "entropy, nats"], rows), flush=True)
    best = [max(settings, key=means.__getitem__) for settings in (KD_SWEEP, VAM_SWEEP)]
    return best[0], best[1]


def compare(runs: Runs, arch: str, plain: Setting, attended: Setting, seeds: int) -> list[str]:
    """A row of the comparison on the test images: means, paired difference, its interval and p-value."""
    of = {setting: [runs.accuracies(arch, setting, s)["test"] for s in range(seeds)] for setting in (plain, attended)}
    differences = torch.tensor(of[attended]) - torch.tensor(of[plain])
    interval = seed_interval(differences.tolist())
    spread = differences.std().item() / seeds**0.5
    p = 2 * t_tail(abs(interval.value) / spread, seeds - 1) if spread > 0 else float("nan")
    means = [sum(of[setting]) / seeds for setting in (plain, attended)]
    return [
        arch,
        plain.name,
        f"{means[0]:.2f}",
        attended.name,
        f"{means[1]:.2f}",
        f"{interval.value:+.2f} [{interval.low:.2f}, {interval.high:.2f}]",
        f"{p:.2f}",
    ]


def cost(arch: str, classes: int = 100, batch: int = 64) -> list[str]:
    """A training step with attention and entropy term beside a plain one, and inference after folding."""
    torch.manual_seed(0)
    plain = kdlens.load_model(f"zoo:{arch}", classes=classes)
    attended = copy.deepcopy(plain)
    vam = insert_vam(attended)
    extra = sum(parameter.numel() for parameter in vam.parameters())
    x, y = torch.randn(batch, 3, 32, 32), torch.randint(classes, (batch,))
    ratios = []
    for _ in range(15):  # in turns, so that what else the machine does meets both
        seconds = [least_cpu(lambda n=network: step(n, x, y), 1) for network in (plain, attended)]
        ratios.append(seconds[1] / seconds[0])
    for parameter in vam.parameters():
        nn.init.normal_(parameter)
    exact = copy.deepcopy(attended).double().eval()
    before = exact(x.double())
    kdlens.nn.VAM(exact).fold()
    distance = (exact(x.double()) - before).abs().max().item()
    same = [type(m) for m in exact.modules()] == [type(m) for m in plain.modules()]
    share = 100 * extra / sum(p.numel() for p in plain.parameters())
    return [
        arch,
        f"{extra} ({share:.3f} %)",
        f"{torch.tensor(ratios).median():.3f}",
        f"{distance:.0e}",
        "none: the same layers" if same else "other layers",
    ]


def step(network: nn.Module, x: Tensor, y: Tensor) -> None:
    """Forward, backward and update, with the entropy term where there is attention."""
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    loss = nn.functional.cross_entropy(network(x), y)
    if kdlens.nn.VAM(network).layers:
        loss = loss + 0.01 * attention_entropy(network)
    loss.backward()
    optimizer.step()
    network.zero_grad(set_to_none=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep figures here, and go on from them")
    parser.add_argument("--seeds", type=int, default=10, help="of the comparison")
    parser.add_argument("--sweep-seeds", type=int, default=3, help="of the choice of settings")
    parser.add_argument("--scale", choices=SCALES, default="full")
    parser.add_argument("--student", action="append", help=f"networks of the zoo; default: {', '.join(STUDENTS)}")
    parser.add_argument("--cost", action="store_true", help="time only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.cost:
        head = [
            "network",
            "extra parameters",
            "a training step, times the plain one",
            "folded differs by",
            "extra inference",
        ]
        print(table(head, [cost(arch) for arch in arguments.student or ("resnet20", "wrn_16_2", "vgg8")]))
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs((arguments.folder or Path(folder)) / arguments.scale, SCALES[arguments.scale])
        print(f"{asdict(runs.scale)}, teacher {TEACHER}")
        rows = []
        for arch in arguments.student or STUDENTS:
            plain, attended = sweep(runs, arch, arguments.sweep_seeds)
            rows.append(compare(runs, arch, plain, attended, arguments.seeds))
    print(f"\nthe best settings of each on {runs.scale.test} test images, {arguments.seeds} seeds, paired\n")
    print(table(["student", "KD", "%", "KD + VAM", "%", "difference, points [95 %]", "p (paired t)"], rows))


if __name__ == "__main__":
    main()
