"""Which fields of an example hold what a network sees."""

INPUTS = ("image", "video", "series")


def recolored(example, change):
    """`example` with `change` done to its image, video or series."""
    return {name: change(value) if name in INPUTS else value for name, value in example.items()}
