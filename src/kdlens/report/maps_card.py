"""What a notebook shows of a UniCAM result: its first maps on one scale, and the numbers that give them weight."""

import html
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from kdlens.report.images import data_uri, laid_over, map_strength
from kdlens.report.numbers import number

if TYPE_CHECKING:
    from kdlens.questions.unicam.maps import UniCAM

MOST = 8
_SIDE = 112
_GROUND = 28


def maps_card(result: "UniCAM") -> str:
    """Up to eight signed maps side by side, warm where evidence is positive and cold where it is negative; no script.

    Args:
        result: of `kdlens.unicam`.
    """
    raw = result.raw[:MOST].detach().float().cpu().numpy()
    scale = result.scale or float(np.abs(raw).max(initial=0.0)) or 1.0
    pictures = "".join(
        f'<img src="{_picture(values, scale)}" width="{_SIDE}" height="{_SIDE}" alt="map of image {i}" '
        'style="margin:0 4px 4px 0;border-radius:4px">'
        for i, values in enumerate(raw)
    )
    more = f", the first {len(raw)} of {len(result.raw)}" if len(result.raw) > len(raw) else ""
    return (
        f'<div style="font-size:13px;line-height:1.5"><div>{html.escape(_numbers(result))}</div>'
        f'<div style="margin-top:6px">{pictures}</div>'
        f"<div>Signed maps{more}: warm is positive, blue is negative, {number(scale)} is full strength.</div></div>"
    )


def _numbers(result: "UniCAM") -> str:
    parts = [f"UniCAM, {result.protocol} protocol"]
    if result.layer:
        known = f"R* {number(result.relevance)} and unique fraction {number(result.unique_fraction)}"
        parts.append(f"{known} at {result.layer}")
    parts.append(f"{int(result.degenerate.sum())} of {len(result.degenerate)} maps without positive evidence")
    if result.band is not None:
        parts.append(f"null band {number(result.band.pixel)} ({result.band.source})")
    if result.depends_on_batch:
        parts.append("maps depend on the images beside them: give reference=")
    return "; ".join([*parts, *([result.reason] if result.reason else [])])


def _picture(values: np.ndarray, scale: float) -> str:
    """One map as a `data:` URI on a dark ground."""
    picture = np.full((*values.shape, 3), _GROUND, np.uint8)
    for negative in (False, True):
        picture = laid_over(picture, map_strength(values, scale, negative=negative), negative=negative)
    return data_uri(Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))
