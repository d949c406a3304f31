"""The picture files, and the videos, that a command names."""

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


def films_of(paths: list[str]) -> list[Path]:
    """The videos that paths name: files, folders of frames, and all of both that lie in other folders.

    A folder's own pictures are frames, unless the first of them is an animation, and so each a video.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        found += _films_in(path) if path.is_dir() else [path]
    if not found:
        raise ConfigError(f"no videos in {', '.join(paths)}; a video is a folder of numbered pictures, a GIF or a WebP")
    return list(dict.fromkeys(found))


def _films_in(folder: Path) -> list[Path]:
    from cnnjax.data import ANIMATED
    from cnnjax.data.filmed import pictures_in

    names = pictures_in(folder)
    if names and not (names[0].lower().endswith(ANIMATED) and _moves(folder / names[0])):
        return [folder]
    inside = sorted(path for path in folder.iterdir() if path.is_dir() or path.name in names)
    return [film for path in inside for film in (_films_in(path) if path.is_dir() else [path])]


def _moves(path: Path) -> bool:
    """Whether a file has several frames; one that can't be read may have."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # whatever a decoder stumbles over in a damaged file: its reader will say so by name
        return True
