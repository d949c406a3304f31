"""What a run would be, without running it: `--dry_run`."""

import math

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.analysis import cost
from cnnjax.train.beginning import begun
from cnnjax.train.job import Job, prepare


def preview(config) -> str:
    """Data, layers with shapes, parameters and MACs, memory, plan and learning rates of a config, as text."""
    job = prepare(config)
    with sections.blamed("model", job.config["model"]):
        costs = cost(job.program.net(sections.numeric(job.config)), _input_shape(job))
    model = f"model     {config.model.name}, for one example\n{costs}"
    blocks = [_data(job), model, *_beginning(job), _memory(job, costs.values), _plan(job), _schedule(job)]
    return "\n\n".join(blocks)


def _data(job: Job) -> str:
    facts, source = job.source.facts, job.source
    counts = ", ".join(f"{facts.counts[split]:,} {split}" for split in ("train", "eval", "test"))
    same = " (eval is the test set: nothing is held out)" if source.eval is source.test else ""
    return f"data      {facts.input} {_shape(facts.shape)}, {facts.classes} classes; {counts}{same}"


def _input_shape(job: Job) -> tuple[int, ...]:
    """The shape in which the network sees one example: what the evaluation pipeline makes of it."""
    hparams, field = sections.numeric(job.config), job.source.facts.input
    fields = job.source.train.read(np.zeros(1, int))
    fields |= {"index": np.zeros(1, np.int32), "epoch": np.zeros(1, np.int32), "valid": np.ones(1, np.float32)}
    seen = jax.eval_shape(job.program.augment(hparams, "eval"), jax.random.key(0), fields)
    return seen[field].shape


def _beginning(job: Job) -> list[str]:
    """Where the weights come from, which is tried, and how many stay as they are."""
    lines = []
    if job.config["train"]["init"]:
        begun(job, job.layout.replicate(job.start()), lines.append)
    if job.plan.freeze:
        params = jax.tree_util.tree_leaves_with_path(job.outline().params)
        sizes = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.size for path, leaf in params}
        frozen = sum(size for path, size in sizes.items() if job.program.frozen(path))
        lines.append(f"frozen are {frozen:,} of {sum(sizes.values()):,} parameters")
    return ["begin     " + "\n          ".join(lines)] if lines else []


def _memory(job: Job, values: int) -> str:
    """What a device holds; `values` are the numbers that the network's layers give for one example."""
    state = job.outline()
    share = math.ceil(job.plan.batch / job.plan.devices / job.plan.accumulate)
    width = {"bfloat16": 2, "float64": 8}.get(job.plan.precision, 4)
    parts = {
        "parameters": _bytes(state.params),
        "optimizer": _bytes(state.opt_state),
        "averages": _bytes(state.ema),
        "data": _split_bytes(job),
        "activations, about": values * share * width,
    }
    words = " · ".join(f"{name} {_readable(size)}" for name, size in parts.items() if size)
    return f"memory    on each device: {words}"


def _plan(job: Job) -> str:
    plan = job.plan
    device = job.layout.devices[0]
    return (
        f"plan      {plan.steps:,} steps of {plan.batch} examples ({plan.steps / plan.steps_per_epoch:.4g} epochs), "
        f"{plan.accumulate} microbatch{'es' * (plan.accumulate > 1)}, {plan.dispatch} a dispatch\n"
        f"          on {plan.devices} × {device.device_kind} by {plan.parallel} in {plan.precision}\n"
        f"          reported every {plan.report:,}, evaluated every {plan.evaluate:,}, saved every {plan.save:,} steps"
    )


def _schedule(job: Job) -> str:
    hparams, steps = sections.numeric(job.config), job.plan.steps
    marks = sorted({0, job.plan.warmup, *(steps * i // 4 for i in range(4)), steps - 1})
    factors = {step: float(job.program.factor(hparams, np.int32(step))) for step in marks}
    lr = hparams.get("optimizer.lr", 1.0)
    return "schedule  lr " + ", ".join(f"{lr * factor:.3g} at {step:,}" for step, factor in factors.items())


def _bytes(tree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _split_bytes(job: Job) -> int:
    """What the training split takes on the device, where it sits there."""
    if not job.source.train.resident:
        return 0
    example = job.source.train.read(np.zeros(1, int))
    return sum(np.asarray(value).nbytes for value in example.values()) * len(job.source.train)


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _readable(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
