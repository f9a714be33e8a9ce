"""What the routes of administrators take and answer."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from maskery.accounts import Account, ApiKey, DailyUsage, Limits, check_account_name, check_key_name, parse_scopes

_STRICT = ConfigDict(extra="forbid", strict=True)
_HINT = "; null: the server's default for an account, none for a key; 0: no limit."


Value = TypeVar("Value")


def _passing(check: Callable[[Value], object]) -> AfterValidator:
    """What raises a ValueError is the field's fault."""

    def validate(value: Value) -> Value:
        check(value)
        return value

    return AfterValidator(validate)


AccountName = Annotated[str, _passing(check_account_name)]
KeyName = Annotated[str, _passing(check_key_name)]
Rights = Annotated[list[str], _passing(parse_scopes)]


class LimitsSchema(BaseModel):
    """Limits of an account or of a key; a request has to keep to both."""

    requests_per_minute: int | None = Field(None, ge=0, lt=2**31, description="Begun in any 60 seconds" + _HINT)
    images_per_minute: int | None = Field(
        None, ge=0, lt=2**31, description="New images encoded in any 60 seconds" + _HINT
    )
    concurrent_requests: int | None = Field(None, ge=0, lt=2**31, description="At a time" + _HINT)
    pixels_per_day: int | None = Field(None, ge=0, lt=2**53, description="Of new images, by days of UTC" + _HINT)


class LimitsChange(LimitsSchema):
    """Limits to be set; those that are not named stay as they are."""

    model_config = _STRICT

    def named(self) -> dict[str, int | None]:
        """Those that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    def limits(self) -> Limits:
        """Where nothing was set before."""
        return Limits(**self.named())


Changes = Annotated[LimitsChange, Field(default_factory=lambda: LimitsChange.model_validate({}))]


class KeysQuery(BaseModel):
    """Which keys are listed."""

    model_config = ConfigDict(extra="forbid")

    account: str | None = Field(None, description="Whose; all without it.")
    after: str | None = Field(None, description="Id of the last key of the page before.")
    limit: int = Field(100, ge=1, le=1000, description="Of how many.")


class UsageQuery(BaseModel):
    """Which usage is shown."""

    model_config = ConfigDict(extra="forbid")

    account: str | None = Field(None, description="Whose; all without it.")
    first: date | None = Field(None, description="First day, in UTC: YYYY-MM-DD.")
    last: date | None = Field(None, description="Last day.")


class AccountRequest(BaseModel):
    """A new account."""

    model_config = _STRICT

    name: AccountName = Field(description="Letters, digits, '.', '_', '@', '-' and spaces, at most 128.")
    limits: Changes


class AccountChange(BaseModel):
    """What is to be another way."""

    model_config = _STRICT

    disabled: bool | None = Field(None, description="Whether its keys are refused.")
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

    account: AccountName = Field(description="Whose it is; made when there is none of that name.")
    name: KeyName = Field("", max_length=128, description="What it is for.")
    scopes: Rights | None = Field(None, description="Of segment, metrics and admin; default segment and metrics.")
    days: float | None = Field(
        None, ge=0, le=36500, description="That it is good for; 0: for ever; default: the server's setting."
    )
    limits: Changes


class KeyChange(BaseModel):
    """What is to be another way."""

    model_config = _STRICT

    limits: LimitsChange


class RotationRequest(BaseModel):
    """How long the old key stays good."""

    model_config = _STRICT

    overlap_hours: float = Field(24, ge=0, le=24 * 365, description="Hours; 0: the old key is useless at once.")


class KeySchema(BaseModel):
    """What is kept of a key. Times are Unix seconds."""

    id: str = Field(description="The part of the key by which people tell keys apart.")
    account: str
    name: str
    scopes: list[str]
    state: str = Field(description="active, expired or revoked.")
    created: int
    expires: int | None
    revoked: int | None
    last_used: int | None = Field(description="To the minute.")
    limits: LimitsSchema

    @classmethod
    def of(cls, key: ApiKey) -> "KeySchema":
        return cls.model_validate(_key_values(key))


class NewKeySchema(KeySchema):
    """A key that was just made."""

    key: str = Field(description="The key itself. It is not kept and not shown again.")

    @classmethod
    def of_new(cls, key: ApiKey, text: str) -> "NewKeySchema":
        return cls.model_validate({**_key_values(key), "key": text})


class AccountList(BaseModel):
    """All accounts, oldest first."""

    data: list[AccountSchema]


class KeyList(BaseModel):
    """Keys, oldest first."""

    data: list[KeySchema]
    has_more: bool = Field(description="Whether there are more: ask again with `after` set to the last id.")


class UseSchema(BaseModel):
    """What an account used on a day, in UTC."""

    account: str
    day: date
    requests: int = Field(description="That were let in.")
    images: int = Field(description="That were encoded; one that is known already costs nothing.")
    objects: int = Field(description="That were segmented.")
    pixels: int = Field(description="Of the encoded images.")
    seconds: float = Field(description="That the server worked on it.")

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
    """By day and account."""

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
