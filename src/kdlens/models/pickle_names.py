"""What a pickle would import if it were opened: read off its opcodes, without running any of them."""

import contextlib
import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MOST = 1 << 26
"""Bytes looked at; the names stand before the numbers."""

_PLAIN = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild\w+"
    r"|torch\.(storage\.)?\w*Storage|torch\.nn\.parameter\.\w+|torch\.serialization\._get_layout"
    r"|builtins\.set|__torch__\..*|torch\.(Tensor|Size|device|dtype|bool|(b?float|u?int|complex|q|qu?int)\d*\w*)"
)
"""What state dicts are made of, which torch opens without running code, and the classes of TorchScript."""


def foreign_names(path: Path) -> list[str]:
    """Names that a file of torch.save or pickle.dump would import beside what a state dict needs.

    Files of any format and in any state may be given; those that are no pickles name nothing.

    Example:
        >>> import pickle, tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     path = Path(place) / "a.pt"
        ...     _ = path.write_bytes(pickle.dumps({"run": exec, "epochs": 3}))
        ...     foreign_names(path)
        ['builtins.exec']
    """
    found: dict[str, None] = {}
    with contextlib.suppress(Exception):  # a damaged file; the names before the damage are known
        for pickled in _pickles(path):
            for spelled in _imports(pickled):
                name = spelled.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.")  # of Python 2
                if not _PLAIN.fullmatch(name) and all(part.isidentifier() for part in name.split(".")):
                    found[name] = None
    return list(found)


def _pickles(path: Path) -> Iterator[io.BytesIO]:
    """The pickles in a file: in a zip archive by name, else one after the other, as the old format has them."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as stream:
                        yield io.BytesIO(stream.read(_MOST))
        return
    with path.open("rb") as stream:
        content = io.BytesIO(stream.read(_MOST))
    while content.read(1):
        content.seek(-1, io.SEEK_CUR)
        yield content  # read up to the end of one pickle


def _imports(pickled: io.BytesIO) -> Iterator[str]:
    """Names that one pickle imports; from protocol 4 on they are strings among those put on the stack or kept."""
    strings: list[str] = []
    kept: dict[Any, str] = {}
    top = ""  # the string on top of the stack, if it is one
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif opcode.name == "MEMOIZE":
            kept[len(kept)] = top
        elif opcode.name.endswith("PUT"):
            kept[argument] = top
        else:
            get = opcode.name.endswith("GET")
            top = kept.get(argument, "") if get else argument if isinstance(argument, str) else ""
            if top:
                strings.append(top)
