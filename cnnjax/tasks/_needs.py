"""What a task of boxes wants of a net and of data, and what is said where it is not there."""

from collections.abc import Mapping

import jax

from cnnjax.fields import Facts

__all__ = ["outputs_with", "refuse_without"]


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


def refuse_without(facts: Facts, task: str, giver: str, *words: str) -> None:
    """Refuses data without all of the words and names of classes; `giver` says who gives them."""
    missing = [word for word in words if word not in facts.fields]
    if missing or not facts.classes:
        raise ValueError(
            f"task.name is {task!r}, which needs {', '.join(words)} and names of the classes; the data has "
            f"{', '.join(facts.fields) or 'none of them'}\n{giver}; "
            "choose a data.name that has them, or another task.name"
        )
