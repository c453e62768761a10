"""Build the part of Fashion-MNIST that comes with the package.

    python scripts/build_fashion_subset.py FOLDER_WITH_THE_IDX_FILES

Draws 600 training and 200 test images of every class (seeded), without exact duplicates, lets the classes take turns,
and writes src/kdlens/data/assets/fashion.npz. The same files give the same bytes.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from kdlens.data.fashion import FashionMNIST

ASSETS = Path(__file__).parents[1] / "src" / "kdlens" / "data" / "assets"
PER_CLASS = {"train": 600, "test": 200}
SEED = 20170828  # the day the dataset was published


def draw(split: str, folder: Path, taken: set[bytes]) -> np.ndarray:
    """Draw images of a split that have not been taken, class by class in turns; `(n, 28, 28)` uint8."""
    data = FashionMNIST(folder, split, masks=False)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(SEED)).tolist()
    chosen: list[list[np.ndarray]] = [[] for _ in data.classes]
    for i in order:
        pixels, members = data.images[i, 0].numpy(), chosen[int(data.labels[i])]
        if len(members) < PER_CLASS[split] and pixels.tobytes() not in taken:
            taken.add(pixels.tobytes())
            members.append(pixels)
    return np.stack([members[k] for k in range(PER_CLASS[split]) for members in chosen])


def main() -> None:
    """Write the file."""
    folder, taken = Path(sys.argv[1]), set[bytes]()
    test = draw("test", folder, taken)  # first, so that no training image equals one of them
    train = draw("train", folder, taken)
    ASSETS.mkdir(exist_ok=True)
    np.savez_compressed(ASSETS / "fashion.npz", train=train, test=test)
    print(f"{len(train)} + {len(test)} images, {(ASSETS / 'fashion.npz').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
