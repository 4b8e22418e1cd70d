"""mongo."""


def instrument() -> None:
    """Install."""
