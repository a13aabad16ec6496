"""The text of ``mlflow deployments help -t modelserve``; the tables come from the fields that read ``-C``."""

from typing import Final

from mlflow_deploy_plugin.config.keys import (
    DeleteConfig,
    DeploymentConfig,
    EndpointConfig,
    Keys,
    RunLocalConfig,
    UpdateConfig,
    describe,
    keys,
)

_HEAD: Final = """\
modelserve serves MLflow models as Bentos, and git decides what is served: every command below is one commit in a
GitOps repository. On this machine an agent, started when needed, brings each commit to life behind one gateway.

TARGET URIS
  modelserve                                             this machine's own repository and agent
  modelserve:/path/to/repo?stage=staging                 any git repository on this machine
  modelserve:/ssh://git@host/repo.git?stage=production   any that git can push to (ssh, https, http, git, file)
  Options: stage (default production), branch (default main), gateway (URL that predictions go to),
  mode (direct, or pull-request: each change is pushed to a branch of its own, which a person merges),
  root (folder of the repository that the tree lies in; default: the repository itself).
  With a repository named, a command commits and pushes; Argo CD, Flux or another agent applies it (state: pending).

NAMES
  Deployments, endpoints and stages are DNS labels: a-z, 0-9 and '-', at most 50 characters.
  A deployment is one model version; an endpoint is one address that splits its users over deployments.

COMMANDS
  mlflow deployments create -t modelserve --name churn -m models:/churn/1
      one deployment, and the endpoint `churn` with all its users
  mlflow deployments create -t modelserve --name churn-v4 -m models:/churn/4 --endpoint churn -C weight=10
      a second version joins with 10 % of the users; a user keeps a version
  mlflow deployments update-endpoint -t modelserve --endpoint churn -C traffic=churn=75,churn-v4=25
  mlflow deployments update -t modelserve --name churn -m models:/churn/4
      another model under the same name, with no failed request
  mlflow deployments predict -t modelserve --endpoint churn -I rows.json     (--name churn-v4 asks that version)
  modelserve predict --endpoint churn -I rows.csv --user ada                 (takes what curl takes)
  mlflow deployments list|get|delete|list-endpoints|get-endpoint|delete-endpoint -t modelserve ...
  mlflow deployments run-local -t modelserve --name churn -m models:/churn/1 -C port=5000
  modelserve status | logs [NAME] [-f] | history NAME | stop

  `mlflow deployments create-endpoint` cannot work with any plugin in MLflow 3 (it passes --endpoint under another
  name). It is not needed: the first `create --endpoint NAME` makes the endpoint.
  `modelserve create-endpoint NAME -m URI` does the same in one command.
  `delete` is refused while a deployment has users, unless it is its endpoint's only one (then both go).
  --flavor is python_function, or nothing.
"""

_TAIL: Final = """\
ENVIRONMENT
  MODELSERVE_HOME      folder of everything that belongs to this machine (default ~/.modelserve)
  MODELSERVE_PORT      port of the gateway (default 8080)
  MODELSERVE_STAGE     stage that this machine's agent serves (default production)
  MODELSERVE_USER_ID   x-user-id of predictions made by these commands, so that they keep a version
  MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT, MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT
                       seconds that one try and all tries of a prediction may take (120, 600)
  MLFLOW_TRACKING_URI  registry that model URIs are resolved in; only create, update and run-local need it

EXIT CODES
  0 done or nothing to do, 2 something to mend, 3 a program failed, 75 try again later
"""

_TABLES: Final[tuple[tuple[str, type[Keys]], ...]] = (
    ("create", DeploymentConfig),
    ("update-endpoint", EndpointConfig),
    ("delete", DeleteConfig),
    ("run-local", RunLocalConfig),
)


def target_help() -> str:
    """The whole help."""
    others = ", ".join(sorted({k.name for k in keys(DeploymentConfig)} - {k.name for k in keys(UpdateConfig)}))
    update = f"KEYS OF update (-C KEY=VALUE)\n  Those of create without {others}. What is not named stays as it is.\n"
    tables = [f"KEYS OF {title} (-C KEY=VALUE)\n{_indented(describe(table))}\n" for title, table in _TABLES]
    return "\n".join((_HEAD, tables[0], update, *tables[1:], _TAIL))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
