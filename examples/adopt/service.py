"""A service in ten lines, three of them for plainview."""

from fastapi import FastAPI

from plainview import ObservabilitySettings, get_logger, observe

app = FastAPI()


@app.get("/hello/{name}")
async def hello(name: str) -> dict[str, str]:
    """Greet, and say so in the log."""
    get_logger().info("hello.said", name=name)
    return {"hello": name}


observe(app, ObservabilitySettings(service_name="hello"))
