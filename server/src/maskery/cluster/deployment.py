"""The deployment: how many replicas there are, how requests are routed to them, how they are checked and stopped."""

from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.schema import LoggingConfig

from maskery.cluster.replica import Replica, build

# Above what an engine admits (`MASKERY_WORKERS` and `MASKERY_MAX_QUEUE`): requests wait in the engine's fair queue,
# where prompts for one image share a call, and an engine that is full answers 503 with an estimate of the time.
_MAX_ONGOING_REQUESTS = 2000

_QUIET = LoggingConfig(enable_access_log=False, log_level="WARNING")

_deployment = serve.deployment(
    name="Maskery",
    max_ongoing_requests=_MAX_ONGOING_REQUESTS,
    request_router_config=RequestRouterConfig(
        request_router_class="maskery.cluster.router:ImageRouter",
        # A replica that is not the image's would encode it again, and does not know the ids of prepared images.
        request_router_kwargs={"num_fallback_replicas": 0, "num_virtual_nodes": 400},
    ),
    health_check_period_s=5,
    health_check_timeout_s=30,
    graceful_shutdown_wait_loop_s=0.5,
    # What fails three times, such as a model that is not installed, is for a person to put right.
    max_constructor_retry_count=3,
    logging_config=_QUIET,
)(serve.ingress(build)(Replica))

# Memory of images is lost with a replica, so they are removed slowly.
_AUTOSCALING = AutoscalingConfig(
    min_replicas=1, max_replicas=8, target_ongoing_requests=4, upscale_delay_s=15, downscale_delay_s=600
)


def deployment(replicas: int | None = None, grace_period: float = 30.0, processors: float = 1) -> Application:
    """The application, to be deployed.

    Args:
        replicas: number of replicas. None: 1 to 8, by the number of requests in flight.
        grace_period: seconds that requests have to finish when a replica is stopped.
        processors: that Ray reserves for a replica. If they change, replicas are replaced one after the other.
    """
    count = {"autoscaling_config": _AUTOSCALING} if replicas is None else {"num_replicas": replicas}
    options = _deployment.options(
        **count,
        graceful_shutdown_timeout_s=grace_period,
        ray_actor_options={"num_cpus": processors},
    )
    return options.bind()


app = deployment()
