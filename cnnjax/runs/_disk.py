"""Files that are on the disk before something else is taken from it."""

import errno
import os
import shutil
from pathlib import Path

_NOT_HERE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


def sync(path: Path) -> None:
    """Returns once the content of a file, or the names in a directory, would outlive a loss of power."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NOT_HERE:  # file systems that are no disk's know no such thing of directories
            raise
    finally:
        os.close(file)


def sync_tree(directory: Path) -> None:
    """Returns once all that is below a directory would."""
    for path, _, names in directory.walk(top_down=False):
        for name in names:
            sync(path / name)
        sync(path)


def remove(path: Path) -> None:
    """Removes a directory with all that is in it, or a file."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def reason(error: BaseException) -> str:
    """The operating system's words, where they are anywhere in the error; else its first line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error) or type(error).__name__
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO):
        words = os.strerror(code)
        if words in text:
            return words
    return text.splitlines()[0][:200]
