"""Charts that no part of an analysis draws: of a training's way, and of what lies between two nets."""

import numpy as np

from cnnjax.analysis import Interpolation, Landscape, Trajectory, draw_interpolation, draw_landscape


def test_the_way_of_a_training_lies_in_the_plane_and_a_barrier_is_named(tmp_path):
    places = np.linspace(-4, 4, 9)
    bowl = Landscape(places, places[:, None] ** 2 + 10 * places**2 + 0.1)
    way = Trajectory(np.array([[-3.0, 2.0], [-1.0, 1.5], [-0.3, 0.4], [0.0, 0.0]]), ({}, {}), np.array([0.8, 0.15]))
    figure = draw_landscape(bowl, way=way)
    axes = figure.axes[0]
    assert "80%" in axes.get_xlabel()
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), way.places)
    shares = np.linspace(-0.25, 1.25, 13)
    between = draw_interpolation(Interpolation(shares, 0.2 + np.sin(np.pi * shares) ** 2 + shares / 4, 1.0))
    assert "barrier 1" in between.axes[0].get_title(loc="left")
    for number, each in enumerate((figure, between)):
        each.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 10_000
