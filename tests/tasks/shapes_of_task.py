"""Fourteen shapes that a task may have, as a user's own file would have them: made data, tiny nets, small tasks."""

import dataclasses
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data import Source, from_arrays
from cnnjax.layers import BatchNorm, Conv, Dense, Dropout
from cnnjax.ops import avg_pool, box_iou, losses
from cnnjax.tasks import Task, count, main_output, noise_keys, once, supervised

SIDE, CELL = 24, 4  # pixels of a picture and of a cell of a dense prediction

# Data: pictures with every label that there is, words, sound, curves, clips.


def things(*, train: int = 12, test: int = 7) -> Source:
    """Pictures (24, 24, 1) of a bright square or bar, or of both, with boxes, masks and three points of the first."""
    splits = [_things(seed, size) for seed, size in enumerate((train, test))]
    source = from_arrays(*splits, names=("square", "bar"))
    return _knowing(source, mirror=(0, 2, 1), point_names=("middle", "left", "right"))


def _things(seed, size):
    draw, rows = np.random.default_rng(seed), []
    for _ in range(size):
        image, instances = draw.integers(0, 60, (SIDE, SIDE)).astype(np.uint8), np.zeros((SIDE, SIDE), np.int32)
        boxes, classes, present = np.zeros((2, 4), np.float32), np.zeros(2, np.int32), np.zeros(2, np.float32)
        for n in range(draw.integers(1, 3)):
            kind = draw.integers(0, 2)
            y, x = draw.integers(1, 8), draw.integers(1, 8) + 8 * n
            height, width = (6, 6) if kind == 0 else (4, 7)
            image[y : y + height, x : x + width] = 200 + 40 * kind
            instances[y : y + height, x : x + width] = n + 1
            boxes[n], classes[n], present[n] = (y, x, y + height, x + width), kind, 1
        y0, x0, y1, x1 = boxes[0]
        middle = [(y0 + y1) / 2 - 0.5, (x0 + x1) / 2 - 0.5]
        points = np.float32([middle, [middle[0], x0], [middle[0], x1 - 1]])
        rows.append(
            {
                "image": image[..., None],
                "label": classes[0],
                "segments": np.where(instances > 0, 1 + classes[np.maximum(instances - 1, 0)], 0),
                "instances": instances,
                "boxes": boxes,
                "classes": classes,
                "present": present,
                "points": points,
                "visible": np.ones(3, np.float32),
            }
        )
    return {name: np.stack([row[name] for row in rows]).astype(rows[0][name].dtype) for name in rows[0]}


def sentences(*, train: int = 12, test: int = 7) -> Source:
    """Rows of up to ten of five words, 0 where they have ended, that have word 3 or not."""

    def made(seed, size):
        draw = np.random.default_rng(seed)
        tokens = draw.choice([1, 2, 4], (size, 10)).astype(np.int32)
        label = np.arange(size, dtype=np.int32) % 2
        tokens[np.arange(size), draw.integers(0, 6, size)] = np.where(label == 1, 3, 2)
        tokens[:, 8:] = 0
        return {"tokens": tokens, "label": label}

    return _knowing(from_arrays(made(0, train), made(1, test), names=("without", "with")), words=tuple("_?abc"))


def sounds(*, train: int = 12, test: int = 7) -> Source:
    """Mel bands (20, 6) of a low or a high tone."""

    def made(seed, size):
        draw, label = np.random.default_rng(seed), np.arange(size, dtype=np.int32) % 2
        series = draw.normal(0, 0.1, (size, 20, 6)).astype(np.float32)
        series[np.arange(size), :, 1 + 3 * label] += 1
        return {"series": series, "label": label}

    return from_arrays(made(0, train), made(1, test), names=("low", "high"))


def waves(*, train: int = 12, test: int = 7) -> Source:
    """Sixteen steps of a wave (16, 1) about 5, and in `target` (4, 1) the next four."""

    def made(seed, size):
        phase = np.random.default_rng(seed).uniform(0, 6, (size, 1))
        wave = (5 + np.sin(phase + np.arange(20) * 0.7))[..., None].astype(np.float32)
        return {"series": wave[:, :16], "target": wave[:, 16:]}

    return from_arrays(made(0, train), made(1, test))


def clips(*, train: int = 12, test: int = 7) -> Source:
    """Clips (6, 12, 12, 1) of a dot that goes left or right."""

    def made(seed, size):
        draw, label = np.random.default_rng(seed), np.arange(size, dtype=np.int32) % 2
        video = draw.integers(0, 40, (size, 6, 12, 12, 1)).astype(np.uint8)
        for i, way in enumerate(label):
            for t in range(6):
                video[i, t, 5:7, 3 + t if way else 8 - t] = 255
        return {"video": video, "label": label}

    return from_arrays(made(0, train), made(1, test), names=("left", "right"))


def _knowing(source, **extra):
    facts = dataclasses.replace(source.facts, extra={**source.facts.extra, **extra})
    return dataclasses.replace(source, facts=facts)


# Nets.


def vector(*, outputs: int, width: int = 8, dropout: float = 0.1) -> nn.Module:
    """Outputs (B, K) of a picture, or a dict of them where several are asked for, `main` first."""
    return Vector(outputs, width, dropout)


class Vector(nn.Module):
    outputs: int | dict
    width: int
    dropout: float

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.relu(BatchNorm(name="norm")(Conv(self.width, 3, 2, 1, name="conv")(x), train))
        x = Dropout(self.dropout)(avg_pool(x, 4), train).reshape(x.shape[0], -1)
        if isinstance(self.outputs, int):
            return Dense(self.outputs, name="head")(x) if self.outputs else x
        return {name: Dense(size, name=name)(x) for name, size in self.outputs.items()}


def dense(*, outputs: int, width: int = 8) -> nn.Module:
    """Maps (B, H/4, W/4, K), a dict of them where several are asked for."""
    return Maps(outputs, width)


class Maps(nn.Module):
    outputs: int | dict
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        for i in (1, 2):
            x = nn.relu(BatchNorm(name=f"norm{i}")(Conv(self.width, 3, 2, 1, name=f"conv{i}")(x), train))
        if isinstance(self.outputs, int):
            return Conv(self.outputs, 1, name="head")(x)
        return {name: Conv(size, 1, name=name)(x) for name, size in self.outputs.items()}


def stages(*, outputs: int, width: int = 8, count: int = 2) -> nn.Module:
    """Coordinates (B, K·2) by stage: each stage sees the picture weighed by where the one before it pointed."""
    return Stages(outputs, width, count)


class Stages(nn.Module):
    outputs: int
    width: int
    count: int

    @nn.compact
    def __call__(self, x, train=False):
        found = {"main": Vector(self.outputs, self.width, 0.0, name="stage1")(x, train)}
        for i in range(2, self.count + 1):
            before = jax.lax.stop_gradient(found["main"])
            seen = jnp.concatenate([x, around(before, x.shape[1:3]).astype(x.dtype)], -1)
            step = Vector(self.outputs, self.width, 0.0, name=f"stage{i}")(seen, train)
            found = {"main": before + step, **found, f"stage{i - 1}": found["main"]}
        return found


def around(points, size):
    """Maps (B, H, W, 1): near 1 about the mean of points (B, K·2) in shares of the picture."""
    middle = points.reshape(len(points), -1, 2).mean(1)
    lines = [jnp.exp(-8 * (jnp.arange(n) / n - middle[:, i : i + 1]) ** 2) for i, n in enumerate(size)]
    return (lines[0][:, :, None] * lines[1][:, None, :])[..., None]


def cascade(*, outputs: int, width: int = 8) -> nn.Module:
    """A net (B, K) and, as the part `refine`, another that reads crops and says what to add."""
    return Cascade(Vector(outputs, width, 0.0), Vector(outputs, width, 0.0))


class Cascade(nn.Module):
    first: nn.Module
    refine: nn.Module

    def __call__(self, x, train=False):
        if self.is_initializing():
            self.refine(x[:, :12, :12], train)
        return self.first(x, train)


def autoencoder(facts, *, outputs: int, width: int = 16, latent: int = 4) -> nn.Module:
    """An encoder of pictures to means and log variances (B, 2, N), a decoder of (B, N) to logits of pictures."""
    return Autoencoder(facts.shape, outputs, width, latent)


class Autoencoder(nn.Module):
    shape: tuple
    outputs: int
    width: int
    latent: int

    def setup(self):
        self.down, self.up = Dense(2 * self.latent), [Dense(self.width), Dense(int(np.prod(self.shape)))]

    def encode(self, x, train=False):
        return self.down(x.reshape(x.shape[0], -1)).reshape(-1, 2, self.latent)

    def decode(self, z, train=False):
        return self.up[1](nn.relu(self.up[0](z))).reshape(-1, *self.shape)

    def __call__(self, x, train=False):
        return self.decode(self.encode(x)[:, 0])


def words(facts, *, outputs: int, width: int = 8) -> nn.Module:
    """Outputs (B, K) of tokens (B, T), by windows of three words of the data's vocabulary."""
    return Words(len(facts.extra["words"]), outputs, width)


class Words(nn.Module):
    vocabulary: int
    outputs: int
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        known = nn.Embed(self.vocabulary, self.width, name="embedding")(x) * (x > 0)[..., None]
        return Dense(self.outputs, name="head")(nn.relu(Conv(self.width, (3,), name="window")(known)).max(1))


def causal(*, outputs: int, width: int = 8) -> nn.Module:
    """Outputs (B, K) at the last step of a series, which look back by 2, 4, 8 steps."""
    return Causal(outputs, width)


class Causal(nn.Module):
    outputs: int
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        x = Dense(self.width, name="first")(x)
        for i in range(3):
            back = jnp.pad(x, ((0, 0), (2**i, 0), (0, 0)))[:, : x.shape[1]]
            x = x + nn.relu(Dense(self.width, name=f"back{i}")(jnp.concatenate([x, back], -1)))
        return Dense(self.outputs, name="head")(x[:, -1])


def frames(*, outputs: int, backbone: Annotated[str, "models"] = "tests.tasks.shapes_of_task:glance") -> nn.Module:
    """Outputs (B, K) of clips: a picture net on every frame, then a dense layer on all of them."""
    return Frames(outputs, backbone)


class Frames(nn.Module):
    outputs: int
    backbone: nn.Module

    @nn.compact
    def __call__(self, x, train=False):
        seen = self.backbone(x.reshape(-1, *x.shape[2:]), train)
        return Dense(self.outputs, name="head")(seen.reshape(x.shape[0], -1))


def glance(facts, *, outputs: int, width: int = 4) -> nn.Module:
    """Features (B, K) of a frame, from a net that must know how large it is."""
    return Glance(facts.shape[-3:-1], width)


class Glance(nn.Module):
    size: tuple
    width: int

    @nn.compact
    def __call__(self, x, train=False):
        if x.shape[1:3] != self.size:
            raise ValueError(f"a frame has {x.shape[1:3]} pixels; this net is for {self.size}")
        return nn.relu(Dense(self.width, name="dense")(x.reshape(x.shape[0], -1)))


# Tasks.


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
