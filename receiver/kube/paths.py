"""Where things are in the API: its groups, resources and names."""

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of thing: its API group ("" is the core group) and its plural."""

    group: str
    plural: str

    def __str__(self) -> str:
        """Return `deployments.apps`, as the API's own messages do (GroupResource.String)."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the path of one object, or of all: of a namespace, or with "" of the cluster."""
        parts = [f"/apis/{self.group}/v1" if self.group else "/api/v1"]
        if namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)


DEPLOYMENTS = Resource("apps", "deployments")
REPLICASETS = Resource("apps", "replicasets")
PODS = Resource("", "pods")
CONFIGMAPS = Resource("", "configmaps")
EVENTS = Resource("events.k8s.io", "events")
ACCESS_REVIEWS = Resource("authorization.k8s.io", "selfsubjectaccessreviews")
SUBJECT_REVIEWS = Resource("authorization.k8s.io", "subjectaccessreviews")
TOKEN_REVIEWS = Resource("authentication.k8s.io", "tokenreviews")
