"""Options that mean the same in every family: which family has which, and that each word of them builds a net."""

import inspect
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.layers import Activation, Initializer, Norm
from cnnjax.ops.pooling import PoolKind
from tests.models.variants import ENTRIES, SLOW_TINY, TINY, abstract_variables, filled, quickly, tiny

# a variant shares its family's code; what stands on a backbone, or is of two nets, leaves such options to them
FAMILIES = {
    entry.__code__.co_name: entry
    for entry in ENTRIES.values()
    if not {"backbone", "student"} & {p.name for p in inspect.signature(entry).parameters.values() if p.default}
}
NORMS, ACTIVATIONS, POOLS, INITS = map(get_args, (Norm, Activation, PoolKind, Initializer))
WORDS = {"norm": NORMS, "activation": ACTIVATIONS, "pool": POOLS, "init": INITS}
ALL = {**TINY, **SLOW_TINY}

# lenet5_1998 is made of its scaled tanh and trainable subsampling; mlp, dcgan and vae pool nothing; textcnn is Kim's
PLAIN = {
    "norm": {"lenet5_1998", "textcnn"},
    "norm_group": {"lenet5_1998", "textcnn"},
    "momentum": {"lenet5_1998", "textcnn"},
    "activation": {"lenet5_1998"},
    "pool": {"lenet5_1998", "mlp", "dcgan", "vae", "textcnn"},
    "init": set(),
    "dropout": {"lenet5_1998", "dcgan", "vae", "whitened_cnn"},
}
DEEP = {
    "densenet",
    "efficientnet",
    "googlenet",
    "googlenet_2014",
    "inception_v3",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "convnext",
    "resnet",
    "resnet1d",
    "unet",
    "video_resnet",
}
SOME = {
    "remat": DEEP,  # the others are a few layers deep
    "stack": {"convnext", "resnet"},  # no other family has three equal blocks in a row whose input and output are equal
    "drop_path": {"convnext", "efficientnet", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "resnet"},
    "auxiliary": {"googlenet", "googlenet_2014", "inception_v3"},
}


def options(name):
    return inspect.signature(FAMILIES.get(name) or ENTRIES[name]).parameters


@pytest.mark.parametrize("option", [*PLAIN, *SOME])
def test_every_family_has_the_options_that_make_sense_there(option):
    having = {name for name in FAMILIES if option in options(name)}
    assert having == (SOME[option] if option in SOME else set(FAMILIES) - PLAIN[option])
    kinds = {options(name)[option].annotation for name in having}
    # a rate is static in some; a net pools windows, the whole, the last step of a series, or not
    assert len(kinds) <= (4 if option == "pool" else 2)


def test_every_family_is_among_the_tiny_nets():
    here = {ENTRIES[name].__code__.co_name for name, *_ in ALL.values()}
    assert set(FAMILIES) - here == {"mobilenet_v3_large"}  # the small one by a longer table


def _built(family, number, offset=0):
    """The variables of a tiny net whose words are the `number`th of each option."""
    name, _, shape = ALL[family]
    words = {key: get_args(options(name)[key].annotation) for key in WORDS if key in options(name)}
    if name == "mlp":
        words["norm"] = [norm for norm in NORMS if norm != "instance"]
    if family == "wrn":
        del words["pool"]  # a stem without one refuses it
    chosen = {key: some[(number + offset * (key != "norm")) % len(some)] for key, some in words.items()}
    return abstract_variables(tiny(family, **chosen)[0], shape), chosen


@pytest.mark.parametrize("family", TINY)
def test_every_normalisation_can_be_had(family):
    for number in range(len(NORMS)):
        variables, chosen = _built(family, number, offset=list(TINY).index(family))
        assert ("batch_stats" in variables) == (chosen.get("norm") == "batch")


@pytest.mark.proofs
@pytest.mark.parametrize("family", ALL)
def test_every_word_of_every_option_builds_a_net(family):
    for number in range(max(map(len, WORDS.values()))):
        variables, chosen = _built(family, number)
        assert ("batch_stats" in variables) == (chosen.get("norm") == "batch")


@pytest.mark.parametrize("family", ALL)
def test_a_word_that_is_none_is_refused_by_the_name_of_its_option(family):
    name, _, shape = ALL[family]
    for option in set(WORDS) & set(options(name)):
        near = {"norm": "bach", "activation": "rellu", "pool": "maxx", "init": "he_norml"}[option]
        with pytest.raises(ValueError, match=rf"^{option} is \'{near}\'; nearest: "):
            abstract_variables(tiny(family, **{option: near})[0], shape)


def test_a_vector_has_no_places_to_normalise_over():
    with pytest.raises(ValueError, match=r"norm is 'instance', but \(1, 8\) has no places .*choose 'layer' or 'group'"):
        abstract_variables(tiny("mlp", norm="instance")[0], (6, 6, 1))


RECOMPUTED = [family for family, (name, *_) in ALL.items() if ENTRIES[name].__code__.co_name in DEEP]
ALIKE = ("resnet_bottleneck", "googlenet_2014", "unet_backbone")  # the class of another
REAL = {"resnet": {"blocks": (1,), "stem": "cifar"}}


@pytest.mark.parametrize("family", [family for family in RECOMPUTED if family not in ALIKE])
def test_recomputed_blocks_have_the_same_parameters(family):
    shape = ALL[family][2]
    plain, again = (abstract_variables(tiny(family, remat=remat)[0], shape) for remat in (False, True))
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    assert jax.tree.map(jnp.shape, plain) == jax.tree.map(jnp.shape, again)


@pytest.mark.parametrize(
    "family", [pytest.param(family, marks=[] if family in REAL else pytest.mark.proofs) for family in RECOMPUTED]
)
def test_recomputed_blocks_change_no_number(family):
    noise = {key: 0.0 for key in ("dropout", "drop_path", "block_dropout") if key in options(ALL[family][0])}
    nets = [tiny(family, remat=remat, **noise, **REAL.get(family, {}))[0] for remat in (False, True)]
    x = tiny(family)[1]
    variables = filled(nets[0], x.shape[1:])
    params = variables.pop("params")
    found, recomputed = [], []
    for net in nets:

        def loss(params, stats, x, net=net):
            key = {"noise": jax.random.key(3)}
            out, kept = net.apply({"params": params, **stats}, x, train=True, rngs=key, mutable=["batch_stats"])
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), (out, kept)

        both = jax.value_and_grad(loss, has_aux=True)
        recomputed.append(str(jax.make_jaxpr(both)(params, variables, x)).count("remat"))
        found.append(quickly(both, params, variables, x)(params, variables, x))
    assert recomputed[0] < recomputed[1]
    most = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(found[0][1]))  # some are 0 but for rounding
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * most), *found)
