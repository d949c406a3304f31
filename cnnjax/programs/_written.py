"""A file of predictions, which takes the place of an older one when it is whole."""

from pathlib import Path

from cnnjax.fields import Facts
from cnnjax.programs._asking import Said


class Written:
    """A file that grows by one picture after the other; `close` puts it in its place, `drop` throws it away."""

    def __init__(self, path: str, facts: Facts, top: int):
        self.path, self.facts, self.top, self.count = Path(path), facts, top, 0
        self.what = {"image": "image", "tokens": "text"}.get(facts.input, "file")  # the column that names the examples
        self.partial = self.path.with_name(f"{self.path.name}.partial")

    def add(self, said: Said) -> None:
        """Takes what was said of one picture, or why it could not be read."""
        self._add(said)
        self.count += 1

    def close(self) -> None:
        """Puts the whole file in its place."""
        self._close()
        self.partial.replace(self.path)

    def drop(self) -> None:
        """Leaves nothing half-written behind."""
        self.partial.unlink(missing_ok=True)
