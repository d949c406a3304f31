"""What is predicted, minimised and measured, in fourteen shapes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.ops import box_iou, losses
from cnnjax.tasks import Task, count, main_output, noise_keys, once, supervised
from tests.tasks.shapes_of_task.data import CELL

__all__ = ["adversarial", "detection", "forecasting", "heatmaps", "instances", "localization", "pose", "refined", "vae"]


def detection(facts, *, most: int = 4, threshold: float = 0.1) -> Task:
    """Boxes by cells of 4 pixels: a score for each class, and how far the four edges are."""
    return Task(
        outputs={"main": facts.classes, "edges": 4},
        loss=supervised(_detected),
        predict=lambda outputs, batch: _best(outputs, most, threshold)[0],
        tally=lambda outputs, batch: {"boxes": count(batch["present"].sum(-1), batch["valid"])},
        rows=lambda outputs, batch: _overlaps(_best(outputs, most, threshold)[0], batch),
        summarize=_recalls,
        metric="recall",
    )


def instances(facts, *, most: int = 4, threshold: float = 0.1, prototypes: int = 3) -> Task:
    """The same, and for each box a mask: sums of the net's prototypes, cut to the box."""

    def predict(outputs, batch):
        found, cells = _best(outputs, most, threshold)
        weights = jnp.take_along_axis(_flat(outputs["weights"]), cells[..., None], 1)
        drawn = jnp.einsum("bnp,bhwp->bnhw", weights, outputs["prototypes"])
        drawn = drawn.repeat(CELL, 2).repeat(CELL, 3)
        return found | {"masks": (drawn > 0) & _inside(found["boxes"], drawn.shape[2:])}

    def rows(outputs, batch):
        found = predict(outputs, batch)
        truth = batch["instances"][:, None] == 1 + jnp.arange(batch["boxes"].shape[1])[:, None, None]
        both = jnp.einsum("bmhw,bnhw->bmn", truth.astype(jnp.float32), found["masks"].astype(jnp.float32))
        either = truth.sum((2, 3))[..., None] + found["masks"].sum((2, 3))[:, None] - both
        return {"overlap": (both / jnp.maximum(either, 1)).max(-1), "present": batch["present"]}

    def criterion(outputs, batch):
        loss, weights = _detected(outputs, batch)
        drawn = outputs["prototypes"].mean(-1).repeat(CELL, 1).repeat(CELL, 2)
        known = batch["instances"] != 255
        each = losses.sigmoid_cross_entropy(drawn, (batch["instances"] > 0).astype(jnp.float32))
        return loss + jnp.mean(each * known, (1, 2)) * weights, weights

    sizes = {"main": facts.classes, "edges": 4, "weights": prototypes, "prototypes": prototypes}
    return dataclasses.replace(
        detection(facts), outputs=sizes, loss=supervised(criterion), predict=predict, rows=rows, metric="recall"
    )


def _flat(maps):
    return maps.reshape(maps.shape[0], -1, maps.shape[-1])


def _places(size):
    return jnp.stack(jnp.meshgrid(*(CELL * (jnp.arange(n) + 0.5) for n in size), indexing="ij"), -1).reshape(-1, 2)


def _detected(outputs, batch):
    """Losses, weighed by the boxes of a picture: a cell answers for the first box that it lies in."""
    scores, edges = _flat(main_output(outputs)), _flat(outputs["edges"])
    y, x = jnp.moveaxis(_places(main_output(outputs).shape[1:3]), -1, 0)
    y0, x0, y1, x1 = (batch["boxes"][..., i, None] for i in range(4))
    inside = (y >= y0) & (y <= y1) & (x >= x0) & (x <= x1) & (batch["present"][..., None] > 0)
    owner, owned = jnp.argmax(inside, 1), inside.any(1)
    box = jnp.take_along_axis(batch["boxes"], owner[..., None], 1)
    kind = jnp.take_along_axis(batch["classes"], owner, 1)
    target = jax.nn.one_hot(kind, scores.shape[-1]) * owned[..., None]
    wanted = jnp.stack([y - box[..., 0], x - box[..., 1], box[..., 2] - y, box[..., 3] - x], -1) / CELL
    boxes = jnp.maximum(batch["present"].sum(-1), 1)
    apart = jnp.sum(jnp.abs(edges - wanted) * owned[..., None], (1, 2))
    return losses.sigmoid_cross_entropy(scores, target).sum((1, 2)) + apart, boxes


def _best(outputs, most, threshold):
    scores = jax.nn.sigmoid(_flat(main_output(outputs)))
    score, cells = jax.lax.top_k(scores.max(-1), most)
    edges = jnp.take_along_axis(_flat(outputs["edges"]), cells[..., None], 1) * CELL
    places = _places(main_output(outputs).shape[1:3])[cells]
    found = {
        "boxes": jnp.concatenate([places - edges[..., :2], places + edges[..., 2:]], -1),
        "classes": jnp.take_along_axis(jnp.argmax(scores, -1), cells, 1),
        "scores": score,
        "present": (score > threshold).astype(jnp.float32),
    }
    return found, cells


def _overlaps(found, batch):
    each = box_iou(batch["boxes"], found["boxes"]) * (batch["classes"][..., None] == found["classes"][:, None])
    return {"overlap": each.max(-1), "present": batch["present"]}


def _recalls(sums, rows):
    if not rows:
        return {}
    overlaps = rows["overlap"][rows["present"] > 0]
    at = np.linspace(0.5, 0.95, 10)
    table = (overlaps[:, None] >= at).mean(0)
    return {"recall": float(table[0]), "boxes": float(sums["boxes"]), "recalls": table}


def _inside(boxes, size):
    y0, x0, y1, x1 = (boxes[..., i, None, None] for i in range(4))
    y, x = jnp.arange(size[0])[:, None] + 0.5, jnp.arange(size[1]) + 0.5
    return (y >= y0) & (y <= y1) & (x >= x0) & (x <= x1)


def localization(facts, *, share: float = 1.0) -> Task:
    """What a picture shows and where: a class and one box."""
    height, width = facts.shape[:2]
    scale = jnp.array([height, width, height, width], jnp.float32)

    def criterion(outputs, batch):
        wrong = losses.softmax_cross_entropy(main_output(outputs), batch["label"])
        apart = jnp.abs(outputs["box"] - batch["boxes"][:, 0] / scale).sum(-1) * batch["present"][:, 0]
        return wrong + share * apart, jnp.ones_like(wrong)

    def predict(outputs, batch):
        probabilities = jax.nn.softmax(main_output(outputs))
        label = jnp.argmax(probabilities, -1)
        return {"label": label, "probabilities": probabilities, "boxes": (outputs["box"] * scale)[:, None]}

    def tally(outputs, batch):
        found = predict(outputs, batch)
        overlap = box_iou(found["boxes"], batch["boxes"][:, :1])[:, 0, 0]
        right = found["label"] == batch["label"]
        counted = {"right": right, "both": right & (overlap > 0.5), "examples": jnp.ones_like(right)}
        return {name: count(value, batch["valid"]) for name, value in counted.items()}

    def summarize(sums, rows):
        return {name: float(sums[name] / sums["examples"]) for name in ("right", "both")}

    sizes = {"main": facts.classes, "box": 4}
    return Task(sizes, supervised(criterion), predict, tally, summarize, metric="both")


def pose(facts, *, reach: float = 0.2) -> Task:
    """Points (B, K, 2) by regression; every stage that the net gives is trained and scored."""
    return _pointing(facts, reach, once)


def _pointing(facts, reach, forward):
    joints = facts.fields["points"][0][0]
    size = jnp.array(facts.shape[:2], jnp.float32)

    def placed(coordinates):
        return coordinates.reshape(-1, joints, 2) * size

    def criterion(outputs, batch):
        several = outputs.values() if isinstance(outputs, dict) else [outputs]
        seen = batch["visible"]
        each = [(jnp.abs(placed(found) - batch["points"]).sum(-1) * seen).sum(-1) for found in several]
        return sum(each), seen.sum(-1)

    def tally(outputs, batch):
        several = outputs if isinstance(outputs, dict) else {"main": outputs}
        near = {
            name: (jnp.linalg.norm(placed(found) - batch["points"], axis=-1) < reach * size.mean()) * batch["visible"]
            for name, found in several.items()
        }
        sums = {f"pck_{name}": count(value.sum(-1), batch["valid"]) for name, value in near.items()}
        return sums | {"points": count(batch["visible"].sum(-1), batch["valid"])}

    def summarize(sums, rows):
        return {name: float(sums[name] / max(sums["points"], 1)) for name in sums if name != "points"}

    def predict(outputs, batch):
        return {"points": placed(main_output(outputs))}

    loss = supervised(criterion, forward)
    return Task(2 * joints, loss, predict, tally, summarize, metric="pck_main", forward=forward)


def refined(facts, *, side: int = 12) -> Task:
    """Points in two passes: those of the whole picture, and what a second part says of a crop about them."""
    height, width = facts.shape[:2]

    def forward(net, params, batch, key):
        first, second = jax.random.split(key)
        coarse, state = net(params, batch, first)
        middle = jax.lax.stop_gradient(coarse).reshape(len(coarse), -1, 2).mean(1) * jnp.array([height, width])
        corner = jnp.clip(jnp.round(middle - side / 2), 0, jnp.array([height, width]) - side).astype(jnp.int32)
        crops = jax.vmap(lambda x, at: jax.lax.dynamic_slice(x, (*at, 0), (side, side, x.shape[-1])))
        step, state = net(params, (crops(batch["image"], corner),), second, part="refine", state=state)
        return {"main": jax.lax.stop_gradient(coarse) + 0.5 * step, "coarse": coarse}, state

    return _pointing(facts, 0.2, forward)


def heatmaps(facts, *, sigma: float = 1.0) -> Task:
    """Points as maps (B, h, w, K) of where each may be."""
    joints = facts.fields["points"][0][0]

    def criterion(outputs, batch):
        logits = _flat(outputs).swapaxes(1, 2)
        places = _places(outputs.shape[1:3]) - 0.5
        apart = ((places - batch["points"][:, :, None]) / (sigma * CELL)) ** 2
        target = jax.nn.softmax(-0.5 * apart.sum(-1))
        each = losses.softmax_cross_entropy(logits, target) * batch["visible"]
        return each.sum(-1), batch["visible"].sum(-1)

    def predict(outputs, batch):
        shares = jax.nn.softmax(_flat(outputs), axis=1)
        return {
            "points": jnp.einsum("bpk,pc->bkc", shares, _places(outputs.shape[1:3]) - 0.5),
            "scores": shares.max(1),
        }

    def tally(outputs, batch):
        apart = jnp.linalg.norm(predict(outputs, batch)["points"] - batch["points"], axis=-1) * batch["visible"]
        return {
            "apart": count(apart.sum(-1), batch["valid"]),
            "points": count(batch["visible"].sum(-1), batch["valid"]),
        }

    def summarize(sums, rows):
        return {"pixels": float(sums["apart"] / max(sums["points"], 1))}

    return Task(joints, supervised(criterion), predict, tally, summarize, metric="pixels", higher=False)


def vae(facts, *, beta: float = 1.0) -> Task:
    """Pictures through a few numbers, drawn: the negative of the ELBO is minimised."""
    black, white = np.float32(facts.black), np.float32(facts.white)

    def forward(net, params, batch, key):
        drawing, one, two = jax.random.split(key, 3)
        found, state = net(params, batch, one, part="encode")
        mean, spread = found[:, 0], found[:, 1]
        drawn = jax.vmap(lambda key: jax.random.normal(key, mean.shape[1:]))(noise_keys(net, drawing, batch))
        logits, state = net(params, (mean + jnp.exp(spread / 2) * drawn,), two, part="decode", state=state)
        return {"main": logits, "mean": mean, "spread": spread}, state

    def bounds(outputs, batch):
        image = (batch["image"] - black) / (white - black)
        picture = losses.sigmoid_cross_entropy(main_output(outputs), image).sum((1, 2, 3))
        mean, spread = outputs["mean"], outputs["spread"]
        return picture + beta * 0.5 * (jnp.exp(spread) + mean**2 - 1 - spread).sum(-1)

    def criterion(outputs, batch):
        value = bounds(outputs, batch)
        return value, jnp.ones_like(value)

    def tally(outputs, batch):
        value = bounds(outputs, batch)
        return {"bound": count(value, batch["valid"]), "examples": count(jnp.ones_like(value), batch["valid"])}

    return Task(
        outputs=facts.shape[-1],
        forward=forward,
        loss=supervised(criterion, forward),
        predict=lambda outputs, batch: {"image": jax.nn.sigmoid(main_output(outputs))},
        tally=tally,
        summarize=lambda sums, rows: {"elbo": -float(sums["bound"] / sums["examples"])},
        metric="elbo",
    )


def adversarial(facts, *, epsilon: float = 0.1, steps: int = 2) -> Task:
    """Classification of pictures changed by up to `epsilon` of white, as bad as a few steps can make them."""
    span = np.float32(facts.white) - np.float32(facts.black)

    def wrong(net, params, image, batch, key):
        logits, _ = net(params, {**batch, "image": image}, key, train=False)
        return losses.softmax_cross_entropy(logits, batch["label"]).sum()

    def attacked(net, params, batch, key):
        reach = epsilon * span

        def step(_, change):
            slope = jax.grad(lambda change: wrong(net, params, batch["image"] + change, batch, key))(change)
            return jnp.clip(change + reach / steps * jnp.sign(slope), -reach, reach)

        change = jax.lax.fori_loop(0, steps, step, jnp.zeros_like(batch["image"]))
        return {**batch, "image": batch["image"] + jax.lax.stop_gradient(change)}

    def loss(net, params, batch, key):
        harm, clean, hurt = jax.random.split(key, 3)
        hard = attacked(net, jax.lax.stop_gradient(params), batch, harm)
        outputs, state = once(net, params, batch, clean)
        robust, state = net(params, hard, hurt, state=state)
        each = sum(losses.softmax_cross_entropy(logits, batch["label"]) for logits in (outputs, robust))
        valid = batch["valid"]
        return jnp.where(valid > 0, each, 0.0), valid, ({"main": outputs, "robust": robust}, state)

    def tally(outputs, batch):
        sums = {name: count(jnp.argmax(x, -1) == batch["label"], batch["valid"]) for name, x in outputs.items()}
        return sums | {"examples": count(jnp.ones_like(batch["label"]), batch["valid"])}

    def predict(outputs, batch):
        probabilities = jax.nn.softmax(main_output(outputs))
        return {"label": jnp.argmax(probabilities, -1), "probabilities": probabilities}

    def summarize(sums, rows):
        return {name: float(sums[name] / sums["examples"]) for name in ("main", "robust")}

    return Task(facts.classes, loss, predict, tally, summarize, metric="robust", views="probabilities")


def forecasting(facts, *, power: float = 1.0) -> Task:
    """The steps that follow a series, in the data's own units."""
    shape = facts.fields["target"][0]
    black, white = np.float32(facts.black), np.float32(facts.white)

    def predict(outputs, batch):
        return {"target": (outputs.reshape(-1, *shape) - black) / (white - black)}

    def criterion(outputs, batch):
        apart = jnp.abs(predict(outputs, batch)["target"] - batch["target"])
        return (apart**power).mean((1, 2)), jnp.ones(len(apart))

    def tally(outputs, batch):
        apart = jnp.abs(predict(outputs, batch)["target"] - batch["target"]).mean((1, 2))
        return {"apart": count(apart, batch["valid"]), "examples": count(jnp.ones_like(apart), batch["valid"])}

    def summarize(sums, rows):
        return {"mae": float(sums["apart"] / sums["examples"])}

    return Task(int(np.prod(shape)), supervised(criterion), predict, tally, summarize, metric="mae", higher=False)
