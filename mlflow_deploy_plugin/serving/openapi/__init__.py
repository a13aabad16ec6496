"""What the endpoint says of itself to programs and to people: an OpenAPI document, and a page that shows it. Pure.

:mod:`.schemas` turns the model's signature into JSON Schema, :mod:`.examples` finds a row that works,
:mod:`.operations` knows what each protocol's routes take and answer, :mod:`.document` puts them together. A protocol
that :mod:`.operations` does not know is listed all the same, with its routes and statuses.
"""

from mlflow_deploy_plugin.serving.openapi.document import document

__all__ = ["document"]
