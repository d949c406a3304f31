"""The picture files that a command names."""

import difflib
from pathlib import Path

from cnnjax.config import ConfigError


def files_of(paths: list[str]) -> list[Path]:
    """The picture files that paths name, those in folders in the order of their names."""
    from cnnjax.data import ENDINGS

    if not paths:
        raise ConfigError("no pictures are named; give files or folders, --images=photos")
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], 3)
            hint = f"; nearest: {', '.join(str(path.parent / name) for name in near)}" if near else ""
            raise ConfigError(f"--images has {str(path)!r}; there is no such file or folder{hint}")
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        if path.is_dir() and not inside:
            raise ConfigError(f"--images has {str(path)!r}, a folder without {', '.join(ENDINGS)} files")
        files += inside if path.is_dir() else [path]
    return list(dict.fromkeys(files))
