"""Model kinds. A predictor is known by the name that ``BentoSpec.predictor`` carries; adding one: a module and a line.

``pyfunc`` serves every MLflow model, and takes a straight path by itself where one is proven equal. ``compiled`` serves
what packaging has compiled, without MLflow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from mlflow_deploy_plugin.errors import ConfigError

if TYPE_CHECKING:
    from mlflow_deploy_plugin.serving.predictors.base import Loaded, Loader, LoadRequest

LOADERS: Final = {"pyfunc": "pyfunc", "compiled": "compiled"}
"""Registered name → module of this package with a function ``load``; imported only when it is asked for."""


def load(request: LoadRequest) -> Loaded:
    """The predictor that the Bento names.

    Raises:
        ConfigError: this version of the serving code does not know it.
        ModelError: the model cannot be loaded.
    """
    name = request.spec.predictor
    if name not in LOADERS:
        raise ConfigError(f"predictor {name!r} is not known; known: {', '.join(LOADERS)}; package the model again")
    module = import_module(f"{__name__}.{LOADERS[name]}")
    return cast("Loader", module.load)(request)
