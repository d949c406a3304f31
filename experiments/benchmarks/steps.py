"""Times one training step of each network: cnnjax, plain Flax linen, and PyTorch's modes, in one run, in turns.

    python -m experiments.benchmarks.steps --peer=.venv-torch/bin/python --json=experiments/benchmarks/steps.json
    python -m experiments.benchmarks.steps --peer=python --nets=resnet50:256 --modes=compile_cl --precision=bfloat16

Beside the step alone, the same step four times inside a scan, and eight LeNets as members of one vmapped program.
On a machine that others use, `--threads=1` and the processor times are what can be compared. What its host gave to
others during each side's steps is in the last column: a core without work for a moment goes first.
"""

import functools
import math

import jax
import jax.numpy as jnp
import optax
from absl import flags

from cnnjax import ops
from cnnjax.config import ConfigError, one_of
from cnnjax.programs import process
from experiments.benchmarks import timing
from experiments.benchmarks.networks import NETS, OURS, ZOO, check, linen, network

MODES = ["eager", "eager_cl", "compile", "compile_cl"]

FLAGS = timing.common_flags()
flags.DEFINE_list("nets", [*NETS, *ZOO], "networks to measure, name:batch for another batch", flag_values=FLAGS)
timing.define_precision(FLAGS)
flags.DEFINE_string("peer", "", "Python of an environment with PyTorch; empty: without that peer", flag_values=FLAGS)
flags.DEFINE_list("modes", MODES, "modes of the peer; cl: channels last", flag_values=FLAGS)
flags.DEFINE_boolean("scan", True, "measure the step inside a scan as well", flag_values=FLAGS)
flags.DEFINE_integer("members", 8, "LeNets to train as one program; 0 = none", flag_values=FLAGS)


def step_of(name: str, kit, precision: str = "float32"):
    """(step, state, batch) of a network: forward, loss, backward, SGD with momentum, train mode.

    Activations and kernels are in a precision; parameters, loss and update in float32.
    """
    net, batch, shape, classes, dense, first, later = network(name, kit)
    x = jax.random.normal(jax.random.key(0), (batch, *shape))
    label = jax.random.randint(jax.random.key(1), (batch, *shape[:-1]) if dense else (batch,), 0, classes)
    once = ops.single_use_options(jax.default_backend())
    variables = jax.jit(functools.partial(net.init, **first), compiler_options=once)(jax.random.key(2), x)
    params, stats = variables["params"], variables.get("batch_stats", {})
    optimizer = optax.sgd(1e-3, momentum=0.9)

    def step(state, x, label):
        params, stats, moments, key = state
        key, noise = jax.random.split(key)

        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            inputs = x.astype(precision)
            outputs, new = net.apply(variables, inputs, mutable=["batch_stats"], rngs={"noise": noise}, **later)
            return jnp.mean(ops.softmax_cross_entropy(outputs, label)), new.get("batch_stats", {})

        (_, stats_after), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), stats_after, moments, key

    return step, (params, stats, optimizer.init(params), jax.random.key(3)), (x, label)


def compiled(step, state, batch, options):
    """A contestant: `count` calls of the compiled step, each on the state that the last one left."""
    program = jax.jit(step, compiler_options=options, donate_argnums=0).lower(state, *batch).compile()
    held = [jax.tree.map(jnp.copy, state)]

    def call():
        held[0] = program(held[0], *batch)
        return held[0]

    jax.block_until_ready(call())
    return functools.partial(timing.timed, call)


def contestants(name, peer):
    precision = timing.precision_of(FLAGS.precision)
    options = ops.compiler_options(jax.default_backend())
    step, state, batch = step_of(name, OURS, precision)
    found = {"cnnjax": compiled(step, state, batch, options)}
    net = name.partition(":")[0]
    if FLAGS.scan and net in NETS:

        def four(state, *batches):
            return jax.lax.scan(lambda state, batch: (step(state, *batch), ()), state, batches)[0]

        # four batches: of one, XLA would lift what depends on it alone out of the loop
        batches = tuple(jnp.stack([part + i for i in range(4)]) for part in batch[:1]) + tuple(
            jnp.stack([part] * 4) for part in batch[1:]
        )
        found["cnnjax, scan of 4"] = compiled(four, state, batches, options)
    if FLAGS.members and net == "lenet5":
        states = jax.tree.map(lambda a: jnp.stack([a] * FLAGS.members), state)
        many = jax.vmap(step, (0, None, None))
        found[f"cnnjax, {FLAGS.members} members"] = compiled(many, states, batch, options)
    if net in NETS:
        found["linen"] = compiled(*step_of(name, linen(precision), precision), {})
    for mode in FLAGS.modes if peer else ():
        found[f"torch {mode}"] = lambda count, mode=mode: peer.ask(name, mode, count) or []
    return found


def per_step(found, kind):
    """Milliseconds of one step of one member, by contestant."""
    each = {name: row[kind] for name, row in found.items()}
    for name in each:
        each[name] /= 4 if "scan" in name else FLAGS.members if "members" in name else 1
    return each


def main(argv: list[str]) -> None:
    process.read(FLAGS, argv)
    check(FLAGS.nets)
    for mode in FLAGS.modes:
        one_of(mode, MODES, path="--modes")
    alone = [name for name in FLAGS.nets if name.partition(":")[0] not in (*NETS, *ZOO)]
    if FLAGS.peer and alone:
        raise ConfigError(f"--nets has {alone[0]!r}, which the peer has not; leave --peer out")
    timing.pin(FLAGS.threads)
    precision = timing.precision_of(FLAGS.precision)
    peer = timing.Peer(FLAGS.peer, "torch_peer.py", precision) if FLAGS.peer else None
    kind = "processor" if FLAGS.threads == 1 else "wall"
    versions = peer.versions if peer else {}
    rows, result = [], {"machine": timing.machine(), "peer": versions, "compared": kind, "nets": {}}
    result["precision"] = precision
    for name in FLAGS.nets:
        each = contestants(name, peer)
        found = timing.interleaved(each, FLAGS.rounds, FLAGS.steps)
        ms = per_step(found, kind)
        best = min((key for key in ms if key.startswith("torch")), key=ms.get, default="")
        theirs = ms.get(best, math.nan)
        ratios = {
            "linen": ms.get("linen", math.nan) / ms["cnnjax"],
            "torch": theirs / ms["cnnjax"],
            **{key: ms["cnnjax"] / value for key, value in ms.items() if key.startswith("cnnjax,")},
        }  # fmt: skip
        result["nets"][name] = {"timings": found, "ms": ms, "ratios": ratios}
        print(name, {key: round(value, 2) for key, value in ms.items()}, flush=True)
        if FLAGS.json:  # after each net: a long run that is stopped keeps what it found
            timing.write(FLAGS.json, result)
        rows.append(
            [
                name,
                *(f"{ms.get(key, math.nan):.2f}" for key in ("cnnjax", "linen")),
                f"{theirs:.2f}",
                *(f"{ratios[key]:.2f}" for key in ("linen", "torch")),
                " ".join(f"{key[8:]} {value:.2f}" for key, value in ratios.items() if key.startswith("cnnjax,")),
                " / ".join(f"{found[key]['stolen']}" for key in ("cnnjax", best) if key),
            ]
        )
    if peer:
        peer.close()
        logs = [math.log(net["ratios"]["torch"]) for net in result["nets"].values()]
        result["geometric_mean"] = math.exp(sum(logs) / len(logs))
    header = ["net", "cnnjax ms", "linen ms", "torch's best ms", "× linen", "× torch", "one alone / one of many"]
    print(timing.table([*header, "stolen ms, cnnjax / torch"], rows), result.get("geometric_mean", ""), sep="\n")
    if FLAGS.json:
        timing.write(FLAGS.json, result)


if __name__ == "__main__":
    process.start(main, __doc__, FLAGS)
