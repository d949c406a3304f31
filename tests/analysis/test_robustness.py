"""Errors by kind and severity of corruptions whose harm is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis import corruption_robustness

X = np.concatenate([np.full((6, 4, 4, 1), 0.2), np.full((4, 4, 4, 1), 0.9)]).astype(np.float32)
LABELS = np.array([0] * 6 + [1] * 4)


def bright(x):
    """Class 1 above a half."""
    level = x.mean((1, 2, 3))
    return jnp.stack([0.5 - level, level - 0.5], -1)


def test_errors_are_those_of_each_kind_at_each_severity():
    kinds = {
        "darker": lambda key, images, severity: images - 0.25 * severity,
        "nothing": lambda key, images, severity: images,
    }
    labels = LABELS.copy()
    labels[0] = 1  # a wrong answer to begin with
    found = corruption_robustness(jax.random.key(0), bright, X, labels, kinds, severities=3)
    assert found.kinds == ("darker", "nothing")
    np.testing.assert_allclose(found.errors, [[0.1, 0.5, 0.5], [0.1, 0.1, 0.1]])
    assert found.clean == pytest.approx(0.1)
    assert found.mean == pytest.approx(1.4 / 6)
    np.testing.assert_allclose(found.relative, [11 / 3, 1], rtol=1e-5)
    with pytest.raises(ValueError, match="corruptions is empty"):
        corruption_robustness(jax.random.key(0), bright, X, labels, {})
