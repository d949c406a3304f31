"""A set on a disk that stalls while a file is there."""

import os
import time

import numpy as np

from cnnjax.annotations import Text
from cnnjax.data.source import Source, assemble


def stalling(*, flag: Text = "") -> Source:
    """Stripes of 8×8 that are streamed, and that nobody gets while the file `flag` is there."""
    return assemble(Disk(512, flag), (test := Disk(64, flag)), test, names=("down", "across"))


class Disk:
    """A split that is read slowly, or not at all."""

    resident = False

    def __init__(self, count, flag):
        self.count, self.flag = count, flag

    def __len__(self):
        return self.count

    def read(self, indices):
        time.sleep(0.005)
        while os.path.exists(self.flag):
            time.sleep(0.05)
        label = np.asarray(indices, np.int32) % 2
        shade = (np.arange(8) * 31 + np.asarray(indices)[:, None]).astype(np.uint8)
        image = np.where(label[:, None, None], shade[:, None, :], shade[:, :, None])
        return {"image": np.repeat(image[..., None], 3, -1), "label": label}
