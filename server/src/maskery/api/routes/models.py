"""GET /v1/models: the available models."""

from fastapi import APIRouter

from maskery.api.container import ContainerDependency
from maskery.api.dependencies import AnyCaller
from maskery.api.errors import responses
from maskery.api.schemas import segmentation as schemas
from maskery.models import Listing

router = APIRouter(tags=["models"])


@router.get(
    "/v1/models",
    summary="List models",
    responses=responses(401, 403, 503),
)
def list_models(container: ContainerDependency, caller: AnyCaller) -> schemas.ModelListSchema:
    """Returns the installed models and their aliases."""
    models = [_schema(listing) for listing in container.models.listings()]
    return schemas.ModelListSchema(data=models, first_id=models[0].id, last_id=models[-1].id)


def _schema(listing: Listing) -> schemas.ModelSchema:
    permission = schemas.PermissionSchema(id=f"modelperm-{listing.name.replace('/', '-')}", created=listing.created)
    return schemas.ModelSchema(
        id=listing.name,
        created=listing.created,
        owned_by=listing.owned_by,
        root=listing.root,
        permission=[permission],
    )
