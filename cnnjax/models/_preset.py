import types

__all__ = ["preset"]


def preset[F](family: F, name: str, text: str, **defaults) -> F:
    """The function `family` under another name, with other defaults and its own first line of documentation.

    A variant is its family's function and nothing else: every option stays open, and its signature, from which configs
    are filled, says what the variant is.
    """
    unknown = set(defaults) - set(family.__kwdefaults__)
    if unknown:
        raise TypeError(f"{name} sets {sorted(unknown)}, which {family.__name__} does not have")
    variant = types.FunctionType(family.__code__, family.__globals__, name, family.__defaults__, family.__closure__)
    variant.__kwdefaults__ = {**family.__kwdefaults__, **defaults}
    variant.__annotations__ = dict(family.__annotations__)
    variant.__module__, variant.__qualname__, variant.__doc__ = family.__module__, name, text
    return variant
