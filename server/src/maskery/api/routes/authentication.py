"""Authentication routes of the reference SDK's releases."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from maskery.api.container import ContainerDependency
from maskery.api.dependencies import authenticate_key
from maskery.api.errors import ApiError, responses
from maskery.api.requests.body import read_body, read_fields
from maskery.api.requests.json_object import parse_json_object
from maskery.api.schemas.openapi import token_body, validation_body

router = APIRouter(tags=["authentication"])

_MAX_BODY = 16 * 1024
_ERRORS = responses(400, 401, 403, 413, 415, 422, 503, 504)


class Validation(BaseModel):
    """The account of an API key."""

    organization_id: str = Field(description="The account.")
    valid: bool = True
    message: str = "The API key is valid."


class Token(BaseModel):
    """An OAuth token response."""

    access_token: str = Field(description="The API key itself.")
    token_type: str = "Bearer"  # noqa: S105 - OAuth's token type
    expires_in: int = Field(default=3600, description="Seconds until clients should request a token again.")


@router.post(
    "/authentication/validate",
    summary="Check a key",
    responses=_ERRORS,
    openapi_extra={"requestBody": validation_body(), "security": [{"HTTPBearer": []}, {}]},
)
async def validate(request: Request, container: ContainerDependency) -> Validation:
    """Reads the key from the Authorization header or, as older clients send it, from `api_key` in the body."""
    body = await read_body(request, _MAX_BODY, container.settings.default_timeout)
    named = parse_json_object(body.json).get("api_key", "") if body.json.strip() else ""
    if not isinstance(named, str):
        raise ApiError(422, "invalid_field", "api_key must be a string.", "api_key")
    header = request.headers.get("authorization", "")
    scheme, _, key = header.partition(" ")
    if scheme.lower() != "bearer" or not key:
        key = named
    return Validation(organization_id=(await authenticate_key(container, key.strip(), header)).account)


@router.post(
    "/realms/airefinery-realm/protocol/openid-connect/token",
    summary="Exchange a key for a token",
    responses=_ERRORS,
    openapi_extra={"requestBody": token_body()},
)
async def token(request: Request, container: ContainerDependency) -> Token:
    """OAuth client credentials for SDK 1.10 to 1.12: `client_id` is the account, `client_secret` the key."""
    form = await read_fields(request, _MAX_BODY, container.settings.default_timeout)
    secret = form.get("client_secret")
    if form.get("grant_type") != "client_credentials" or secret is None:
        raise ApiError(
            400,
            "invalid_grant",
            "Send the form fields client_id (the account), client_secret (the key) and grant_type=client_credentials.",
        )
    account = (await authenticate_key(container, secret)).account
    if form.get("client_id") != account and not container.settings.anonymous:
        message = "The key belongs to another account than client_id."
        raise ApiError(401, "wrong_account", message, "client_id", {"WWW-Authenticate": "Bearer"})
    return Token(access_token=secret)
