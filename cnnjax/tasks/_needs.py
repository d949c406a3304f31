"""What a task of boxes wants of a net, and what is said where it is not there."""

from collections.abc import Mapping

import jax

__all__ = ["outputs_with"]


def outputs_with(wanted: tuple[Mapping[str, str], str], task: str, outputs: jax.Array | Mapping) -> Mapping:
    """Outputs that have all that a task asks for, or an error; `wanted` are names and their shapes, and a net."""
    needs, net = wanted
    if not isinstance(outputs, Mapping) or not set(needs) <= set(outputs):
        given = f"a dict of {', '.join(outputs)}" if isinstance(outputs, Mapping) else f"an array {outputs.shape}"
        raise ValueError(
            f"the net gives {given}; {task} needs {', '.join(f'{name} {shape}' for name, shape in needs.items())}; "
            f"choose another model.name, such as {net}"
        )
    return outputs
