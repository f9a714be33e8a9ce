"""Which replica gets a request: the one that knows its image."""

import random
from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter
from ray.serve.request_router import PendingRequest, ReplicaID, RunningReplica


class ImageRouter(ConsistentHashRouter):  # type: ignore[misc]
    """Chooses by a consistent hash of the header `x-session-id`.

    Requests without it go to the less busy of two random replicas (power of two choices).
    """

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ray's router takes the first replica that accepts the request; of several in one inner list, the least busy.

        While none accepts, Ray calls this again after a delay.
        """
        if pending_request is None or pending_request.metadata.session_id:
            ranked: list[list[Any]] = await super().choose_replicas(candidate_replicas, pending_request)
            return ranked
        pending_request.routing_context.should_backoff = True
        return [random.sample(candidate_replicas, min(2, len(candidate_replicas)))]

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        """Give the images of a lost replica to the others at once, and not when Ray's controller has noticed."""
        super().on_replica_actor_died(replica_id)
        self._rebuild_ring(frozenset(self._replica_id_set))
