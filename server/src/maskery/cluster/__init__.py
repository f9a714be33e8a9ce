"""The server's application as a deployment of Ray Serve: the same engine in each replica, images routed to the one
that knows them. `serve run maskery.cluster:app`, `deploy/ray-serve.yaml` and `maskery cluster` run it.
"""

import os

# Ray reads these when it is imported, and its processes inherit them from the one that starts them: no usage
# statistics, errors of the API from its proxies, every line of the log.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "maskery.cluster.proxy:middlewares",
    "RAY_DEDUP_LOGS": "0",
}.items():
    os.environ.setdefault(_name, _value)

from maskery.cluster.deployment import app, deployment  # noqa: E402

__all__ = ["app", "deployment"]
