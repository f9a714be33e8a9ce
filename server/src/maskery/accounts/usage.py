"""What accounts have used, by day."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from datetime import date

from sqlalchemy import select

from maskery.accounts.book import called
from maskery.accounts.database import Database, insert_into
from maskery.accounts.schema import usage


@dataclass(frozen=True)
class Amount:
    """How much.

    Attributes:
        requests: that were let in.
        pictures: that were encoded; one that is known already costs nothing.
        objects: that were segmented.
        pixels: of the encoded pictures.
        seconds: that the server worked on it, from the picture's file to the mask's; a call of the model that answers
            several requests counts for each.
    """

    requests: int = 0
    pictures: int = 0
    objects: int = 0
    pixels: int = 0
    seconds: float = 0.0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Use:
    """What an account used on a day, in UTC."""

    account: str
    day: date
    amount: Amount


class UsageBook:
    """All that was used, in the database. Every method raises `DatabaseError` where that does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, used: Mapping[tuple[str, date], Amount]) -> None:
        """Add what accounts used on days to what is there; all of it or nothing."""
        rows = [{"account": account, "day": day, **asdict(amount)} for (account, day), amount in used.items()]
        if not rows:
            return
        # In one order everywhere, so that two servers do not wait for each other's rows for ever.
        rows.sort(key=lambda row: (row["account"], row["day"]))
        with self._database.writing() as connection:
            insert = insert_into(connection, usage)
            names = [each.name for each in fields(Amount)]
            sums = {name: usage.c[name] + insert.excluded[name] for name in names}
            connection.execute(insert.on_conflict_do_update(index_elements=["account", "day"], set_=sums), rows)

    def list(self, first: date | None = None, last: date | None = None, account: str | None = None) -> list[Use]:
        """What was used, by day and account, from the first to the last day, both included."""
        query = select(usage).order_by(usage.c.day, usage.c.account)
        if first is not None:
            query = query.where(usage.c.day >= first)
        if last is not None:
            query = query.where(usage.c.day <= last)
        if account is not None:
            query = query.where(called(usage.c.account, account))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [Use(row[0], row[1], Amount(*row[2:])) for row in rows]


def to_csv(uses: Iterable[Use]) -> str:
    """A header and a line for each account and day, as RFC 4180 has it."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["day", "account", *(each.name for each in fields(Amount))])
    for use in uses:
        *counts, seconds = astuple(use.amount)
        writer.writerow([use.day.isoformat(), use.account, *counts, f"{seconds:.3f}"])
    return text.getvalue()
