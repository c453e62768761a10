"""Find the stages of a network from the call tree of one forward pass, for any kind of network.

1. The tree is opened from the top: a module is opened when its parts work at three or more map sizes (it holds stages),
   and kept whole otherwise (it is a stage, a block or a layer). The result is a line of units.
2. Units of one map size are a stage. Its last unit stands for it; a block is preferred to a single layer, because heads
   and stems at the same size are single layers.
3. A network with one stage (ViT, mixers) is read by its blocks instead.
"""

from collections.abc import Iterator, Sequence

from kdlens.models.grids import Size, covers, token_grids
from kdlens.models.trace import Call, weighted

SPREAD = 4
"""Blocks chosen of a network with one stage."""


def stages(root: Call, image: Size) -> list[str]:
    """Return the names of the layers that stand for the stages, first to last."""
    return [_name(call, root) for call in _chosen(root, image)]


def _chosen(root: Call, image: Size) -> list[Call]:
    for few in (3, 2):
        found = _representatives(_line(root, image, few), image)
        if len(found) >= 2:
            return found
    blocks = _blocks(root, image)
    if len(blocks) >= 2:
        return _spread(blocks, SPREAD)
    return found or _representatives(_line(root, image, 1), image)


def map_size(call: Call, image: Size) -> Size | None:
    """Rows and columns of what `call` gives, be it a map or tokens; None if it is neither or only one cell."""
    shape = call.shape
    size: Size | None = None
    if len(shape) == 4 and shape[0] == 1:
        rows_columns = [shape[2:], shape[1:3]]  # channels first, channels last
        size = next(((a, b) for a, b in rows_columns if covers((a, b), image)), None)
    elif len(shape) == 3 and shape[0] == 1:
        grids = token_grids(shape[1], image)
        size = (grids[0].height, grids[0].width) if len(grids) == 1 else None
    return size if size is not None and size[0] * size[1] > 1 else None


def _line(root: Call, image: Size, few: int) -> list[Call]:
    return [unit for child in root.children for unit in _units(child, image, few)] or [root]


def _units(call: Call, image: Size, few: int) -> Iterator[Call]:
    sizes = {size for child in call.children if (size := map_size(child, image)) is not None}
    if len(sizes) >= few or (sizes and map_size(call, image) is None):
        for child in call.children:
            yield from _units(child, image, few)
    else:
        yield call


def _representatives(units: Sequence[Call], image: Size) -> list[Call]:
    """The last block of every map size that something is learned at, in order of appearance."""
    by_size: dict[Size, list[Call]] = {}
    for unit in units:
        size = map_size(unit, image)
        if size is not None:
            by_size.setdefault(size, []).append(unit)
    chosen = [_last(group) for group in by_size.values() if any(map(weighted, group))]
    holders = [call for call in chosen if call.children]
    return holders if len(holders) >= 2 else chosen  # beside blocks, a single convolution is a stem


def _last(group: Sequence[Call]) -> Call:
    blocks = [unit for unit in group if weighted(unit) >= 2]
    holders = [unit for unit in group if unit.children and weighted(unit)]
    return (blocks or holders or group)[-1]


def _blocks(root: Call, image: Size) -> list[Call]:
    """The longest row of like modules with like outputs: the blocks of a network of one map size."""
    rows: list[list[Call]] = []
    for call in root.walk():
        like: dict[object, list[Call]] = {}
        for child in call.children:
            if weighted(child) >= 2 and map_size(child, image) is not None:
                like.setdefault((type(child.module), child.shape), []).append(child)
        rows.extend(like.values())
    return max(rows, key=len, default=[])


def _spread(blocks: Sequence[Call], most: int) -> list[Call]:
    count = min(most, len(blocks))
    return [blocks[(k + 1) * len(blocks) // count - 1] for k in range(count)]


def _name(call: Call, root: Call) -> str:
    re_used = sum(other.module is call.module for other in root.walk()) > 1
    return f"{call.name}#{call.index}" if re_used else call.name
