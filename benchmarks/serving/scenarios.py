"""The scenarios of every server, in order."""

from dataclasses import dataclass

from benchmarks.serving.workload import Workload

#: Numbers of concurrent clients.
CLIENT_COUNTS = (1, 4, 16)


@dataclass(frozen=True)
class Scenario:
    """A workload with its name.

    Attributes:
        key: in results.
        title: in tables.
        workload: the workload to measure.
        background: load in the background.
    """

    key: str
    title: str
    workload: Workload
    background: Workload | None = None

    @property
    def known(self) -> bool:
        """Whether a server with a cache knows these images."""
        return self.workload.target != "new" and self.key != "new"


@dataclass(frozen=True)
class Scale:
    """How much to measure.

    Attributes:
        images: number of known images.
        fewest_new: new images for a server without a cache.
        requests: of a client on known images, at most.
        seconds: of a workload on known images.
        new_seconds: of a workload of new images.
        click_seconds: of clicks with and without background load.
        patience: seconds; a workload whose first answers would take longer is skipped.
        model_seconds: of each task of the model without a server.
    """

    images: int
    fewest_new: int
    requests: int
    seconds: float
    new_seconds: float
    click_seconds: float
    patience: float
    model_seconds: float


SCALES = {
    "base": Scale(
        images=5,
        fewest_new=3,
        requests=50,
        seconds=4,
        new_seconds=10,
        click_seconds=16,
        patience=60,
        model_seconds=3,
    ),
    "small": Scale(
        images=4,
        fewest_new=3,
        requests=20,
        seconds=1.5,
        new_seconds=2,
        click_seconds=4,
        patience=15,
        model_seconds=1,
    ),
}

# Seconds between a mask and the next click: a very quick annotator.
_PAUSE = 0.1
_MAX_CLICKS = 400


def scenarios(scale: Scale, keeps: bool) -> list[Scenario]:
    """Args:
    keeps: whether the server caches embeddings; one that does not is measured with fewer requests.
    """
    first = scale.images if keeps else scale.fewest_new
    few = 3 if keeps else 2
    every = [
        # Sends the known images for the first time.
        Scenario("new", "a new image, 1 client", Workload(requests=first, min_requests=first, images=first)),
        Scenario(
            "known",
            "a known image, 1 client",
            Workload(requests=scale.requests, seconds=scale.seconds, min_requests=few),
        ),
        Scenario(
            "prepared",
            "a prepared image, 1 client",
            Workload(target="prepared", requests=scale.requests, seconds=scale.seconds, min_requests=few),
        ),
        Scenario(
            "eight",
            "8 objects on a known image, 1 client",
            Workload(requests=scale.requests, seconds=scale.seconds, min_requests=few, objects=8),
        ),
    ]
    for images, what in ((1, "one image"), (scale.images, "many images")):
        for clients in CLIENT_COUNTS:
            workload = Workload(
                clients=clients,
                requests=scale.requests * clients,
                seconds=scale.seconds,
                min_requests=max(clients, few),
                images=images,
            )
            if images > 1 or clients > 1:
                label = f"{what}, {clients} client{'s' * (clients > 1)}"
                every.append(Scenario(label, label.replace("images", "known images"), workload))
    every.append(
        Scenario(
            "new, 4 clients",
            "new images, 4 clients",
            Workload(target="new", clients=4, requests=100, seconds=scale.new_seconds, min_requests=4),
        )
    )
    click = Workload(requests=_MAX_CLICKS, seconds=scale.click_seconds, min_requests=few, pause=_PAUSE)
    others = Workload(target="new", requests=10**9)
    every.append(Scenario("idle", "clicks on a known image, nothing else", click))
    every.append(Scenario("loaded", "clicks on a known image, new images in the background", click, others))
    return every
