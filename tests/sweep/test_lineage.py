"""The numbers that a population's weights were trained with."""

from cnnjax.sweep.lineage import described, lineages


def test_what_came_before_a_copy_is_the_path_of_the_one_that_was_copied():
    points = {
        name: {"optimizer.lr": lr, "seed": k} for k, (name, lr) in enumerate({"a": 0.1, "b": 0.2, "c": 3}.items())
    }

    def copied(step, source, lr):
        return {"step": step, "kind": "event", "name": "copied", "source": source, "optimizer.lr": lr}

    lines = {
        "a": [{"step": 8, "kind": "eval", "optimizer.lr": 7.0}],
        "b": [copied(8, "a", 0.08), copied(16, "c", 0.06)],
        "c": [copied(8, "b", 0.25)],  # b as it was before it became a copy itself
    }
    paths = lineages(points, lines)
    assert paths["c"] == [(0, {"optimizer.lr": 0.2}), (8, {"optimizer.lr": 0.25})]
    assert described(paths["b"]) == "0.2 → 0.25 (8) → 0.06 (16)"
    assert "a" not in paths


def test_several_numbers_are_told_by_name():
    path = [(0, {"optimizer.lr": 0.1, "optimizer.decay": 1e-4}), (5, {"optimizer.lr": 0.2, "optimizer.decay": 3e-4})]
    assert described(path) == "lr 0.1 → 0.2 (5); decay 0.0001 → 0.0003 (5)"
