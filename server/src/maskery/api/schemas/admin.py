"""Pydantic models of the admin API."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from maskery.accounts import Account, ApiKey, DailyUsage, Limits, check_account_name, check_key_name, parse_scopes

_STRICT = ConfigDict(extra="forbid", strict=True)
_HINT = "; null: the server's default for an account, no limit for a key; 0: no limit."


Value = TypeVar("Value")


def _passing(check: Callable[[Value], object]) -> AfterValidator:
    """A validator that keeps the value and reports a ValueError of `check`."""

    def validate(value: Value) -> Value:
        check(value)
        return value

    return AfterValidator(validate)


AccountName = Annotated[str, _passing(check_account_name)]
KeyName = Annotated[str, _passing(check_key_name)]
Scopes = Annotated[list[str], _passing(parse_scopes)]


class LimitsSchema(BaseModel):
    """Limits of an account or of a key. Both apply to every request."""

    requests_per_minute: int | None = Field(None, ge=0, lt=2**31, description="Requests in any 60 seconds" + _HINT)
    images_per_minute: int | None = Field(
        None, ge=0, lt=2**31, description="New images encoded in any 60 seconds" + _HINT
    )
    concurrent_requests: int | None = Field(None, ge=0, lt=2**31, description="Requests at the same time" + _HINT)
    pixels_per_day: int | None = Field(None, ge=0, lt=2**53, description="Pixels of new images per day (UTC)" + _HINT)


class LimitsChange(LimitsSchema):
    """Limits to set. Limits that are not sent stay unchanged."""

    model_config = _STRICT

    def named(self) -> dict[str, int | None]:
        """The limits that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def limits(self) -> Limits:
        """The limits of a new account or key."""
        return Limits(**self.named())


Changes = Annotated[LimitsChange, Field(default_factory=lambda: LimitsChange.model_validate({}))]


class KeysQuery(BaseModel):
    """Query parameters of the list of keys."""

    model_config = ConfigDict(extra="forbid")

    account: str | None = Field(None, description="Account name; default: all accounts.")
    after: str | None = Field(None, description="Id of the previous page's last key.")
    limit: int = Field(100, ge=1, le=1000, description="Keys per page.")


class UsageQuery(BaseModel):
    """Query parameters of the usage report."""

    model_config = ConfigDict(extra="forbid")

    account: str | None = Field(None, description="Account name; default: all accounts.")
    first: date | None = Field(None, description="First day, in UTC: YYYY-MM-DD.")
    last: date | None = Field(None, description="Last day, inclusive, in UTC: YYYY-MM-DD.")


class AccountRequest(BaseModel):
    """A new account."""

    model_config = _STRICT

    name: AccountName = Field(description="Letters, digits, '.', '_', '@', '-' and spaces, at most 128.")
    limits: Changes


class AccountChange(BaseModel):
    """Changes to an account."""

    model_config = _STRICT

    disabled: bool | None = Field(None, description="Whether its keys are rejected.")
    limits: Changes


class AccountSchema(BaseModel):
    """An account."""

    name: str
    created: int = Field(description="Unix seconds.")
    disabled: bool
    limits: LimitsSchema

    @classmethod
    def of(cls, account: Account) -> "AccountSchema":
        return cls(
            name=account.name,
            created=int(account.created),
            disabled=account.disabled is not None,
            limits=_limits(account.limits),
        )


class KeyRequest(BaseModel):
    """A new key."""

    model_config = _STRICT

    account: AccountName = Field(description="The key's account; created if it does not exist.")
    name: KeyName = Field("", max_length=128, description="What the key is for.")
    scopes: Scopes | None = Field(None, description="Any of segment, metrics and admin; default: segment and metrics.")
    days: float | None = Field(
        None, ge=0, le=36500, description="Days until it expires; 0: no expiry; default: the server's setting."
    )
    limits: Changes


class KeyChange(BaseModel):
    """Changes to a key."""

    model_config = _STRICT

    limits: LimitsChange


class RotationRequest(BaseModel):
    """How to replace a key."""

    model_config = _STRICT

    overlap_hours: float = Field(24, ge=0, le=24 * 365, description="Hours until the old key expires; 0: at once.")


class KeySchema(BaseModel):
    """An API key without its secret. Times are in Unix seconds."""

    id: str = Field(description="The key's public part.")
    account: str
    name: str
    scopes: list[str]
    state: str = Field(description="active, expired or revoked.")
    created: int
    expires: int | None
    revoked: int | None
    last_used: int | None = Field(description="With a resolution of one minute.")
    limits: LimitsSchema

    @classmethod
    def of(cls, key: ApiKey) -> "KeySchema":
        return cls.model_validate(_key_values(key))


class NewKeySchema(KeySchema):
    """A new API key."""

    key: str = Field(description="The key itself. It is not stored and not shown again.")

    @classmethod
    def of_new(cls, key: ApiKey, text: str) -> "NewKeySchema":
        return cls.model_validate({**_key_values(key), "key": text})


class AccountList(BaseModel):
    """All accounts, oldest first."""

    data: list[AccountSchema]


class KeyList(BaseModel):
    """Keys, oldest first."""

    data: list[KeySchema]
    has_more: bool = Field(description="Whether there is another page: request it with `after` set to the last id.")


class UseSchema(BaseModel):
    """The usage of an account on one day (UTC)."""

    account: str
    day: date
    requests: int = Field(description="Requests that passed authentication and rate limits.")
    images: int = Field(description="Encoded images; cached images do not count.")
    objects: int = Field(description="Segmented objects.")
    pixels: int = Field(description="Pixels of the encoded images.")
    seconds: float = Field(description="Seconds of processing, without waiting.")

    @classmethod
    def of(cls, use: DailyUsage) -> "UseSchema":
        amount = use.usage
        return cls(
            account=use.account,
            day=use.day,
            requests=amount.requests,
            images=amount.images,
            objects=amount.objects,
            pixels=amount.pixels,
            seconds=round(amount.seconds, 3),
        )


class UsageList(BaseModel):
    """Usage by day and account."""

    data: list[UseSchema]


def _limits(limits: Limits) -> LimitsSchema:
    return LimitsSchema(**vars(limits))


def _key_values(key: ApiKey) -> dict[str, object]:
    def whole(seconds: float | None) -> int | None:
        return None if seconds is None else int(seconds)

    return {
        "id": key.id,
        "account": key.account,
        "name": key.name,
        "scopes": list(key.scopes),
        "state": key.state,
        "created": int(key.created),
        "expires": whole(key.expires),
        "revoked": whole(key.revoked),
        "last_used": whole(key.last_used),
        "limits": _limits(key.limits),
    }
