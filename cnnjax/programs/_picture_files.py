"""The picture files, the videos and the recordings that a command names."""

import difflib
from pathlib import Path

from cnnjax.config import ConfigError


def files_of(paths: list[str]) -> list[Path]:
    """The picture files that paths name, those in folders by name; of sound where there are none."""
    from cnnjax.data import ENDINGS, SOUND

    if not paths:
        raise ConfigError("no files are named; give files or folders, --images=photos")
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], 3)
            hint = f"; nearest: {', '.join(str(path.parent / name) for name in near)}" if near else ""
            raise ConfigError(f"--images has {str(path)!r}; there is no such file or folder{hint}")
        inside = _inside(path, ENDINGS) or _inside(path, SOUND)
        if path.is_dir() and not inside:
            raise ConfigError(f"--images has {str(path)!r}, a folder without {', '.join((*ENDINGS, SOUND[0]))} files")
        files += inside if path.is_dir() else [path]
    return list(dict.fromkeys(files))


def sounds_of(paths: list[str]) -> list[Path]:
    """The files that paths name, and all recordings that lie in folders."""
    from cnnjax.data import SOUND

    found = [each for path in map(Path, paths) for each in (_inside(path, SOUND) if path.is_dir() else [path])]
    if not found:
        raise ConfigError(f"no recordings in {', '.join(paths)}; give {SOUND[0]} files")
    return list(dict.fromkeys(found))


def _inside(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in endings and path.is_file())


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
