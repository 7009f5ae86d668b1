"""Which addresses may be called: the configured host over https, or this machine over plain http."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from ml_connector.errors import SetupError


def checked_origin(url: str) -> str:
    """`scheme://host[:port]` of a configured address, in lower case. Raises SetupError for an unsafe one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SetupError(f"{url!r} is not an address: {error}") from error
    if not host or "@" in parts.netloc:
        raise SetupError(f"{url!r} must be an address such as https://host, without a user")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise SetupError(f"{url!r} must begin with https://; plain http is for this machine alone")
    return f"{parts.scheme}://{parts.netloc}".lower()


def path_within(origin: str, address: str) -> str | None:
    """Path and query of an address of `origin`; None for anything else."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    if f"{parts.scheme}://{parts.netloc}".lower() != origin:
        return None
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
