"""/v1/admin: accounts, API keys and usage, for keys with the scope `admin`. Every change is logged."""

import logging
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response

from maskery.accounts import DEFAULT_SCOPES, strip_secret, to_csv
from maskery.api.container import ContainerDependency
from maskery.api.dependencies import Administrator
from maskery.api.errors import ApiError, responses
from maskery.api.requests.body import read_body
from maskery.api.requests.fields import Fields, parse_fields
from maskery.api.requests.json_object import parse_json_object
from maskery.api.schemas import admin as schemas
from maskery.api.schemas.openapi import object_body

router = APIRouter(prefix="/v1/admin", tags=["administration"])

_log = logging.getLogger("maskery.audit")

_MAX_BODY = 16 * 1024
_REFUSED = (401, 403, 503)
_READ = responses(*_REFUSED)
_FOUND = responses(*_REFUSED, 404)
_WRITTEN = responses(400, *_REFUSED, 404, 413, 415, 422, 504)

Answer = TypeVar("Answer")


class AdminRequest:
    """A request of an administrator: its body, the accounts database, and the log of changes."""

    def __init__(self, request: Request, container: ContainerDependency, caller: Administrator) -> None:
        self.headers = request.headers
        self.settings = container.settings
        self.store = container.account_service.store
        self._request = request
        self.service = container.account_service
        self._caller = caller

    async def read(self, kind: type[Fields]) -> Fields:
        """The fields of the body."""
        body = await read_body(self._request, _MAX_BODY, self.settings.default_timeout)
        return parse_fields(parse_json_object(body.json or b"{}"), kind)

    async def run(self, work: Callable[[], Answer], param: str | None = None) -> Answer:
        """Run database work in a thread.

        Args:
            param: the field to name if the repository raises ValueError.

        Raises:
            ApiError: 422; the repository refused a value.
        """
        try:
            return await self.service.executor.run(work)
        except ValueError as error:
            message = str(error)
            raise ApiError(422, "invalid_field", f"{message[:1].upper()}{message[1:]}.", param) from None

    def log_change(self, message: str, *values: object) -> None:
        """Log a change, and drop cached keys so that it takes effect at once."""
        self.service.authenticator.invalidate()
        _log.info(message + ", by key %s of account %s", *values, self._caller.key_id, self._caller.account)


Admin = Annotated[AdminRequest, Depends()]


@router.get("/accounts", summary="List accounts", responses=_READ)
async def list_accounts(admin: Admin) -> schemas.AccountList:
    """Returns all accounts, oldest first."""
    accounts = await admin.run(admin.store.accounts.list)
    return schemas.AccountList(data=[schemas.AccountSchema.of(account) for account in accounts])


@router.post(
    "/accounts",
    status_code=201,
    summary="Create an account",
    responses=_WRITTEN,
    openapi_extra={"requestBody": object_body(schemas.AccountRequest)},
)
async def create_account(admin: Admin) -> schemas.AccountSchema:
    """Creating a key also creates its account; use this route to set limits before the first key exists."""
    fields = await admin.read(schemas.AccountRequest)
    account = await admin.run(lambda: admin.store.accounts.create(fields.name, fields.limits.limits()), "name")
    admin.log_change("account %r created", account.name)
    return schemas.AccountSchema.of(account)


@router.get("/accounts/{name}", summary="Show an account", responses=_FOUND)
async def show_account(name: str, admin: Admin) -> schemas.AccountSchema:
    """Returns the account's limits and whether it is disabled."""
    return schemas.AccountSchema.of(await admin.run(lambda: admin.store.accounts.get(name)))


@router.patch(
    "/accounts/{name}",
    summary="Change an account",
    responses=_WRITTEN,
    openapi_extra={"requestBody": object_body(schemas.AccountChange)},
)
async def change_account(name: str, admin: Admin) -> schemas.AccountSchema:
    """Sets limits; disables or enables the account. Takes effect at once here, within five seconds on other servers."""
    fields = await admin.read(schemas.AccountChange)
    account = await admin.run(lambda: admin.store.accounts.update(name, fields.limits.named(), fields.disabled))
    admin.log_change("account %r changed: disabled=%s %s", name, fields.disabled, fields.limits.named())
    return schemas.AccountSchema.of(account)


@router.get("/keys", summary="List keys", responses=responses(*_REFUSED, 404, 422))
async def list_keys(admin: Admin, query: Annotated[schemas.KeysQuery, Query()]) -> schemas.KeyList:
    """Returns keys, oldest first, including expired and revoked ones. Never returns their secrets."""
    keys = await admin.run(lambda: admin.store.keys.list(query.account, query.after, query.limit + 1))
    return schemas.KeyList(
        data=[schemas.KeySchema.of(key) for key in keys[: query.limit]], has_more=len(keys) > query.limit
    )


@router.post(
    "/keys",
    status_code=201,
    summary="Create a key",
    responses=_WRITTEN,
    openapi_extra={"requestBody": object_body(schemas.KeyRequest)},
)
async def create_key(admin: Admin) -> schemas.NewKeySchema:
    """The response contains the key, which is not shown again."""
    fields = await admin.read(schemas.KeyRequest)
    seconds = admin.settings.key_seconds if fields.days is None else fields.days * 86400 or None
    scopes = DEFAULT_SCOPES if fields.scopes is None else fields.scopes
    limits = fields.limits.limits()
    key, text = await admin.run(lambda: admin.store.keys.create(fields.account, fields.name, scopes, seconds, limits))
    admin.log_change("key %s created for account %r with %s", key.id, key.account, ", ".join(key.scopes))
    return schemas.NewKeySchema.of_new(key, text)


@router.get("/keys/{id}", summary="Show a key", responses=_FOUND)
async def show_key(id: str, admin: Admin) -> schemas.KeySchema:  # noqa: A002
    """Never returns its secret."""
    return schemas.KeySchema.of(await admin.run(lambda: admin.store.keys.get(id)))


@router.patch(
    "/keys/{id}",
    summary="Change a key",
    responses=_WRITTEN,
    openapi_extra={"requestBody": object_body(schemas.KeyChange)},
)
async def change_key(id: str, admin: Admin) -> schemas.KeySchema:  # noqa: A002
    """Sets limits that apply in addition to those of the account."""
    fields = await admin.read(schemas.KeyChange)
    key = await admin.run(lambda: admin.store.keys.update(id, fields.limits.named()))
    admin.log_change("key %s changed: %s", key.id, fields.limits.named())
    return schemas.KeySchema.of(key)


@router.post(
    "/keys/{id}/rotate",
    status_code=201,
    summary="Replace a key",
    responses=_WRITTEN,
    openapi_extra={"requestBody": object_body(schemas.RotationRequest)},
)
async def rotate_key(id: str, admin: Admin) -> schemas.NewKeySchema:  # noqa: A002
    """Creates a key with the same account, name, scopes, limits and lifetime. The old key expires after the overlap."""
    fields = await admin.read(schemas.RotationRequest)
    key, text = await admin.run(lambda: admin.store.keys.rotate(id, fields.overlap_hours * 3600))
    admin.log_change("key %s replaced by %s", strip_secret(id), key.id)
    return schemas.NewKeySchema.of_new(key, text)


@router.delete("/keys/{id}", summary="Revoke a key", responses=_FOUND)
async def revoke_key(id: str, admin: Admin) -> schemas.KeySchema:  # noqa: A002
    """Takes effect at once here, within five seconds on other servers."""
    key = await admin.run(lambda: admin.store.keys.revoke(id))
    admin.log_change("key %s revoked", key.id)
    return schemas.KeySchema.of(key)


@router.get(
    "/usage",
    summary="Show usage",
    response_model=schemas.UsageList,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        **responses(*_REFUSED, 422),
    },
)
async def show_usage(admin: Admin, query: Annotated[schemas.UsageQuery, Query()]) -> Any:
    """Returns usage by day and account, as JSON or, with `Accept: text/csv`, as CSV."""
    if query.first and query.last and query.last < query.first:
        raise ApiError(422, "invalid_field", f"last is {query.last}, which is before first, {query.first}.", "last")
    await admin.service.usage_recorder.flush()
    uses = await admin.run(lambda: admin.store.usage.list(query.first, query.last, query.account))
    if "text/csv" in admin.headers.get("accept", ""):
        return Response(to_csv(uses), media_type="text/csv", headers={"Vary": "Accept"})
    return schemas.UsageList(data=[schemas.UseSchema.of(use) for use in uses])
