"""Network dissection beside NetDissect-Lite: the tally, the thresholds, several networks at once, and memory."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import kdlens
from benchmarks.measure import Measured, measure, table, write
from benchmarks.netdissect import Cells, Lite, plain_tally
from benchmarks.unicam import network
from kdlens.data.concepts import Annotation, Broden, ConceptData, Vocabulary, load_concepts, write_broden
from kdlens.models.taps import record
from kdlens.questions.dissection.concepts import best_labels
from kdlens.questions.dissection.passes import Passes
from kdlens.questions.dissection.plan import Plan
from kdlens.questions.dissection.thresholds import TopValues

CATEGORIES, SIDE = 6, 112
PARTS = ("label", "truth", "activation", "intersect", "iou")
BARE = Plan(category_rule="netdissect-lite", min_images=0, shuffles=0, groups=2, examples=0)
"""What NetDissect-Lite does, and no more."""

JOBS = ("one_network", "three_networks")
FOLDERS: dict[str, Callable[[], ConceptData]] = {
    "folder of 160 scenes, 32 x 32": lambda: load_concepts("fashion-scenes", count=160),
    "folder of 80 images, 224 x 224, masks 112 x 112": lambda: Drawn(80),
}


class Drawn:
    """Images with masks in six categories, like Broden's: one of full cover, the others with holes."""

    name, mean, std = "drawn", None, None

    def __init__(self, images: int) -> None:
        self.images = images
        names = {f"category {c}": [f"label {c}-{i}" for i in range(60)] for c in range(CATEGORIES)}
        self.vocabulary = Vocabulary.of(names)

    def __len__(self) -> int:
        return self.images

    def image(self, index: int) -> Tensor:
        """Every label has a colour of its own, and shines through the others; a little noise lies over all."""
        palette = torch.rand(1 + 60 * CATEGORIES, 3, generator=torch.Generator().manual_seed(-1))
        seen = palette[self.annotation(index).pixels[:3].long()].mean(0).permute(2, 0, 1)
        large = seen.repeat_interleave(2, 1).repeat_interleave(2, 2)
        return (large + 0.05 * torch.randn(large.shape, generator=torch.Generator().manual_seed(index))).clamp(0, 1)

    def annotation(self, index: int) -> Annotation:
        draw = torch.Generator().manual_seed(index)
        coarse = torch.randint(0, 4, (CATEGORIES, 9, 9), generator=draw).float()[:, None]
        blobs = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear").round().long()[:, 0]
        labels = torch.randint(1, 61, (CATEGORIES, 4), generator=draw) + 60 * torch.arange(CATEGORIES)[:, None]
        labels[1:, 0] = 0
        return Annotation(labels.gather(1, blobs.flatten(1)).view(blobs.shape).int(), (61 + index % 30,))

    def fingerprint(self) -> str:
        return self.name


class Given:
    """Annotated images whose activations are known: an image is what the units give for it."""

    def __init__(self, data: Broden, features: np.ndarray) -> None:
        self.data, self.features = data, features
        self.name, self.vocabulary, self.mean, self.std = data.name, data.vocabulary, None, None
        self.read = [data.annotation(index) for index in range(len(data))]

    def __len__(self) -> int:
        return len(self.features)

    def image(self, index: int) -> Tensor:
        return torch.from_numpy(self.features[index].astype(np.float32))

    def annotation(self, index: int) -> Annotation:
        return self.read[index]

    def fingerprint(self) -> str:
        return self.name


def folder() -> Path:
    return Path(os.environ["BENCHMARK_FOLDER"])


def prepare(units: int, count: int) -> None:
    """Write masks, the last stage of a ResNet as NetDissect-Lite stores it, and thresholds."""
    write_broden(Drawn(count), folder() / "broden", first_label=300)
    os.environ["BENCHMARK_ARCH"] = {512: "resnet18", 2048: "resnet50"}[units]
    model = network(0)
    images = [(Broden(folder() / "broden").image(index) - 0.45) / 0.225 for index in range(count)]
    maps = torch.cat([record(model, image[None], ["layer4"])[1]["layer4"] for image in images])
    np.save(folder() / "features.npy", maps.double().numpy())
    top = TopValues(maps.numel() // units)
    top.update(maps)
    np.save(folder() / "thresholds.npy", top.thresholds().numpy())


def stored() -> tuple[np.ndarray, np.ndarray, Broden]:
    features = np.load(folder() / "features.npy", mmap_mode="r")
    return features, np.load(folder() / "thresholds.npy"), Broden(folder() / "broden")


def as_they_are(images: Tensor) -> dict[str, Tensor]:
    return {"layer": images}


def packed(cells: Cells) -> Tensor:
    return torch.stack([torch.from_numpy(cells[part].astype(np.float64)) for part in PARTS])


def our_tally() -> Callable[[], Tensor]:
    features, _, data = stored()
    passes = Passes({"net": as_they_are}, Given(data, features), BARE)
    passes.find_thresholds()

    def run() -> Tensor:
        passes.count()
        total = passes.found["net", "layer"][0].tally.total()
        best = best_labels(total.iou("netdissect-lite")[0], data.vocabulary)
        rows, labels = torch.arange(total.units), best.labels
        sums = (
            total.labels.truth[0, labels],
            total.activation("netdissect-lite")[0, rows, labels],
            total.both[0, rows, labels],
        )
        return torch.stack([labels.T.double(), *(one.T.double() for one in sums), best.ious.T])

    return run


def plain() -> Callable[[], Tensor]:
    features, thresholds, data = stored()
    return lambda: packed(plain_tally(features, thresholds, data))


def lite() -> Callable[[], Tensor]:
    features, thresholds, _ = stored()
    operator = Lite(Path(os.environ["BENCHMARK_PEER"]), folder() / "broden", folder() / "peer")
    return lambda: packed(operator.tally(features, thresholds))


def our_thresholds() -> Callable[[], Tensor]:
    features, _, _ = stored()

    def run() -> Tensor:
        top = TopValues(features.size // features.shape[1])
        for start in range(0, len(features), 64):
            top.update(torch.from_numpy(features[start : start + 64].astype(np.float32)))
        return top.thresholds()

    return run


def lite_thresholds() -> Callable[[], Tensor]:
    features, _, _ = stored()
    operator = Lite(Path(os.environ["BENCHMARK_PEER"]), folder() / "broden", folder() / "peer")
    return lambda: torch.from_numpy(operator.thresholds(features))


def networks(count: int) -> Callable[[], Tensor]:
    """Dissect some small networks in the same passes, with everything `dissect` does by default."""
    kind = os.environ.get("BENCHMARK_KIND", "drawn in memory")
    images = int(os.environ.get("BENCHMARK_IMAGES", "320"))
    concepts = Broden(folder() / kind) if kind in FOLDERS else load_concepts("fashion-scenes", count=images)
    models = {f"net {i}": kdlens.load_model("zoo:resnet8", classes=10) for i in range(count)}
    return lambda: torch.tensor(len(kdlens.dissect(models, concepts, layers=["layer2", "layer3"], size=32)))


def one_network() -> Callable[[], Tensor]:
    return networks(1)


def three_networks() -> Callable[[], Tensor]:
    return networks(3)


def several() -> Iterator[list[str]]:
    """What three networks cost together, against one: images and masks in memory, and in folders of Broden's format."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["BENCHMARK_FOLDER"] = place
        for kind, make in FOLDERS.items():
            write_broden(make(), folder() / kind)
        for kind in ("drawn in memory", *FOLDERS):
            pairs = []
            for _ in range(2):  # in turns, so that other programs disturb both alike
                options = {"BENCHMARK_KIND": kind}
                both = (measure(f"benchmarks.dissection:{job}", repeats=2, options=options) for job in JOBS)
                pairs.append([one.cpu_seconds for one in both])
            one, three = (min(seconds) for seconds in zip(*pairs, strict=True))
            yield [kind, f"{one:.2f} s", f"{three:.2f} s", f"{three / one:.2f}x", f"{(three - one) / 2 / one:.0%}"]


def compared(name: str, found: Measured, base: Measured) -> list[str]:
    ratio = base.cpu_seconds / found.cpu_seconds
    wrong = (found.result[:4] != base.result[:4]).any(0).sum() if found.result.ndim == 3 else torch.tensor(0)
    off = (found.result[4] - base.result[4]).abs().max() if found.result.ndim == 3 else torch.tensor(0.0)
    cells = found.result[0].numel()
    return [name, f"{found.cpu_seconds:.2f} s", f"{ratio:.1f}x", f"{int(wrong)} of {cells:,}", f"{float(off):.0e}"]


def tallies(units: int, images: int, peer: Path | None, repeats: int) -> Iterator[list[str]]:
    """Time the tallies of one size."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["BENCHMARK_FOLDER"] = place
        prepare(units, images)
        jobs = {"kdlens": "our_tally", "NetDissect-Lite's tally, written plainly": "plain"}
        if peer is not None:
            os.environ["BENCHMARK_PEER"] = str(peer.resolve())
            jobs["NetDissect-Lite"] = "lite"
        found = {name: measure(f"benchmarks.dissection:{job}", repeats=repeats) for name, job in jobs.items()}
        base = found[list(found)[-1]]
        for name, measured in found.items():
            yield [f"{units:,} units, {images} images", *compared(name, measured, base)]
        if peer is not None:
            pair = [
                measure(f"benchmarks.dissection:{job}", repeats=repeats)
                for job in ("our_thresholds", "lite_thresholds")
            ]
            times = pair[1].cpu_seconds / pair[0].cpu_seconds
            yield [
                f"{units:,} units, thresholds",
                "kdlens",
                f"{pair[0].cpu_seconds:.2f} s",
                f"{times:.1f}x",
                "exact",
                "",
            ]
        write(JSON, f"tally {units}", {"times": base.cpu_seconds / found["kdlens"].cpu_seconds})


JSON: Path | None = None


def main() -> None:
    global JSON
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, help="a clone of NetDissect-Lite")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    JSON = arguments.json
    rows = [row for size in ((512, 200), (2048, 100)) for row in tallies(*size, arguments.peer, arguments.repeats)]
    print(table(["", "", "CPU", "less CPU by", "cells that differ", "IoU differs by"], rows))
    head = ["Small networks", "one", "three", "three cost", "of one's cost is its own"]
    print("\n" + table(head, list(several())))
    one = measure("benchmarks.dissection:one_network", repeats=1)
    more = measure("benchmarks.dissection:one_network", repeats=1, options={"BENCHMARK_IMAGES": "1280"})
    print(f"Memory added: {one.added_mb:.0f} MB for 320 images, {more.added_mb:.0f} MB for 1,280.")


if __name__ == "__main__":
    main()
