"""redis."""


def instrument() -> None:
    """Install."""
