"""Edits a ``<deployment>.yaml`` in place: the scalars that differ, and the entries that come or go. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from mlflow_deploy_plugin.manifests import render
from mlflow_deploy_plugin.manifests.in_place import Place, insert_item, remove_item, set_values
from mlflow_deploy_plugin.manifests.model import Deployment
from mlflow_deploy_plugin.manifests.reading import Value, documents
from mlflow_deploy_plugin.manifests.scalars import Plain
from mlflow_deploy_plugin.spec import annotations

_MODEL_KEYS = (
    annotations.BENTO,
    annotations.MODEL_URI,
    annotations.MODEL_NAME,
    annotations.MODEL_VERSION,
    annotations.MODEL_DIGEST,
    annotations.RUN_ID,
    annotations.FLAVOR,
)


def normalised(deployment: Deployment) -> Deployment:
    """The deployment as reading its manifest gives it: the variables that say who it is are among the others."""
    variables = {key: text for key, text in render.environment(deployment).items() if key not in render.OUTSIDE}
    return replace(deployment, environment=variables)


def edited_deployment(text: str, before: Deployment, after: Deployment, *, file: str) -> str:
    """``text``, which says ``before``, as text that says ``after``."""
    kinds = [manifest.need("kind").text() for manifest in documents(file, text)]
    top = kinds.index("Deployment")
    containers = documents(file, text)[top].need("spec", "template", "spec", "containers").items()
    which = [container.need("name").text() for container in containers].index(render.CONTAINER)
    container: Place = (top, "spec", "template", "spec", "containers", which)
    notes = render.model_annotations(after.model)
    values: dict[Place, Plain | None] = {
        (top, "metadata", "annotations", key): notes.get(key)
        for key in _MODEL_KEYS
        if _stated(before, key) != notes.get(key)
    }
    if before.image != after.image:
        values[*container, "image"] = after.image
    if before.replicas != after.replicas:
        values[top, "spec", "replicas"] = after.replicas
    values |= _resource_values(before, after, (*container, "resources"), containers[which])
    text = set_values(text, values, file=file)
    return _with_environment(text, (*container, "env"), render.environment(before), render.environment(after), file)


def _stated(deployment: Deployment, key: str) -> str | None:
    return render.model_annotations(deployment.model).get(key)


def _resource_values(
    before: Deployment, after: Deployment, place: Place, container: Value
) -> dict[Place, Plain | None]:
    """The amounts that differ, on the sides where they are stated or belong; a side that says nothing more goes."""
    was, wanted = _amounts(before), _amounts(after)
    differ = [name for name in wanted if was[name] != wanted[name]]
    values: dict[Place, Plain | None] = {}
    for side, own in (("requests", {"cpu", "memory"}), ("limits", {"memory", render.GPU})):
        side_value = container.get("resources", side)
        stated = side_value.fields().keys() if side_value is not None else set()
        changed = {name: wanted[name] or None for name in differ if name in stated or (name in own and wanted[name])}
        if stated and stated <= {name for name, amount in changed.items() if amount is None}:
            values[*place, side] = None
        else:
            values |= {(*place, side, name): amount for name, amount in changed.items()}
    return values


def _amounts(deployment: Deployment) -> dict[str, str]:
    asked = deployment.resources
    return {"cpu": asked.cpu, "memory": asked.memory, render.GPU: str(asked.gpu) if asked.gpu else ""}


def _with_environment(text: str, place: Place, before: Mapping[str, str], after: Mapping[str, str], file: str) -> str:
    for name in [name for name in (*before, *after) if before.get(name) != after.get(name)]:
        names = _names(text, place, file)
        if name not in after:
            text = remove_item(text, place, names.index(name), file=file)
        elif name in names:
            text = set_values(text, {(*place, names.index(name), "value"): after[name]}, file=file)
        else:
            index = next((i for i, other in enumerate(names) if other > name), len(names))
            text = insert_item(text, place, index, {"name": name, "value": after[name]}, file=file)
    return text


def _names(text: str, place: Place, file: str) -> list[str]:
    value: Value | None = documents(file, text)[int(place[0])]
    for step in place[1:]:
        if value is None:
            return []
        value = value.items()[step] if isinstance(step, int) else value.get(step)
    return [entry.need("name").text() for entry in value.items()] if value is not None else []
