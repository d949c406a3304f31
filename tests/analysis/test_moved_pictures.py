"""What the pictures of moved images and of connections show."""

import numpy as np
import pytest

from cnnjax import analysis
from cnnjax.analysis import Equivariance, TurningPoints, as_matrix


def texts(figure):
    return [each.get_text() for each in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]


def test_a_table_of_errors_says_what_is_the_same_and_what_was_not_asked():
    error = np.array([[0.0, 0.1], [np.nan, 1.02]])
    found = Equivariance(("fine", "coarse"), ("down 1", "right 1"), error, np.ones((2, 2), int))
    told = texts(analysis.draw_equivariance(found, title="moved"))
    assert {"> 60", "10.0", "–", "-0.1", "fine", "coarse", "down 1", "moved"} <= set(told)


def test_turning_points_fall_from_one_to_what_never_turns():
    found = TurningPoints(10.0, np.array([[1.0, 2], [np.inf, 3], [np.inf, np.inf], [6, 4]]), np.zeros((4, 2), int))
    figure = analysis.draw_turning_points({"down": found})
    (line, middle) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [1, 0.75, 0.5, 0.25, 0.25])
    assert list(line.get_xdata()) == [0, 1, 3, 4, 10]
    assert middle.get_xdata()[0] == 3


def test_connections_are_lines_in_the_colour_of_their_weight():
    kernel = np.arange(1.0, 4)[:, None, None]
    weights, which = as_matrix(kernel, (7, 1), stride=2)
    axes = analysis.draw_connections(which).axes[0]
    assert len(axes.lines) == 9
    assert len({line.get_color() for line in axes.lines}) == 3
    assert [list(line.get_xdata()) for line in axes.lines[:3]] == [[-3, -2], [-2, -2], [-1, -2]], "over what it sees"
    assert len({line.get_color() for line in analysis.draw_connections(which >= 0).axes[0].lines}) == 1
    left, right = analysis.draw_matrix(weights, which).axes
    assert np.isnan(left.images[0].get_array().filled(np.nan)).sum() == 3 * 7 - 9
    assert (right.images[0].get_array() == 1).all(-1).sum() == 3 * 7 - 9
    with pytest.raises(ValueError, match=r"connected is \(3, 13\); up to 12 outputs and inputs can be drawn"):
        analysis.draw_connections(np.ones((3, 13), bool))
