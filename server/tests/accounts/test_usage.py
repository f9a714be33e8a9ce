"""Usage in the database."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

from maskery.accounts import AccountStore, DailyUsage, Usage, UsageRepository, to_csv

MONDAY, TUESDAY, WEDNESDAY = date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 4)


def total(usage: UsageRepository, account: str = "team") -> Usage:
    return sum((use.usage for use in usage.list(account=account)), Usage())


def test_usage_of_a_day_is_added_up(usage: UsageRepository) -> None:
    usage.add({("team", MONDAY): Usage(1, 2, 3, 4, 0.5)})
    usage.add({("team", MONDAY): Usage(10, 20, 30, 40, 0.25), ("team", TUESDAY): Usage(1), ("a", MONDAY): Usage(2)})
    usage.add({})
    assert usage.list() == [
        DailyUsage("a", MONDAY, Usage(2)),
        DailyUsage("team", MONDAY, Usage(11, 22, 33, 44, 0.75)),
        DailyUsage("team", TUESDAY, Usage(1)),
    ]


def test_list_filters_by_day_and_account(usage: UsageRepository) -> None:
    days = (MONDAY, TUESDAY, WEDNESDAY)
    usage.add({(account, day): Usage(1) for account in ("a", "b") for day in days})

    def found(**asked: date | str) -> list[tuple[str, date]]:
        return [(use.account, use.day) for use in usage.list(**asked)]  # type: ignore[arg-type]

    assert found(account="a") == [("a", day) for day in days]
    assert found(first=TUESDAY, last=TUESDAY) == [("a", TUESDAY), ("b", TUESDAY)]
    assert found(first=TUESDAY, account="b") == [("b", TUESDAY), ("b", WEDNESDAY)]
    assert found(last=MONDAY) == [("a", MONDAY), ("b", MONDAY)]
    assert found(first=WEDNESDAY, last=MONDAY) == found(account="other") == found(account="\0") == []


def test_sums_may_exceed_four_bytes(usage: UsageRepository) -> None:
    for _ in range(2):
        usage.add({("team", MONDAY): Usage(2**40, 2**40, 2**40, 2**60, 1e9)})
    assert total(usage) == Usage(2**41, 2**41, 2**41, 2**61, 2e9)


def test_concurrent_writes_of_several_servers_are_added_up(usage: UsageRepository, location: str | Path) -> None:
    accounts = [f"account {number}" for number in range(10)]
    others = [AccountStore.open(location) for _ in range(4)]

    def work(number: int) -> None:
        # In different orders, in which the transactions would deadlock.
        order = accounts if number % 2 else accounts[::-1]
        for _ in range(10):
            others[number].usage.add({(account, MONDAY): Usage(1, 0, 0, 0, 0.5) for account in order})

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(work, range(len(others))))
    for store in others:
        store.close()
    assert [use.usage for use in usage.list()] == [Usage(40, 0, 0, 0, 20.0)] * 10


def test_csv() -> None:
    text = to_csv([DailyUsage("a, b", MONDAY, Usage(1, 2, 3, 4, 0.12345)), DailyUsage("team", TUESDAY, Usage())])
    assert text.splitlines()[0] == "day,account,requests,images,objects,pixels,seconds"
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ["2026-03-02", "a, b", "1", "2", "3", "4", "0.123"],
        ["2026-03-03", "team", "0", "0", "0", "0", "0.000"],
    ]
    assert to_csv([]).splitlines() == text.splitlines()[:1]


def test_usage_persists(location: str | Path) -> None:
    for _ in range(2):
        store = AccountStore.open(location)
        store.usage.add({("team", MONDAY): Usage(1)})
        store.close()
    store = AccountStore.open(location)
    assert total(store.usage) == Usage(2)
    assert store.usage.list(first=MONDAY + timedelta(days=1)) == []
    store.close()
