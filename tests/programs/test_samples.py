"""What a page shows of a net that makes pictures of nothing but noise."""

import numpy as np

from cnnjax.programs import _page_parts
from cnnjax.train.examples import Examined

SAID = Examined({}, {}, dict.fromkeys(("index", "loss", "weight"), np.zeros(8)))


class Maker:
    """What is asked of a run: a split of eight pictures, and predictions."""

    def __init__(self, predict):
        self.predict = predict
        self.facts, self.source, self.test = self, self, self
        self.input = "image"

    def __len__(self):
        return 8

    def read(self, rows):
        return {"image": np.random.default_rng(0).integers(0, 255, (len(rows), 6, 6, 1), np.uint8)}


def test_pictures_that_do_not_hang_on_what_was_read_are_samples_beside_as_many_of_the_data():
    noise = np.random.default_rng(1).random((8, 6, 6, 1))
    part = _page_parts.drawn_from_noise(Maker(lambda images, batch: {"image": noise}), "test", SAID)
    assert part.title == "samples"
    assert [picture.caption.split()[0] for picture in part.blocks] == ["8", "as"]
    more = Examined({}, {}, {**SAID.rows, "truth": np.zeros(8)})
    assert _page_parts.drawn_from_noise(Maker(lambda images, batch: {"image": noise}), "test", more) is None
    again = Maker(lambda images, batch: {"image": images / 255})  # an autoencoder: pairs of pictures say more
    assert _page_parts.drawn_from_noise(again, "test", SAID) is None
    assert _page_parts.drawn_from_noise(Maker(lambda images, batch: {"label": np.zeros(8)}), "test", SAID) is None
