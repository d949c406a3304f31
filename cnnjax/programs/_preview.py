"""What a run would be, without running it: `--dry_run`; and, in short, what it is, before it begins."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.analysis import cost, footprint_bytes
from cnnjax.augment.pipeline import FLAT
from cnnjax.programs._idle import idle_accelerator
from cnnjax.train.initial_weights import with_initial_weights
from cnnjax.train.job import PreparedRun, prepare


def preview(config) -> str:
    """Data, layers with shapes, parameters and MACs, memory, plan and learning rates of a config, as text."""
    prepared = prepare(config)
    with sections.errors_name_option("model", prepared.config["model"]):
        costs = cost(prepared.program.parts(sections.numeric(prepared.config)).net, _input_shape(prepared))
    model = f"model     {config.model.name}, for one example\n{costs}"
    blocks = [
        _data(prepared),
        model,
        *_beginning(prepared),
        _memory(prepared, costs.values),
        _plan(prepared),
        _schedule(prepared),
    ]
    return "\n\n".join(blocks)


def announced(prepared: PreparedRun, workdir: str | Path) -> str:
    """What is trained, on what and where, in a few lines: data, net, plan, workdir."""
    return "\n".join([_data(prepared), _net(prepared), _plan(prepared), f"workdir   {workdir}"])


def _data(prepared: PreparedRun) -> str:
    facts, source = prepared.source.facts, prepared.source
    counts = ", ".join(f"{facts.counts[split]:,} {split}" for split in ("train", "eval", "test"))
    same = " (eval is the test set: nothing is held out)" if source.eval is source.test else ""
    names = facts.names or facts.extra.get("segment_names", ())
    classes = f", {len(names) or facts.classes} classes" if names or facts.classes else ""
    lines = [f"data      {facts.input} {_shape(facts.shape)}{classes}; {counts}{same}", *_classes(names)]
    if sizes := facts.class_counts:
        lines.append(f"          {min(sizes):,} to {max(sizes):,} training examples a class")
    flat = [k for k, (mean, std) in enumerate(zip(facts.mean, facts.std, strict=True)) if std <= FLAT * abs(mean)]
    if flat:
        channels = f"channel{'s' * (len(flat) > 1)} {', '.join(map(str, flat))} of {facts.input}"
        lines.append(f"          {channels} never change{'s' * (len(flat) == 1)} in the training set")
    bad = {name for split in (source.train, source.eval, source.test) for name in getattr(split, "bad", {})}
    if bad:
        files = f"{len(bad)} records that can't be used are" if len(bad) > 1 else "1 record that can't be used is"
        lines.append(f"          {files} passed over: {_few(sorted(bad), 3)}")
    return "\n".join(lines)


def _classes(names: Sequence[str]) -> list[str]:
    """The classes by name, as many as there is room for."""
    return [f"          {_few([str(name) for name in names], 12)}"] if names else []


def _few(words: Sequence[str], most: int) -> str:
    shown = [word if len(word) <= 24 else f"{word[:23]}…" for word in words[:most]]
    return ", ".join(shown) + (f" and {len(words) - most:,} more" if len(words) > most else "")


def _net(prepared: PreparedRun) -> str:
    """Name and size of the net; its multiplies where it is one that can be counted by a picture alone."""
    name, numbers = prepared.config["model"]["name"], sections.numeric(prepared.config)
    try:
        costs = cost(prepared.program.parts(numbers).net, _input_shape(prepared))
    except Exception:  # what is wrong with the net is said where its weights are drawn
        params = jax.tree.leaves(prepared.outline().params)
        return f"net       {name}: {sum(leaf.size for leaf in params):,} parameters"
    return f"net       {name}: {costs.parameters:,} parameters, {costs.macs:,} MACs an example"


def _input_shape(prepared: PreparedRun) -> tuple[int, ...]:
    """The shape in which the network sees one example: what the evaluation pipeline makes of it."""
    return (1, *prepared.program.seen.shape)


def _beginning(prepared: PreparedRun) -> list[str]:
    """Where the weights come from, which is tried, and how many stay as they are."""
    lines = []
    if prepared.config["train"]["init"]:
        with_initial_weights(prepared, prepared.layout.replicate(prepared.start()), lines.append)
    if prepared.plan.freeze:
        params = jax.tree_util.tree_leaves_with_path(prepared.outline().params)
        sizes = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf.size for path, leaf in params}
        frozen = sum(size for path, size in sizes.items() if prepared.program.frozen(path))
        lines.append(f"frozen are {frozen:,} of {sum(sizes.values()):,} parameters")
    return ["begin     " + "\n          ".join(lines)] if lines else []


def _memory(prepared: PreparedRun, values: int) -> str:
    """What a device holds; `values` are the numbers that the network's layers give for one example."""
    held = footprint_bytes(prepared, values)
    words = " · ".join(f"{name} {_readable(size)}" for name, size in held.items() if size)
    return f"memory    on each device: {words}"


def _plan(prepared: PreparedRun) -> str:
    plan = prepared.plan
    device, asked = prepared.layout.devices[0], os.environ.get("JAX_PLATFORMS", "")
    idle = idle_accelerator(device.platform, wanted=asked, jax=jax.__version__)
    return (
        f"plan      {plan.steps:,} steps of {plan.batch} examples ({plan.steps / plan.steps_per_epoch:.4g} epochs), "
        f"{plan.accumulate} microbatch{'es' * (plan.accumulate > 1)}, {plan.dispatch} a dispatch\n"
        f"          on {plan.devices} × {device.device_kind} by {plan.parallel} in {plan.precision}\n"
        f"          reported every {plan.report:,}, evaluated every {plan.evaluate:,}, saved every {plan.save:,} steps"
        + (f"\n          {idle}" if idle else "")
    )


def _schedule(prepared: PreparedRun) -> str:
    hparams, steps = sections.numeric(prepared.config), prepared.plan.steps
    marks = sorted({0, prepared.plan.warmup, *(steps * i // 4 for i in range(4)), steps - 1})
    factor = prepared.program.parts(hparams).factor
    factors = {step: float(factor(np.int32(step))) for step in marks}
    lr = hparams.get("optimizer.lr", 1.0)
    return "schedule  lr " + ", ".join(f"{lr * factor:.3g} at {step:,}" for step, factor in factors.items())


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _readable(size: int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
