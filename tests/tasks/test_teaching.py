"""Distillation: the loss is Hinton's, the teacher stays as it is, and the student alone answers."""

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import cnnjax
from cnnjax.config import augmentation, experiment, section
from cnnjax.data import Facts
from cnnjax.tasks import distillation
from cnnjax.train.job import prepare
from tests.trainings import equal, stepped

FACTS = Facts(shape=(4, 4, 1), names=("a", "b", "c"), fields={"image": ((4, 4, 1), "float32"), "label": ((), "int32")})
QUIET = {"quiet": True, "tensorboard": False, "page": False, "curves": False}


def pair(**train):
    small = section("models", "mlp", hidden=(5,))
    return experiment(
        data=section("data", "digits"),
        model=section("models", "taught", student=section("models", "mlp", hidden=(3,)), teacher=small),
        task=section("tasks", "distillation"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=1e-2, decay=0.1, freeze=("teacher",)),
        schedule=section("schedules", "constant"),
        train={"steps": 2, "batch": 8, "devices": 1, **train},
        eval={"batch": 64, "test": False},
        report=QUIET,
    )


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.5), (4.0, 0.9)])
def test_the_loss_of_training_is_hintons(temperature, share):
    draw = np.random.default_rng(0)
    main, told = draw.normal(size=(2, 6, 3)).astype(np.float32)
    batch = {"label": np.arange(6, dtype=np.int32) % 3, "valid": np.ones(6, np.float32)}

    def net(params, batch, key):
        return {"main": params["main"], "teacher": params["teacher"]}, {}

    net.train = True

    @jax.jit
    def found(params, temperature, share):
        task = distillation(FACTS, temperature=temperature, share=share)

        def total(params):
            losses = task.loss(net, params, batch, None)[0]
            return losses.sum(), losses

        return jax.value_and_grad(total, has_aux=True)(params)

    (_, losses), slope = found({"main": main, "teacher": told}, temperature, share)
    hard = -log_softmax(main, -1)[np.arange(6), batch["label"]]
    soft = -(softmax(told / temperature, -1) * log_softmax(main / temperature, -1)).sum(-1)
    np.testing.assert_allclose(losses, (1 - share) * hard + share * temperature**2 * soft, rtol=1e-5)
    assert not np.any(slope["teacher"])
    assert np.all(slope["main"])


def test_a_teacher_comes_from_a_run_and_stays_as_it_was(digits_run, tmp_path):
    """The run that tests share is of an mlp; here it teaches a smaller one."""
    config = pair(init=str(digits_run.workdir), init_into="teacher")
    config.model.teacher.hidden = digits_run.config["model"]["hidden"]
    trained = cnnjax.run(config, tmp_path)
    assert equal(trained.variables["params"]["teacher"], digits_run.variables["params"])
    inputs = trained.source.test.arrays["image"][:4]
    said = trained.predict(inputs)["probabilities"]
    student = jax.jit(lambda v, x: jax.nn.softmax(trained.net.student.apply(v, trained.seen(x))))
    np.testing.assert_allclose(said, student({"params": trained.variables["params"]["student"]}, inputs), rtol=1e-4)


def test_without_a_teacher_there_is_nothing_to_learn_from():
    config = pair()
    config.model = section("models", "mlp", hidden=(3,))
    config.optimizer.freeze = ()
    with pytest.raises(ValueError, match=r"'distillation', but the net has no teacher; choose model\.name=taught"):
        stepped(config)
    with pytest.raises(
        ValueError, match=r"'taught', but its teacher knows nothing yet; train\.init=RUN train\.init_into"
    ):
        prepare(pair())
    with pytest.raises(ValueError, match=r"distillation', which needs label and names"):
        distillation(Facts(shape=(4, 4, 1)))
