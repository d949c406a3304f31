"""The benchmark of augmentation measures the same pipelines on all sides."""

import pytest

from cnnjax.config import ConfigError
from experiments.benchmarks import augment, augment_peer


def test_the_peers_do_what_is_measured_here():
    assert set(augment.OURS) == set(augment_peer.PIPELINES) == set(augment.GOALS)
    for name, steps in augment_peer.PIPELINES.items():
        here = [step for step in augment.OURS[name][0] if step not in augment.JITTER]
        assert here == [step for step in steps if step != "jitter"]
        assert ("jitter" in steps) == set(augment.JITTER).issubset(augment.OURS[name][0])


def test_one_measurement_gives_images_a_second():
    augment._main.read(augment.FLAGS, ["--seconds=0.05"])
    rate, per_core = augment.ours("flip@8", {})
    assert rate > 100
    assert per_core > 100


def test_missing_peers_are_named():
    with pytest.raises(
        ConfigError, match=r"--peers is 'nowhere/python', which is not there; --help says how to make it"
    ):
        augment.main(["--peers=nowhere/python"])
