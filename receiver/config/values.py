"""What a setting can hold: spans, sizes, names, matchers, and where a secret is."""

import ipaddress
import os
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from receiver import alerts as al
from receiver.alerts import Matcher
from receiver.ledger import RESERVED_FOR, Limit

MIB = 2**20
_SIZES = {"GiB": 2**30, "MiB": MIB, "KiB": 2**10, "GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}
_SPANS = (("h", 3600), ("m", 60), ("s", 1))
LONGEST = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Shown:
    """How a value of a type is written in the configuration."""

    write: Callable[[Any], str]


def span(value: timedelta) -> str:
    """Write a span as Prometheus does: `10m`, `250ms`."""
    if value % timedelta(seconds=1):
        return f"{value // timedelta(milliseconds=1)}ms"
    seconds = value // timedelta(seconds=1)
    unit, size = next((unit, size) for unit, size in _SPANS if seconds % size == 0)
    return f"{seconds // size}{unit}"


def size(value: int) -> str:
    """Write a size with the largest unit that divides it: `32MiB`."""
    unit, factor = next((unit, factor) for unit, factor in _SIZES.items() if value % factor == 0)
    return f"{value // factor}{unit}"


def _read_span(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("a duration is written with its unit, such as 90s or 10m")  # noqa: TRY004 - pydantic takes no other error
    return al.duration(value)


def _usual(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= LONGEST:
        raise ValueError("must be longer than 0 and at most a year")
    return value


def _read_size(value: Any) -> Any:
    match = re.fullmatch(r"(\d{1,9})\s*([A-Za-z]+)", value) if isinstance(value, str) else None
    if match is None or match[2] not in _SIZES:
        raise ValueError("a size is written with its unit, such as 32MiB")
    return int(match[1]) * _SIZES[match[2]]


def _namespace(value: str) -> str:
    if not al.is_namespace(value):
        raise ValueError("is no name of a namespace")
    return value


def _service_account(value: str) -> str:
    namespace, slash, name = value.partition("/")
    if not slash or not al.is_namespace(namespace) or not al.is_name(name):
        raise ValueError("names a ServiceAccount as NAMESPACE/NAME")
    return value


def _audience(value: str) -> str:
    if not re.fullmatch(r"[!-~]{1,253}", value):
        raise ValueError("an audience is one word, such as rollback-receiver")
    if re.match(r"(https?://)?kubernetes(\.default|/|:|$)", value):
        raise ValueError("is the API server's own: whoever sees such a token can use all of it")
    return value


def _verb(value: str) -> str:
    if not re.fullmatch(r"[a-z]([-a-z]{0,61}[a-z])?", value):
        raise ValueError("is no verb of RBAC, such as patch or an invented rollback")
    return value


def _read_limit(value: Any) -> Any:
    """Read `3 per 10m`."""
    if isinstance(value, Limit):
        return value
    found = re.fullmatch(r"([1-9][0-9]{0,3}) per (\w+)", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("is written as 3 per 10m")
    within = _usual(al.duration(found[2]))
    if within > RESERVED_FOR:
        raise ValueError(f"must be within {span(RESERVED_FOR)}: for so long it is remembered")
    return Limit(count=int(found[1]), within=within)


def limit(value: Limit) -> str:
    """Write a limit: `3 per 10m`."""
    return f"{value.count} per {span(value.within)}"


def _read_share(value: Any) -> Any:
    """Read `20%`."""
    if isinstance(value, float):
        return value
    found = re.fullmatch(r"([0-9]{1,3})%", value) if isinstance(value, str) else None
    share = int(found[1]) / 100 if found is not None else 0
    if not 0 < share <= 1:
        raise ValueError("is a share from 1% to 100%")
    return share


def share(value: float) -> str:
    """Write a share: `20%`."""
    return f"{value:.0%}"


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError):
        raise ValueError("is no time zone, such as Europe/Berlin") from None
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must hold at least one")
    return value


def _label(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", value):
        raise ValueError("is no name of a label")
    return value


def _sink_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError("a sink is named in lower case, digits and dashes")
    return value


def _role_name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-_a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError("a role is named in lower case, digits and dashes")
    return value


def _check_id(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,40}", value):
        raise ValueError("is up to 40 of lower case, digits and dashes")
    return value


def _line(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be one line of text, without blanks around it")
    return value


def _web_address(value: str) -> str:
    """Check that what is sent there cannot be read on the way: https, or this very machine."""
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        raise ValueError("is no URL") from None
    if not host or parts.username is not None or not value.isprintable() or " " in value:
        raise ValueError("is no URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("must begin with https://")
    return value


def _http_address(value: str) -> str:
    """Check the address of an API that is often plain HTTP within a cluster."""
    try:
        parts = urlsplit(value)
        plain = parts.port != 0 and not (parts.query or parts.fragment or "@" in parts.netloc)
    except ValueError:
        raise ValueError("is no URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ValueError("is no URL such as http://prometheus.monitoring:9090")
    if not value.isprintable() or " " in value:
        raise ValueError("is no URL")
    return value


def is_private(url: str) -> bool:
    """Return whether what is sent there cannot be read on the way."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Return whether a host is written as this very machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_matchers(value: Any) -> Any:
    """Read one set of matchers; all of a set have to fit."""
    if not isinstance(value, list):
        raise ValueError("is a list of matchers, such as ['team=\"shop\"']")  # noqa: TRY004 - pydantic takes no other error
    found: list[Matcher] = []
    for one in value:
        found += [one] if isinstance(one, Matcher) else al.matchers(str(one))
    # As with Alertmanager's silences: one forgotten word must not mean everything.
    if al.fits(found, {}):
        raise ValueError("fits alerts that carry none of its labels: name at least one that must")
    return tuple(found)


def _read_matcher_sets(value: Any) -> Any:
    """Take a flat list as Alertmanager does: one set, all of which has to fit."""
    flat = isinstance(value, list) and value and all(isinstance(each, str) for each in value)
    return [value] if flat else value


# --- secrets


def _usable(secret: str) -> None:
    """Raise `ValueError` for what cannot be a token, a password, a key or a URL."""
    if not secret.strip():
        raise ValueError("is empty")
    if not secret.strip().isprintable():
        raise ValueError("holds more than one line of text")


def _secret_file(value: str) -> str:
    _usable(_in_file(value))
    return value


def _in_file(value: str) -> str:
    # The value itself is never shown: people do write the secret where its file belongs.
    if "://" in value:
        raise ValueError("is the name of a file, not the URL itself")
    try:
        return Path(value).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read ({type(error).__name__})") from None


def _secret_variable(value: str) -> str:
    _usable(_in_environment(value))
    return value


def _in_environment(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("is no name of an environment variable")
    if value not in os.environ:
        raise ValueError("there is no such environment variable")
    return os.environ[value]


def _lines_file(value: str) -> str:
    _usable_lines(_in_file(value))
    return value


def _lines_variable(value: str) -> str:
    _usable_lines(_in_environment(value))
    return value


def _usable_lines(secret: str) -> None:
    lines = [line.strip() for line in secret.splitlines() if line.strip()]
    if not lines:
        raise ValueError("is empty")
    if not all(line.isprintable() for line in lines):
        raise ValueError("holds what is no text")


# --- how to get out


def _ca_file(value: str) -> str:
    try:
        ssl.create_default_context().load_verify_locations(cafile=value)
    except FileNotFoundError:
        raise ValueError("there is no such file") from None
    except OSError:
        raise ValueError("holds no certificates in PEM") from None
    return value


def _private_network(value: Any) -> Any:
    # An address without a slash is fine; a number alone is no address.
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("is no network, such as 10.1.0.0/16") from None


Duration = Annotated[timedelta, BeforeValidator(_read_span), AfterValidator(_usual), Shown(span)]
Limits = tuple[Annotated[Limit, BeforeValidator(_read_limit), Shown(limit)], ...]
Share = Annotated[float, BeforeValidator(_read_share), Shown(share)]
Zone = Annotated[str, Field(strict=True), AfterValidator(_zone)]
Size = Annotated[int, BeforeValidator(_read_size), Field(gt=0), Shown(size)]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=500)]
Line = Annotated[str, Field(strict=True, min_length=1, max_length=100), AfterValidator(_line)]
Namespace = Annotated[str, Field(strict=True), AfterValidator(_namespace)]
Namespaces = Annotated[tuple[Namespace, ...], AfterValidator(_some)]
ServiceAccount = Annotated[str, Field(strict=True), AfterValidator(_service_account)]
ServiceAccounts = Annotated[tuple[ServiceAccount, ...], AfterValidator(_some)]
Audience = Annotated[str, Field(strict=True), AfterValidator(_audience)]
RbacVerb = Annotated[str, Field(strict=True), AfterValidator(_verb)]
Labels = Annotated[
    tuple[Annotated[str, Field(strict=True), AfterValidator(_label)], ...], AfterValidator(_some)
]
SinkName = Annotated[str, Field(strict=True), AfterValidator(_sink_name)]
RoleName = Annotated[str, Field(strict=True), AfterValidator(_role_name)]
CheckId = Annotated[str, Field(strict=True), AfterValidator(_check_id)]
WebAddress = Annotated[str, Field(strict=True), AfterValidator(_web_address)]
HttpAddress = Annotated[str, Field(strict=True), AfterValidator(_http_address)]
MatcherSet = Annotated[tuple[Matcher, ...], BeforeValidator(_read_matchers)]
MatcherSets = Annotated[tuple[MatcherSet, ...], BeforeValidator(_read_matcher_sets)]
SecretFile = Annotated[str, Field(strict=True), AfterValidator(_secret_file)]
SecretVariable = Annotated[str, Field(strict=True), AfterValidator(_secret_variable)]
SecretFileLines = Annotated[str, Field(strict=True), AfterValidator(_lines_file)]
SecretVariableLines = Annotated[str, Field(strict=True), AfterValidator(_lines_variable)]
CaFile = Annotated[str, Field(strict=True), AfterValidator(_ca_file)]
PrivateNetwork = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_private_network)
]
PrivateNetworks = tuple[PrivateNetwork, ...]
