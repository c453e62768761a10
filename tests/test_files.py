import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from safetensors import SafetensorError

from kdlens.errors import RunFolderError
from kdlens.files import explained, whole, write_atomically


def test_killed_while_writing_leaves_the_old_or_the_new_file(tmp_path):
    target = tmp_path / "file"
    write_atomically(target, b"a" * 1000)
    script = textwrap.dedent(f"""
        from pathlib import Path
        from kdlens.files import write_atomically
        import itertools
        for i in itertools.cycle("bc"):
            write_atomically(Path({str(target)!r}), i.encode() * 5_000_000)
            print(flush=True)
    """)
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    writer.stdout.readline()
    time.sleep(0.05)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    content = target.read_bytes()
    assert len(content) == 5_000_000
    assert len(set(content)) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def half():
        with whole(target) as fresh:
            fresh.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        half()
    assert os.listdir(tmp_path) == ["file"]
    assert target.read_bytes() == b"old"


def test_a_writer_that_replaces_the_file_does_not_make_it_private(tmp_path):
    (tmp_path / "usual").touch()
    with whole(tmp_path / "file") as fresh:
        fresh.unlink()
        os.close(os.open(fresh, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(RunFolderError, match=r"the disk is full while writing .*make room"), explained(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(RunFolderError, match=r"cannot write .*: No such file"), explained(tmp_path):
        write_atomically(tmp_path / "nowhere" / "file", b"")


def test_a_full_disk_is_told_whoever_meets_it(tmp_path):
    with pytest.raises(RunFolderError, match=r"the disk is full while writing"), explained(tmp_path / "a"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(ValueError, match="something else"), explained(tmp_path / "a"):
        raise ValueError("something else")
