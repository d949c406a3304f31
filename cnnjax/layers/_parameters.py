import jax.numpy as jnp

__all__ = ["parameter"]


def parameter(module, name, init, shape):
    """The parameter of a module, made by `init` in float32 where it does not exist yet.

    Flax's own `param` traces the initialiser again at every call to learn its shape, which took two thirds of the time
    to trace a deep net; here the shape is known.
    """
    if not module.has_variable("params", name):
        return module.param(name, init, shape, jnp.float32)  # where JAX counts in 64 bits too
    value = module.get_variable("params", name)
    if value.shape != tuple(shape):
        path = "/".join((*module.path, name))
        raise ValueError(f"parameter {path} has shape {value.shape}; for this input and net it must be {tuple(shape)}")
    return value
