"""The methods that the benchmarks call."""

__all__ = ["add", "add_async", "echo"]


def add(a: int, b: int) -> int:
    """Return the sum of two whole numbers."""
    return a + b


async def add_async(a: int, b: int) -> int:
    """Return the sum of two whole numbers."""
    return a + b


def echo(value):
    """Return what was given."""
    return value
