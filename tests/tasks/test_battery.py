"""What every task of the room must do, whatever it predicts: a new one is found here without a line.

A task is tried on made data with nets of all kinds until one fits, then with the repository's configs that name it.
"""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnjax.config import augmentation, change, entries, experiment, load, section
from cnnjax.runs.tables import numbers_and_tables
from cnnjax.train.job import prepare
from cnnjax.train.step import bind, eval_step
from tests.conftest import ROOT

HERE = "tests.tasks.shapes_of_task"
DATA = ("things", "sentences", "sounds", "waves", "clips")
NETS = (
    "at_places",
    "turned_at_places",
    "in_one_box",
    "vector",
    "dense",
    "words",
    "causal",
    "stages",
    "frames",
    "cascade",
    "autoencoder",
)
LABELS = {"label", "target", "segments", "instances", "boxes", "classes", "present", "corners", "heights", "points"}
WORDS = LABELS | {"visible", "image", "video", "series", "tokens"} | {"probabilities", "scores", "masks"}
ROWS = {"boxes", "corners", "heights", "classes", "present"}  # one for each thing
QUIET = {"report.quiet": True, "report.tensorboard": False, "report.curves": False}


def configs(name):
    """Configs on which the task may be tried: on made data, then those that name it."""
    for data in DATA:
        for net in NETS:
            yield lambda data=data, net=net: experiment(
                data=section("data", f"{HERE}:{data}", train=24),
                model=section("models", f"{HERE}:{net}"),
                task=section("tasks", name),
                augment=augmentation(train=("normalize",), eval=("normalize",) if data != "sentences" else ()),
                optimizer=section("optimizers", "adam", lr=1e-2),
                schedule=section("schedules", "constant"),
            )
    for path in sorted((ROOT / "configs").glob("*.py")):
        if f'section("tasks", "{name}"' in path.read_text():
            yield lambda path=path: load(str(path))


# overlaps of polygons, two nets, a box as in detection, passes within passes: all slow to compile
SLOW = {"detection_3d", "distillation", "localization", "adversarial"}
TASKS = [pytest.param(name, marks=pytest.mark.proofs) if name in SLOW else name for name in sorted(entries("tasks"))]


@pytest.fixture(scope="module", params=TASKS)
def run(request):
    """A task's prepared run before and after three steps, and a function of a state and of pictures without labels."""
    for make in configs(request.param):
        with contextlib.suppress(ValueError, TypeError, LookupError):  # another kind of data or of net
            made = change(make(), {"train.steps": 3, "train.batch": 8, "train.devices": 1, "eval.batch": 5, **QUIET})
            prepared = prepare(made)
            prepared.outline()
            start = prepared.layout.replicate(prepared.start())
            break
    else:
        pytest.fail(f"no net of {NETS} and no config fits task {request.param} on made data")
    state, split = jax.tree.map(jnp.copy, start), prepared.source.train
    with prepared.batches(split) as stream:
        for step in range(3):
            batches = prepared.layout.share(stream.batches(step, 1), 2)
            state, _ = prepared.step(state, prepared.store(split), batches, np.int32(1))
    return prepared, start, state, jax.jit(functools.partial(answered, prepared))


def answered(prepared, state, batch):
    """Outputs and words that a task gives for a batch that holds no label."""
    parts = prepared.program.parts(state.hparams)
    inputs = {prepared.source.facts.input, "index", "epoch", "valid"}
    fields = parts.augment["eval"](jax.random.key(0), {name: batch[name] for name in inputs})
    net = bind(prepared.program, parts.net, state.model_state, train=False)
    outputs, _ = parts.task.forward(net, state.params, fields, jax.random.key(0))
    return outputs, parts.task.predict(outputs, fields)


def batch_of(split, index):
    index = np.asarray(index, np.int32)
    return {
        **split.read(index),
        "index": index,
        "epoch": np.zeros(len(index), np.int32),
        "valid": np.ones(len(index), np.float32),
    }


def test_three_steps_move_every_part_and_leave_it_finite(run):
    prepared, start, state, _ = run
    assert int(state.step) == 3
    assert int(state.bad) == 0
    for part in prepared.program.parts(state.hparams).task.parts:
        before, after = ((tree[part] if part else tree) for tree in (start.params, state.params))
        pairs = list(zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
        assert any((np.asarray(a) != np.asarray(b)).any() for a, b in pairs), part
        assert all(np.isfinite(b).all() for _, b in pairs), part


def test_a_prediction_sees_no_label_and_speaks_the_words_of_labels(run):
    prepared, _, state, answer = run
    split = prepared.source.test
    _, words = answer(state, batch_of(split, range(6)))
    assert words
    assert set(words) <= WORDS, f"words of a batch, or {sorted(WORDS - LABELS)}"
    labels = split.read(np.arange(6))
    for word, values in words.items():
        assert len(values) == 6, word
        if word in labels and word not in ROWS:  # of these as many as the task finds
            assert np.ndim(values) == np.ndim(labels[word]), word
            kinds = [np.issubdtype(x.dtype, np.floating) for x in (np.asarray(values), labels[word])]
            assert kinds[0] == kinds[1] or word == prepared.source.facts.input, word


def test_no_number_depends_on_the_size_of_a_batch(run):
    prepared, _, state, _ = run
    split, found = prepared.source.test, []
    for size in (5, 8):  # neither divides the split: both have padding
        plan = dataclasses.replace(prepared.plan, eval_batch=size)
        found.append(dataclasses.replace(prepared, plan=plan).evaluate(state, split, prepared.store(split)))
    numbers, tables = zip(*map(numbers_and_tables, found), strict=True)
    assert prepared.program.parts(state.hparams).task.metric in numbers[0]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4, abs=1e-5)
    for name in tables[0]:
        np.testing.assert_allclose(tables[0][name], tables[1][name], rtol=1e-4, atol=1e-5)


def test_padding_changes_no_sum_and_what_the_loss_gives_can_be_predicted_from(run):
    """Whatever stands in the padding. Of single examples it is what the loss gave that a prediction is made of."""

    def rows(task, outputs, fields, losses, weights):
        assert set(task.predict(outputs, fields)) <= WORDS
        return {}

    prepared, _, state, _ = run
    measure = jax.jit(eval_step(prepared.program, rows))
    one = batch_of(prepared.source.test, [0, 1, 2, 3, 4, 4, 4])
    one["valid"] = np.float32([1, 1, 1, 1, 1, 0, 0])
    two = dict(one)
    for name, value in one.items():
        if np.issubdtype(value.dtype, np.floating) and name != "valid":
            two[name] = np.concatenate([value[:5], np.full_like(value[5:], np.nan)])
    variables = {"params": state.params, "model_state": state.model_state}
    one, two = (measure(variables, state.hparams, {}, batch)[0] for batch in (one, two))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, two)


def one_call(task, outputs, batch):
    """Whether a task's way from inputs to outputs is one call of a net that gives these outputs."""
    calls = []

    def net(params, fields, key, **options):
        calls.append(fields)
        return outputs, {}

    net.train = False
    with contextlib.suppress(Exception):  # it asks the net for a part, or for more than outputs
        return task.forward(net, {}, batch, jax.random.key(0))[0] is outputs and len(calls) == 1
    return False


def test_a_perfect_predictor_scores_perfectly_and_a_constant_one_no_better_than_chance(run):
    """Outputs themselves are fitted, one set for every example, by nothing but the task's own loss."""
    prepared, _, state, answer = run
    parts = prepared.program.parts({path: float(value) for path, value in state.hparams.items()})
    task, split = parts.task, prepared.source.test
    batch = batch_of(split, range(6))
    outputs, words = answer(state, batch)
    known = LABELS & set(words) & set(batch)
    if not known or not one_call(task, outputs, batch):
        pytest.skip("what it predicts is no label, or not read off the outputs of one call")
    fields = jax.tree.map(np.asarray, parts.augment["eval"](jax.random.key(0), batch))
    fitted = fit(task, fields, outputs)

    @jax.jit
    def judged(outputs):
        return task.predict(outputs, fields), task.tally(outputs, fields), task.rows(outputs, fields)

    found, *_ = judged(fitted)
    for word in known - ROWS:
        truth = np.asarray(fields[word], float)
        shown = middle(np.asarray(found[word], float), truth) if word == "segments" else np.asarray(found[word], float)
        np.testing.assert_allclose(shown, middle(truth, shown) if word == "segments" else truth, atol=0.05)

    def score(outputs):
        _, sums, rows = jax.tree.map(np.asarray, judged(outputs))
        return task.summarize(jax.tree.map(np.float64, sums), rows)[task.metric]

    constant = jax.tree.map(lambda x: np.broadcast_to(x[:1], x.shape), fitted)
    best, blind = score(fitted), score(constant)
    assert best > blind if task.higher else best < blind
    if task.higher and 0 <= blind <= 1:
        assert best == pytest.approx(1, abs=0.02)
    if "label" in known and task.higher:
        assert blind <= np.bincount(fields["label"]).max() / len(fields["label"]) + 1e-6


def fit(task, fields, outputs):
    """The outputs that make the task's loss on a batch as small as they can, from those that a net gave."""

    def free(params, batch, key, **options):
        return params, {}

    free.train, free.state = False, {}
    optimizer = optax.adam(optax.linear_schedule(0.3, 0.0, 300))  # what is no slope at its best would go to and fro

    def total(outputs):
        return task.loss(free, outputs, fields, jax.random.key(0))[0].sum()

    @jax.jit
    def fitted(outputs):
        def step(_, carry):
            outputs, memory = carry
            updates, memory = optimizer.update(jax.grad(total)(outputs), memory)
            return optax.apply_updates(outputs, updates), memory

        return jax.lax.fori_loop(0, 300, step, (outputs, optimizer.init(outputs)))[0]

    return fitted(outputs)


def middle(maps, like):
    """Where outputs are smaller than labels, only their middle is known: the rest is marked as such in both."""
    return np.where((maps == 255) | (like == 255), 255, maps)
