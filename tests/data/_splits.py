"""Splits that worker processes of the tests can load."""

import os
import time

import numpy as np


class Numbers:
    """Example i is a picture full of i; as large a set as wanted, never in memory."""

    resident = False

    def __init__(self, count, *, dies_at=-1, fails_at=-1, slow=0.0, stalls_at=-1, while_there=""):
        self.count, self.dies_at, self.fails_at, self.slow = count, dies_at, fails_at, slow
        self.stalls_at, self.while_there = stalls_at, while_there

    def __len__(self):
        return self.count

    def read(self, indices):
        time.sleep(self.slow)
        while self.stalls_at in indices and os.path.exists(self.while_there):
            time.sleep(0.05)
        if self.dies_at in indices:
            os._exit(41)
        if self.fails_at in indices:
            raise RuntimeError("the disk is on fire")
        image = np.repeat(np.asarray(indices)[:, None], 4, 1).astype(np.int32)
        return {"image": image, "label": np.asarray(indices, np.int32) % 10}
