"""Which addresses may be called."""

import pytest

from ml_connector.errors import SetupError
from ml_connector.transport.hosts import checked_origin, path_within


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.procore.com", "https://api.procore.com"),
        ("https://API.procore.com/oauth/token", "https://api.procore.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://[::1]:9", "http://[::1]:9"),
    ],
)
def test_https_and_plain_http_to_this_machine_are_allowed(url: str, origin: str) -> None:
    assert checked_origin(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "http://api.procore.com",
        "http://10.0.0.1",
        "http://127.0.0.1.example.org",
        "ftp://127.0.0.1",
        "https://user:word@api.procore.com",
        "https://",
        "api.procore.com",
        "https://host:port",
        "https://[::1",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SetupError):
        checked_origin(url)


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/rest",
        "http://api.procore.com/rest",
        "https://api.procore.com:444/rest",
        "https://api.procore.com@evil.example/rest",
        "https://api.procore.com\\@evil.example/rest",
        "//evil.example/rest",
        "https://[::1",
        "rest",
    ],
)
def test_F09_an_address_of_another_host_has_no_path_here(address: str) -> None:
    assert path_within("https://api.procore.com", address) is None


def test_an_address_of_the_own_host_gives_path_and_query() -> None:
    assert (
        path_within("https://api.procore.com", "https://API.procore.com/rest?page=2&a=b")
        == "/rest?page=2&a=b"
    )
