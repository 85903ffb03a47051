"""Model servers on a cluster, one for each endpoint: what they are made of, and whether they come up.

Which generation is served is the lake's to say; these objects change only with the profile.
"""

from collections.abc import Callable, Iterable, Mapping

from tradewind.servers import deployment, kserve
from tradewind.servers.parts import Object, Wanted
from tradewind.servers.settings import OwnServer, Replicas

#: By kind: what is applied. One line for another kind.
KINDS: Mapping[str, Callable[[Wanted], Iterable[Object]]] = {
    "deployment": deployment.objects,
    "kserve": kserve.objects,
}

#: What the server's container is called, by any kind.
CONTAINERS = frozenset({deployment.CONTAINER, kserve.CONTAINER})

__all__ = ["CONTAINERS", "KINDS", "Object", "OwnServer", "Replicas", "Wanted"]
