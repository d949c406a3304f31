__all__ = ["run"]


def run(blocks, x, train, *, stack):
    """`x` after every block of a stage in turn."""
    for block in blocks:
        x = block(x, train)
    return x
