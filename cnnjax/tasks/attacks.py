"""Classification of pictures that somebody changes a little, so that the net is wrong."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.annotations import AtLeastOne, Positive, Share, Static
from cnnjax.fields import Facts, of_kind
from cnnjax.ops import BallNorm, losses, pgd, random_start
from cnnjax.refusals import LackingError, refuse_misfits
from cnnjax.tasks.contract import Task, count, main_output, noise_keys
from cnnjax.tasks.labels import classification

__all__ = ["adversarial"]

_TRAVEL = 2.5  # of all steps of an attack in evaluation, in epsilons (Madry 2018)


def adversarial(
    facts: Facts,
    *,
    epsilon: Positive = 0.1,
    steps: AtLeastOne = 1,
    travel: Positive = 1.25,
    norm: BallNorm = "inf",
    clean: Static[Share] = 0.0,
    ramp: AtLeastOne = 1,
    tested: tuple[Positive, ...] = (),
    tested_steps: AtLeastOne = 20,
    restarts: AtLeastOne = 1,
) -> Task:
    """A class for each picture, whatever is done to it within `epsilon` of [0, 1]; metrics: robust_accuracy, accuracy.

    Training goes up the loss by `steps` steps from a random start, which are `travel` epsilons long together: one step
    is FGSM as Wong 2020 trains, seven or forty PGD as Madry 2018. `clean` is the share of the loss that is of the
    pictures as they are; 0 spares the pass, and lines of training then have no accuracy. A picture is attacked within
    1/`ramp` of epsilon when it is first seen, 2/`ramp` the second time, and so on up to all of it: from the start
    within all, many steps leave a net nothing to learn but the commonest class.
    Evaluation attacks each picture by `tested_steps` steps, which are 2.5 epsilons long together, from each of
    `restarts` random starts, the same draws for every epsilon and any number of steps; it counts as right where the
    picture itself and all that became of it are, within that epsilon or a smaller one. Beside the epsilon of training
    those of `tested` are tried: robust_accuracy_0.1, … The loss is that of the worst restart. Attacks see running
    statistics and no dropout, as a user of the net would.
    """
    refuse_misfits(adversarial, locals(), path="task.")
    _refuse(facts)
    plain, names = classification(facts), tuple(f"robust_accuracy_{each:g}" for each in tested)
    attack = functools.partial(_attacked, facts, norm)

    def loss(net, params, batch, key):
        found = _trained if net.train else _tested
        options = (steps, travel, clean, ramp) if net.train else (tested_steps, restarts, tested, clean)
        return found(plain, attack, epsilon, *options)(net, params, batch, key)

    return dataclasses.replace(
        plain,
        loss=loss,
        tally=functools.partial(_tally, plain),
        rows=lambda outputs, batch: plain.rows(_clean(outputs), batch),
        summarize=functools.partial(_summary, plain, names),
        metric="robust_accuracy",
        views="",
    )


def _refuse(facts: Facts) -> None:
    """Refuses data without classes, and inputs of which nobody knows what 0 and 1 are."""
    if facts.classes < 2:
        has = f"only {facts.names[0]!r}" if facts.names else "none"
        raise LackingError(
            f"task.name is 'adversarial', which needs two classes or more; the data has {has}", ("label",)
        )
    if facts.input not in of_kind("picture") or not (facts.black and facts.white):
        raise ValueError(
            f"task.name is 'adversarial', which changes pictures between black and white; the nets of these data read "
            f"{facts.input}{'' if facts.input not in of_kind('picture') else ', of which the pipeline leaves neither'}"
        )


def _target(batch: Mapping) -> jax.Array:
    return batch["target"] if "target" in batch else batch["label"]


def _attacked(facts: Facts, norm: str, net: Callable, params: Mapping, batch: Mapping, key, epsilon, travel, steps):
    """The batch with its input (B, …) changed as much for the worse as so many steps, `travel` epsilons long, make it.

    Each picture has its own of the epsilons (B,), or all the same.
    """
    black, white = np.float32(facts.black), np.float32(facts.white)
    fixed, target = jax.lax.stop_gradient(params), _target(batch)
    net_key, start_key = jax.random.split(key)

    def seen(image):
        return {**batch, facts.input: black + (white - black) * image}

    def wrong(image):
        outputs, _ = net(fixed, seen(image), net_key, train=False)
        return losses.softmax_cross_entropy(main_output(outputs), target)

    image = jax.lax.stop_gradient((batch[facts.input].astype(jnp.float32) - black) / (white - black))
    keys = noise_keys(net, start_key, batch)
    draw = functools.partial(random_start, norm=norm, clip=not net.train)
    within = jnp.broadcast_to(epsilon, len(image))
    start = jax.vmap(lambda key, one, epsilon: draw(key, one[None], epsilon)[0])(keys, image, within)
    within = within.reshape(-1, *[1] * (image.ndim - 1))
    options = {"step": travel * within / steps, "steps": steps, "norm": norm, "start": start}
    return jax.lax.stop_gradient(seen(pgd(wrong, image, within, **options)))


def _trained(plain: Task, attack: Callable, epsilon, steps: int, travel, clean: float, ramp: int) -> Callable:
    """The loss of training: of attacked pictures, and, for a share, of the pictures themselves."""

    def loss(net, params, batch, key):
        harm, hurt, as_it_is = jax.random.split(key, 3)
        within = epsilon * jnp.minimum(1, (batch["epoch"] + 1) / ramp) if ramp > 1 else epsilon
        hard = attack(net, params, batch, harm, within, travel, steps)
        value, weights, (outputs, state) = plain.loss(net, params, hard, hurt)
        answers = {"main": main_output(outputs), "robust": _right(outputs, batch)[:, None]}
        if clean:
            same = functools.partial(net, state=state)
            other, _, (outputs, state) = plain.loss(same, params, batch, as_it_is)
            value, answers["clean"] = (1 - clean) * value + clean * other, main_output(outputs)
        return value, weights, (answers, state)

    return loss


def _tested(plain: Task, attack: Callable, epsilon, steps: int, restarts: int, tested: tuple, clean: float) -> Callable:
    """The loss of evaluation, with what is still right (B, E) at each of the epsilons tested, that of training last."""

    def loss(net, params, batch, key):
        value, weights, (outputs, state) = plain.loss(net, params, batch, key)
        epsilons = jnp.stack([jnp.float32(each) for each in (*tested, epsilon)])

        def one(which):
            reach, start = epsilons[which // restarts], jax.random.fold_in(key, which % restarts)
            hard = attack(net, params, batch, start, reach, _TRAVEL, steps)
            harmed, _, (answers, _) = plain.loss(net, params, hard, key)
            return harmed, _right(answers, batch)

        harmed, right = jax.lax.map(one, jnp.arange(len(epsilons) * restarts))
        right = right.reshape(len(epsilons), restarts, -1).all(1) & _right(outputs, batch)
        within = epsilons[None] <= epsilons[:, None]  # who may go further may also go less far
        right = (right | ~within[..., None]).all(1).T
        worst = jnp.maximum(harmed[-restarts:].max(0), value)
        answers = {"main": main_output(outputs), "clean": main_output(outputs), "robust": right}
        return (1 - clean) * worst + clean * value, weights, (answers, state)

    return loss


def _right(outputs, batch: Mapping) -> jax.Array:
    """Whether each answer (B,) is right."""
    target = _target(batch)
    truth = jnp.argmax(target, -1) if target.ndim > 1 else target
    return jnp.argmax(main_output(outputs), -1) == truth


def _clean(outputs) -> jax.Array:
    """The answers (B, K) to the pictures as they are, of the outputs of a loss or of the net."""
    return outputs.get("clean", outputs["main"]) if isinstance(outputs, Mapping) else outputs


def _tally(plain: Task, outputs, batch: Mapping) -> dict[str, jax.Array]:
    """What is right of the pictures as they are, where they were seen, and at each epsilon."""
    attacked = isinstance(outputs, Mapping) and "robust" in outputs
    robust = outputs["robust"] if attacked else _right(outputs, batch)[:, None]  # what nobody attacked
    sums = {"robust": jax.vmap(count, (1, None))(robust, batch["valid"])}
    examples = {"examples": count(jnp.ones_like(batch["valid"]), batch["valid"])}
    return sums | (plain.tally(_clean(outputs), batch) if not attacked or "clean" in outputs else examples)


def _summary(plain: Task, names: tuple[str, ...], sums: Mapping, rows: Mapping) -> dict:
    shares = np.asarray(sums["robust"], np.float64) / max(float(sums["examples"]), 1.0)
    found = {"robust_accuracy": float(shares[-1])}
    found |= dict(zip(names, map(float, shares[:-1]), strict=True)) if len(shares) > 1 else {}
    return found | (plain.summarize(sums, rows) if "correct" in sums else {})
