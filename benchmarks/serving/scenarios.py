"""What is asked of every server, in this order."""

from dataclasses import dataclass

from benchmarks.serving.work import Work

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
        """Whether a server that keeps pictures has seen these."""
        return self.work.target != "new" and self.key != "new"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        pictures: that become known.
        fewest_new: new pictures of a server that keeps none.
        requests: of a client on known pictures, at most.
        seconds: of a load on known pictures.
        new_seconds: of a load of new pictures.
        click_seconds: of clicks while pictures are encoded, and when not.
        patience: seconds; a crowd whose first answers would take longer is not sent.
        alone_seconds: of each task of the model alone.
    """

    pictures: int
    fewest_new: int
    requests: int
    seconds: float
    new_seconds: float
    click_seconds: float
    patience: float
    alone_seconds: float


SCALES = {
    "base": Scale(
        pictures=5,
        fewest_new=3,
        requests=50,
        seconds=4,
        new_seconds=10,
        click_seconds=16,
        patience=60,
        alone_seconds=3,
    ),
    "small": Scale(
        pictures=4,
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
    keeps: whether the server knows a picture again; from one that does not, few answers are waited for.
    """
    first = scale.pictures if keeps else scale.fewest_new
    few = 3 if keeps else 2
    every = [
        # The first time that the known pictures are sent.
        Scenario("new", "a new picture, 1 client", Work(requests=first, least=first, pictures=first)),
        Scenario("known", "a known picture, 1 client", Work(requests=scale.requests, seconds=scale.seconds, least=few)),
        Scenario(
            "prepared",
            "a prepared picture, 1 client",
            Work(target="prepared", requests=scale.requests, seconds=scale.seconds, least=few),
        ),
        Scenario(
            "eight",
            "8 objects on a known picture, 1 client",
            Work(requests=scale.requests, seconds=scale.seconds, least=few, objects=8),
        ),
    ]
    for pictures, what in ((1, "one picture"), (scale.pictures, "many pictures")):
        for clients in CROWDS:
            work = Work(
                clients=clients,
                requests=scale.requests * clients,
                seconds=scale.seconds,
                least=max(clients, few),
                pictures=pictures,
            )
            if pictures > 1 or clients > 1:
                label = f"{what}, {clients} client{'s' * (clients > 1)}"
                every.append(Scenario(label, label.replace("pictures", "known pictures"), work))
    every.append(
        Scenario(
            "new, 4 clients",
            "new pictures, 4 clients",
            Work(target="new", clients=4, requests=100, seconds=scale.new_seconds, least=4),
        )
    )
    click = Work(requests=_MOST_CLICKS, seconds=scale.click_seconds, least=few, pause=_PAUSE)
    others = Work(target="new", requests=10**9)
    every.append(Scenario("idle", "clicks on a known picture, nothing else", click))
    every.append(Scenario("loaded", "clicks on a known picture, new ones meanwhile", click, others))
    return every
