"""A public benchmark of maps of what a student has from its teacher, on images where the truth is known.

The images are those of `kdlens.data.planted`; `kdlens bench planted` prints the table.
"""

from typing import Any

from kdlens.registry import Registry

METHODS: Registry[Any] = Registry(
    "benchmark method",
    {
        "gradcam": "kdlens.bench.methods:gradcam",
        "joint": "kdlens.bench.methods:joint",
        "joint-occlusion": "kdlens.bench.methods:joint_occlusion",
        "published": "kdlens.bench.methods:published",
    },
    group="kdlens.planted_methods",
)
"""Functions `method(case) -> maps (n, H, W)`, signed; `case` is a `kdlens.bench.cases.Case`."""
