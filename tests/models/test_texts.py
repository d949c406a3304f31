"""Kim's net: what it makes of a text, by NumPy; how far a text is filled up changes nothing; norms stay bounded."""

import jax
import numpy as np
import pytest

from cnnjax.fields import Facts
from cnnjax.models import textcnn
from tests.models.variants import built, filled, quickly

OPTIONS = {"outputs": 3, "windows": (3, 2), "width": 4, "size": 5}


def applied(variables, x, **options):
    net = built("textcnn", (12,), **{**OPTIONS, **options})
    return np.asarray(quickly(net.apply, variables, x)(variables, x))


def by_hand(params, x, most):
    """The same in NumPy, window by window."""
    answers = []
    for text in x:
        vectors = np.where(text[:, None] > 0, params["words"]["vectors"][text], 0)
        found = []
        for window in (3, 2):
            layer = params[f"window{window}"]
            wide = np.pad(vectors, ((window - 1, window - 1), (0, 0)))
            heard = [
                np.tensordot(wide[at : at + window], layer["kernel"], 2) + layer["bias"]
                for at in range(np.flatnonzero(text).max() + window)
            ]
            found.append(np.maximum(heard, 0).max(0))
        kernel = params["head"]["kernel"]
        norms = np.linalg.norm(kernel, axis=0)
        kernel = kernel * np.minimum(1, most / norms if most else 1)
        answers.append(np.concatenate(found) @ kernel + params["head"]["bias"])
    return np.array(answers)


@pytest.mark.parametrize("most", [0.0, 0.5, 100.0])
def test_the_net_is_what_kim_writes_down(most):
    variables = filled(built("textcnn", (12,), **OPTIONS), (7,))
    x = np.array([[3, 4, 5, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7], [9, 0, 0, 0, 0, 0, 0]], np.int32)
    found = applied(variables, x, max_norm=most)
    np.testing.assert_allclose(found, by_hand(variables["params"], x, most), rtol=1e-5, atol=1e-5)
    longer = applied(variables, np.pad(x, ((0, 0), (0, 5))), max_norm=most)
    np.testing.assert_allclose(found, longer, rtol=1e-5, atol=1e-5)


def test_no_step_takes_the_weights_of_an_output_beyond_the_greatest_norm():
    variables = filled(built("textcnn", (12,), **OPTIONS), (7,))
    variables["params"]["head"]["kernel"] *= 50
    x = np.array([[3, 4, 5, 6, 7, 8, 9]], np.int32)
    net = built("textcnn", (12,), **OPTIONS, max_norm=3.0)
    grow = quickly(jax.grad(lambda v: net.apply(v, x).sum()), variables)(variables)["params"]["head"]["kernel"]
    kernel = variables["params"]["head"]["kernel"]
    assert np.abs((kernel * grow).sum(0)).max() < 1e-5  # along the weights there is no slope
    pooled = applied(variables, x, outputs=0)
    answer = applied(variables, x, max_norm=3.0) - variables["params"]["head"]["bias"]
    assert (np.abs(answer) <= 3.0 * np.linalg.norm(pooled) * (1 + 1e-6)).all()


def test_data_without_words_are_refused():
    for facts in (Facts("image", (8, 8, 3)), Facts("tokens", (8,))):
        with pytest.raises(ValueError, match="textcnn reads tokens whose words are known; the data are"):
            textcnn(facts, outputs=2)
    assert built("textcnn", (12,)).words == 20
