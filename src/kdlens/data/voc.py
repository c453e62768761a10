"""PASCAL VOC 2012 (and 2007) as a classification dataset: the class of the largest object, and that object as mask.

Source: Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010.
"""

import os
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from kdlens.data.files import folder_of, inside, one_of, read_lines, shown
from kdlens.data.on_disk import IMAGENET_MEAN, IMAGENET_STD, OnDisk, box_mask, label_image
from kdlens.data.voc_xml import VocObject, read_objects
from kdlens.errors import DataError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = 255
_LAYOUT = """Expected VOC2012 (or VOCdevkit, or the folder it lies in) with:
  JPEGImages/2007_000027.jpg ...   Annotations/2007_000027.xml ...   ImageSets/Main/{train,val,trainval}.txt
and, for masks="segmentation", ImageSets/Segmentation/  SegmentationClass/*.png  SegmentationObject/*.png
Get it from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"""


class VOC(OnDisk):
    """VOC 2012: photographs labelled with the class of their largest object, 20 classes.

    The annotations of the test split were never published, so ask for `"val"`. Objects marked difficult count only
    where there is no other.

    Args:
        root: `VOC2012`, `VOCdevkit` or the folder either lies in.
        split: `"train"`, `"val"` or `"trainval"`; `"test"` for VOC 2007.
        masks: `"box"` of the object, all images; or its `"segmentation"`, for the fewer images that have one; or
            `"none"`.

    Raises:
        DataError: something is missing, damaged or leads out of the folder; the message shows the layout.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "val",
        *,
        masks: Literal["box", "segmentation", "none"] = "box",
    ) -> None:
        one_of(masks, ("box", "segmentation", "none"), "masks", "voc")
        folder = _located(folder_of(root, (), _LAYOUT, "voc"))
        lists = "ImageSets/Segmentation" if masks == "segmentation" else "ImageSets/Main"
        folder_of(folder, ("JPEGImages", "Annotations", lists), _LAYOUT, "voc")
        names = _names(folder / lists, split)
        self.folder, self.masks = folder, masks
        self.objects = [_largest(inside(folder / "Annotations", f"{name}.xml")) for name in names]
        self._names = names
        files = [inside(folder / "JPEGImages", f"{name}.jpg") for name in names]
        labels = [VOC_CLASSES.index(thing.name) for thing in self.objects]
        super().__init__(files, labels, VOC_CLASSES, name="voc", mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def mask(self, index: int, size: tuple[int, int]) -> Bool[Tensor, "h w"] | None:
        """The largest object, from its segmentation or its box."""
        if self.masks == "none":
            return None
        box = box_mask(self.objects[index].box, size)
        if self.masks == "box":
            return box
        name = f"{self._names[index]}.png"
        of_class = label_image(inside(self.folder / "SegmentationClass", name), size) == int(self.labels[index]) + 1
        instances = label_image(inside(self.folder / "SegmentationObject", name), size)
        return _best_instance(torch.where(of_class, instances, 0), box)


def _best_instance(instances: Tensor, box: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """The instance that overlaps the box best; nothing where the class was not segmented."""
    best, most = torch.zeros_like(box), 0.0
    for number in instances.unique().tolist():
        if number not in (0, VOID):
            mask = instances == number
            overlap = float((mask & box).sum() / (mask | box).sum())
            best, most = (mask, overlap) if overlap > most else (best, most)
    return best


def _located(folder: Path) -> Path:
    for inner in ("", "VOC2012", "VOCdevkit/VOC2012", "VOC2007", "VOCdevkit/VOC2007"):
        if (folder / inner / "JPEGImages").is_dir():
            return folder / inner
    raise DataError(f"voc: {shown(folder)} holds no JPEGImages.\n{_LAYOUT}")


def _names(lists: Path, split: str) -> list[str]:
    found = sorted(path.stem for path in lists.glob("*.txt") if "_" not in path.stem)  # cat_train.txt is one class
    if split not in found:
        why = "; the annotations of the test split are not public" if split == "test" else ""
        raise DataError(f'voc has no split "{split}"{why}; choose from {", ".join(found)}')
    return [line.split()[0] for line in read_lines(lists / f"{split}.txt")]


def _largest(path: Path) -> VocObject:
    objects = read_objects(path)
    for thing in objects:
        if thing.name not in VOC_CLASSES:
            raise DataError(f'{shown(path)} names the class "{thing.name}", which VOC does not have')
    if not objects:
        raise DataError(f"{shown(path)} names no object")
    return max(objects, key=lambda thing: (not thing.difficult, thing.area))
