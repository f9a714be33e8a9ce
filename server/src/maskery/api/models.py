"""GET /v1/models: what can be asked for."""

from fastapi import APIRouter

from maskery.api import schemas
from maskery.api.errors import ErrorResponse
from maskery.api.services import Account, ServicesDependency
from maskery.segmentation import Model

router = APIRouter(tags=["models"])


@router.get(
    "/v1/models",
    summary="List models",
    responses={401: {"model": ErrorResponse, "description": "No API key, or one that is not known"}},
)
async def list_models(services: ServicesDependency, account: Account) -> schemas.ModelListSchema:
    """The installed models, and the names that stand for one of them."""
    registry = services.engine.models
    names = [*registry.installed(), *registry.aliases]
    return schemas.ModelListSchema(data=[_listing(name, registry.get(name)) for name in names])


def _listing(name: str, model: Model) -> schemas.ModelSchema:
    permission = schemas.PermissionSchema(id=f"modelperm-{name.replace('/', '-')}", created=model.created)
    return schemas.ModelSchema(
        id=name, created=model.created, owned_by=model.owned_by, root=model.name, permission=[permission]
    )
