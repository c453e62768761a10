"""What a file is that should hold weights and cannot be read: empty, cut short, a web page, another format."""

import re
import zipfile
from pathlib import Path

_TEXT = re.compile(rb"[\t\r\n -~]{16,}")


def what_is_wrong(path: Path) -> str:
    """Say what a file is that torch could not read, from its first bytes and, of a zip archive, its list of contents.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     path = Path(place) / "a.pt"
        ...     _ = path.write_text("<!DOCTYPE html><title>Not found</title>")
        ...     what_is_wrong(path)
        "it is a text that starts with '<!DOCTYPE html><title>Not found</title>'"
    """
    with path.open("rb") as stream:
        head = stream.read(64)
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is the pointer of Git LFS, not the file itself; run `git lfs pull`"
    if head.startswith(b"PK"):
        return _wrong_archive(path)
    if _TEXT.fullmatch(head):
        return f"it is a text that starts with {head.decode().splitlines()[0][:60]!r}"
    if head.startswith(b"\x80"):
        return "it is a pickle, but cut short or not written by torch.save"
    return f"it is neither safetensors nor written by torch.save; it starts with the bytes {head[:8].hex(' ')}"


def _wrong_archive(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        return "it is a zip archive without its end, so it was cut short"
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, ValueError, OSError):
        return "it is a zip archive whose list of contents is broken"
    if "constants.pkl" in names:
        return "it is a TorchScript program; open it with torch.jit.load where you trust it, and save its state_dict"
    if "data.pkl" not in names:
        return "it is a zip archive, but not one of torch.save"
    return "it is an archive of torch.save whose contents are broken"
