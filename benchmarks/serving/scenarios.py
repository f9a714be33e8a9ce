"""What is asked of every server, in this order."""

from dataclasses import dataclass

from benchmarks.serving.workload import Work

#: Clients at the same time.
CROWDS = (1, 4, 16)


@dataclass(frozen=True)
class Scenario:
    """A load, and what it is called.

    Attributes:
        key: in results.
        title: in tables.
        work: that is measured.
        beside: that goes on meanwhile.
    """

    key: str
    title: str
    work: Work
    beside: Work | None = None

    @property
    def known(self) -> bool:
        """Whether a server that keeps images has seen these."""
        return self.work.target != "new" and self.key != "new"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        images: that become known.
        fewest_new: new images of a server that keeps none.
        requests: of a client on known images, at most.
        seconds: of a load on known images.
        new_seconds: of a load of new images.
        click_seconds: of clicks while images are encoded, and when not.
        patience: seconds; a crowd whose first answers would take longer is not sent.
        alone_seconds: of each task of the model alone.
    """

    images: int
    fewest_new: int
    requests: int
    seconds: float
    new_seconds: float
    click_seconds: float
    patience: float
    alone_seconds: float


SCALES = {
    "base": Scale(
        images=5,
        fewest_new=3,
        requests=50,
        seconds=4,
        new_seconds=10,
        click_seconds=16,
        patience=60,
        alone_seconds=3,
    ),
    "small": Scale(
        images=4,
        fewest_new=3,
        requests=20,
        seconds=1.5,
        new_seconds=2,
        click_seconds=4,
        patience=15,
        alone_seconds=1,
    ),
}

# Of a client that clicks: the time in which a person, very quick, looks at the mask.
_PAUSE = 0.1
_MOST_CLICKS = 400


def scenarios(scale: Scale, keeps: bool) -> list[Scenario]:
    """Args:
    keeps: whether the server knows an image again; from one that does not, few answers are waited for.
    """
    first = scale.images if keeps else scale.fewest_new
    few = 3 if keeps else 2
    every = [
        # The first time that the known images are sent.
        Scenario("new", "a new image, 1 client", Work(requests=first, least=first, images=first)),
        Scenario("known", "a known image, 1 client", Work(requests=scale.requests, seconds=scale.seconds, least=few)),
        Scenario(
            "prepared",
            "a prepared image, 1 client",
            Work(target="prepared", requests=scale.requests, seconds=scale.seconds, least=few),
        ),
        Scenario(
            "eight",
            "8 objects on a known image, 1 client",
            Work(requests=scale.requests, seconds=scale.seconds, least=few, objects=8),
        ),
    ]
    for images, what in ((1, "one image"), (scale.images, "many images")):
        for clients in CROWDS:
            work = Work(
                clients=clients,
                requests=scale.requests * clients,
                seconds=scale.seconds,
                least=max(clients, few),
                images=images,
            )
            if images > 1 or clients > 1:
                label = f"{what}, {clients} client{'s' * (clients > 1)}"
                every.append(Scenario(label, label.replace("images", "known images"), work))
    every.append(
        Scenario(
            "new, 4 clients",
            "new images, 4 clients",
            Work(target="new", clients=4, requests=100, seconds=scale.new_seconds, least=4),
        )
    )
    click = Work(requests=_MOST_CLICKS, seconds=scale.click_seconds, least=few, pause=_PAUSE)
    others = Work(target="new", requests=10**9)
    every.append(Scenario("idle", "clicks on a known image, nothing else", click))
    every.append(Scenario("loaded", "clicks on a known image, new ones meanwhile", click, others))
    return every
