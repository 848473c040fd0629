"""What the API server says when it refuses: Status bodies (apimachinery pkg/api/errors)."""

from typing import Any

from receiver.sandbox.objects import Obj, Resource

# NewGenericServerResponse drops the detail of what failed: all a client sees of a failed `test`.
REJECTED = "the server rejected our request due to an error in our request"


class ApiError(Exception):
    """A refusal, as the API server words it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Obj | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after = retry_after

    def body(self) -> Obj:
        """Return the Status document."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        details = dict(self.details or {})
        if self.retry_after is not None:
            details["retryAfterSeconds"] = self.retry_after
        if self.details is not None or details:
            body["details"] = details
        return body


def _details(resource: Resource, name: str) -> Obj:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> ApiError:
    """Say that it is not there (NewNotFound)."""
    return ApiError(
        404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name)
    )


def already_exists(resource: Resource, name: str) -> ApiError:
    """Say that the name is taken (NewAlreadyExists)."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str | None = None) -> ApiError:
    """Say that a precondition is lost (NewConflict; registry.OptimisticLockErrorMsg)."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def invalid(kind: str, group: str, name: str, causes: list[Obj]) -> ApiError:
    """Say what validation found (NewInvalid). Each cause is {reason, message, field}."""
    faults = [f"{cause['field']}: {cause['message']}" for cause in causes]
    listed = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
    qualified = f"{kind}.{group}" if group else kind
    details = {"name": name, "group": group, "kind": kind}
    return ApiError(
        422,
        "Invalid",
        f'{qualified} "{name}" is invalid: {listed}',
        {key: value for key, value in details.items() if value} | {"causes": causes},
    )


def rejected() -> ApiError:
    """Say that a patch does not apply: 422 without causes (NewGenericServerResponse)."""
    return ApiError(422, "Invalid", REJECTED, {})


def bad_request(message: str) -> ApiError:
    """Say that it cannot be read (NewBadRequest)."""
    return ApiError(400, "BadRequest", message)


def expired(message: str) -> ApiError:
    """Say that this resourceVersion is gone (NewResourceExpired)."""
    return ApiError(410, "Expired", message)


def too_large(asked: int, current: int) -> ApiError:
    """Say that this resourceVersion is not there yet (storage NewTooLargeResourceVersionError)."""
    text = "Too large resource version"
    causes = [{"reason": "ResourceVersionTooLarge", "message": text}]
    message = f"{text}: {asked}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": causes}, retry_after=1)


def forbidden(
    user: str, verb: str, resource: Resource, subresource: str, namespace: str, name: str
) -> ApiError:
    """Say what this user may not do (apiserver responsewriters.Forbidden)."""
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    subject = f'{resource.qualified} "{name}"' if name else f"{resource.qualified}"
    message = (
        f'{subject} is forbidden: User "{user}" cannot {verb} resource "{what}" '
        f'in API group "{resource.group}" {where}'
    )
    return ApiError(403, "Forbidden", message, _details(resource, name))


def cause(reason: str, field: str, message: str) -> Obj:
    """Make one cause (field.Error)."""
    return {"reason": reason, "message": message, "field": field}
