"""The handbook in the console: runbooks and the rest of docs/, so that an alert's link opens."""

from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

FOLDER = Path(__file__).resolve().parents[1] / "docs"


def find(path: str, suffix: str) -> Path:
    """The file below docs/; 404 for anything else, wherever it may be."""
    try:
        file = (FOLDER / path).resolve()
        if file.suffix == suffix and file.is_relative_to(FOLDER) and file.is_file():
            return file
    except (OSError, ValueError):  # a name that is too long, or holds what no name can
        pass
    raise HTTPException(404, "no such page")


def add_pictures(app: FastAPI) -> None:
    """Serve the pictures of docs/ beside its pages."""

    @app.get("/docs/images/{name}", include_in_schema=False)
    async def picture(name: str) -> FileResponse:
        return FileResponse(find(f"images/{name}", ".png"))
