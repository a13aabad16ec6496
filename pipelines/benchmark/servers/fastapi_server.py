"""A server as most people write it: FastAPI, one call of the model for each request. ``FOLDER PORT``."""

import sys
from typing import Any

import models
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Rows(BaseModel):
    """The request."""

    features: list[list[float]]


def make(folder: str) -> FastAPI:
    """The app; its model is loaded."""
    app, predict = FastAPI(), models.load(folder)

    @app.post("/predict")
    async def answer(rows: Rows) -> dict[str, Any]:
        return {"prediction": predict(rows.features).tolist()}

    return app


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
