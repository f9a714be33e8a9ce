"""`maskery accounts`, `keys`, `usage` and `db`."""

import csv
import io
import re
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import fails, maskery, succeeds

from maskery.accounts import AccountStore, Usage
from maskery.accounts.keys import parse_key_id, verify_secret

# Longer than a line of any terminal.
LONG = "a-very-long-name-" + "x" * 100

KEY = re.compile(r"mk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}\n")


def rows(table: str) -> list[str]:
    return table.splitlines()[1:]


def test_a_key_is_printed_alone_and_notes_about_it_on_standard_error(store: AccountStore) -> None:
    made = maskery("keys", "create", "--account", "team", "--name", "the camera")
    assert KEY.fullmatch(made.stdout)
    assert re.search(r"Key [0-9a-f]{12} of account team expires 20\d\d-\d\d-\d\d \d\d:\d\d UTC", made.stderr)
    assert "not shown again" in made.stderr
    quiet = maskery("keys", "create", "--account", "team", "--expires", "never", "-q")
    assert KEY.fullmatch(quiet.stdout)
    assert quiet.stderr == ""
    first, second = store.keys.list()
    assert (first.name, first.scopes) == ("the camera", ("segment", "metrics"))
    assert first.expires == pytest.approx(time.time() + 90 * 86400, abs=120)
    assert second.expires is None
    for text in (made.stdout.strip(), quiet.stdout.strip()):
        key_id = parse_key_id(text) or ""
        assert verify_secret(store.keys.find_records([key_id])[key_id], text)


def test_a_key_has_the_scopes_lifetime_and_limits_of_its_options(store: AccountStore) -> None:
    options = ("--scopes", " admin ,segment", "--expires", "1.5", "--limit", "requests-per-minute=60")
    succeeds("keys", "create", "--account", "team", *options, "--limit", "pixels-per-day=none")
    (key,) = store.keys.list()
    assert key.scopes == ("segment", "admin")
    assert key.expires == pytest.approx(key.created + 1.5 * 86400)
    assert (key.limits.requests_per_minute, key.limits.pixels_per_day) == (60, 0)
    succeeds("keys", "create", "--account", "team", MASKERY_KEY_DAYS="0")
    assert store.keys.list()[1].expires is None


def test_keys_are_listed_without_secrets_in_every_state(store: AccountStore) -> None:
    names = {name: store.keys.create(name) for name in ("active", "expiring", "revoked", "expired")}
    store.keys.rotate(names["expiring"][0].id, 3600)
    store.keys.revoke(names["revoked"][0].id)
    store.keys.rotate(names["expired"][0].id, 0)
    store.keys.record_uses({names["active"][0].id: 1_800_000_000.0})
    listed = succeeds("keys", "list")
    assert listed.splitlines()[0].split() == [
        "id",
        "account",
        "name",
        "scopes",
        "created",
        "last",
        "used",
        "state",
        "limits",
    ]
    assert "2027-01-15 08:00" in listed
    for name, state in (
        ("active", " active"),
        ("expiring", "until 2"),
        ("revoked", "revoked 2"),
        ("expired", "expired"),
    ):
        key, text = names[name]
        (row,) = [row for row in rows(listed) if row.startswith(key.id)]
        assert state in row
        assert text not in listed
        assert text[16:] not in listed
    assert len(rows(listed)) == 6
    assert len(rows(succeeds("keys", "list", "--account", "active"))) == 1
    assert rows(succeeds("keys", "list", "--account", "unknown")) == []


def test_tables_in_a_pipe_are_not_cut(store: AccountStore) -> None:
    limits = ("requests-per-minute=2000000000", "pixels-per-day=9000000000000000", "concurrent-requests=2000000000")
    succeeds("accounts", "create", LONG, *(f"--limit={limit}" for limit in limits))
    key, _ = store.keys.create(LONG, "n" * 128, ["segment", "metrics", "admin"])
    store.usage.add({(LONG, datetime.now(UTC).date()): Usage(2**62, 2**62, 2**62, 2**62, 1e12)})
    for table in (succeeds("accounts", "list"), succeeds("keys", "list"), succeeds("usage")):
        (row,) = rows(table)
        assert LONG in row
    assert f"{2**62:,}" in succeeds("usage")
    assert "9000000000000000 pixels/day" in succeeds("accounts", "list")
    (row,) = rows(succeeds("keys", "list"))
    assert row.startswith(key.id)
    assert "n" * 128 in row
    assert "segment, metrics, admin" in row


def test_a_key_is_limited_rotated_and_revoked(store: AccountStore) -> None:
    old = succeeds("keys", "create", "--account", "team", "-q").strip()
    old_id = old.split("_")[1]
    said = succeeds("keys", "limit", old_id, "images-per-minute=5", "concurrent-requests=none")
    assert said == f"Limits of key {old_id}: 5 images/min, none at a time.\n"
    rotated = maskery("keys", "rotate", old_id, "--overlap", "2")
    assert KEY.fullmatch(rotated.stdout)
    assert "stays valid for 2 hours" in rotated.stderr
    new_id = rotated.stdout.split("_")[1]
    new = store.keys.get(new_id)
    assert new.limits == store.keys.get(old_id).limits
    assert store.keys.get(old_id).expires == pytest.approx(time.time() + 7200, abs=120)
    quiet = maskery("keys", "rotate", new_id, "-q")
    assert KEY.fullmatch(quiet.stdout)
    assert quiet.stderr == ""
    # People paste the whole of it.
    revoked = succeeds("keys", "revoke", old)
    assert revoked == f"Key {old_id} of account team revoked.\n"
    assert store.keys.get(old_id).state == "revoked"


def test_an_account_is_created_limited_disabled_and_enabled(store: AccountStore) -> None:
    said = succeeds("accounts", "create", "a team", "--limit", "requests-per-minute=60")
    assert said == "Account a team created. Limits: 60 requests/min.\n"
    said = succeeds("accounts", "limit", "a team", "requests-per-minute=default", "pixels-per-day=none")
    assert said == "Limits of account a team: none pixels/day.\n"
    assert succeeds("accounts", "disable", "a team") == "Account a team disabled.\n"
    assert store.accounts.get("a team").disabled is not None
    assert "disabled 20" in succeeds("accounts", "list")
    assert succeeds("accounts", "enable", "a team") == "Account a team enabled.\n"
    (row,) = rows(succeeds("accounts", "list"))
    assert row.split()[:2] == ["a", "team"]
    assert "active" in row


def test_usage_is_shown_by_day_and_account(store: AccountStore) -> None:
    today = datetime.now(UTC).date()
    for account in ("a", "b"):
        store.usage.add({(account, today - timedelta(days=days)): Usage(1000, 2, 3, 4, 5.25) for days in (0, 40)})
    assert len(rows(succeeds("usage"))) == 2
    (row,) = rows(succeeds("usage", "--account", "b"))
    assert row.split() == [today.isoformat(), "b", "1,000", "2", "3", "4", "5.2"]
    first = (today - timedelta(days=50)).isoformat()
    assert len(rows(succeeds("usage", "--first", first))) == 4
    assert len(rows(succeeds("usage", "--first", first, "--last", (today - timedelta(days=1)).isoformat()))) == 2
    found = list(csv.DictReader(io.StringIO(succeeds("usage", "--csv", "--account", "a", "--first", first))))
    assert [date.fromisoformat(row["day"]) for row in found] == [today - timedelta(days=40), today]
    assert found[0] == {**found[0], "account": "a", "requests": "1000", "pixels": "4", "seconds": "5.250"}
    assert succeeds("usage", "--csv", "--account", "unknown").splitlines() == [",".join(found[0])]


def test_the_database_is_upgraded(own_home: Path) -> None:
    file = own_home / "maskery.db"
    assert f"the first command that needs {file} creates it" in maskery("db", "revision").stderr
    assert not file.exists()
    assert succeeds("db", "upgrade") == f"sqlite:///{file} was upgraded to revision 0003.\n"
    assert succeeds("db", "upgrade") == f"sqlite:///{file} is already at revision 0003.\n"
    assert succeeds("db", "revision") == f"sqlite:///{file} is at revision 0003; this release needs 0003.\n"


def test_the_database_of_the_settings_is_used(postgres_url: str, own_home: Path) -> None:
    named = {"MASKERY_DATABASE_URL": postgres_url.replace("maskery@", "maskery:open-sesame@")}
    assert "was upgraded to revision" in (said := succeeds("db", "upgrade", **named))
    assert "sesame" not in said
    succeeds("keys", "create", "--account", "team", **named)
    assert len(rows(succeeds("keys", "list", **named))) == 1
    assert not (own_home / "maskery.db").exists()


MISTAKES = {
    "keys create --account <b>": "not a valid account name",
    "keys create --account team --scopes fly": "unknown scope 'fly'",
    "keys create --account team --scopes ,": "at least one scope",
    "keys create --account team --expires 0": "--expires",
    "keys create --account team --expires nan": "--expires",
    "keys create --account team --expires soon": "--expires",
    "keys create --account team --limit requests=5": "NAME=N",
    "keys create --account team --limit requests-per-minute=0": "above 0",
    "keys create --account team --limit requests-per-minute=-5": "above 0",
    "keys create --account team --limit requests-per-minute=9999999999": "requests_per_minute",
    "keys create --account team --limit pixels-per-day=" + "9" * 5000: "limit",
    "keys limit 000000000000 requests-per-minute=5": "no active key",
    "keys rotate 000000000000": "no active key",
    "keys rotate 000000000000 --overlap nan": "0 seconds or more",
    "keys revoke mk_000000000000_" + "s" * 43: "'000000000000'",
    "accounts create a/b": "not a valid account name",
    "accounts create there": "already",
    "accounts limit unknown requests-per-minute=5": "accounts list",
    "accounts limit there requests-per-minute=many": "above 0",
    "accounts disable unknown": "does not exist",
    "accounts enable unknown": "does not exist",
    "usage --first 2026-03-02 --last 2026-03-01": "before the first day",
}


def test_a_mistake_is_one_sentence(store: AccountStore) -> None:
    store.accounts.create("there")
    before: list[Any] = [store.accounts.list(), store.keys.list()]
    for command, said in MISTAKES.items():
        message = fails(*command.split())
        assert said in message, command
        assert "s" * 43 not in message
    assert [store.accounts.list(), store.keys.list()] == before


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_database_that_cannot_be_used_is_one_sentence(scheme: str) -> None:
    commands = ("keys list", "accounts list", "usage", "db upgrade", "db revision", "serve --port 0")
    url = f"{scheme}://me:open-sesame@127.0.0.1:1/accounts"
    for command in commands:
        message = fails(*command.split(), MASKERY_DATABASE_URL=url)
        assert "postgresql" in message
        assert "sesame" not in message


def test_a_wrong_address_of_a_redis_is_one_sentence() -> None:
    message = fails("serve", "--port", "0", MASKERY_REDIS_URL="http://me:open-sesame@host")
    assert "MASKERY_REDIS_URL" in message
    assert "redis://" in message
    assert "sesame" not in message
