"""Ways to spoil the bytes of an answer: the `body` fault. The status stays unless the rule names another."""

import gzip
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ml_connector.sandbox.wire import Response, write_json, write_xml

_HTML = (
    "<!DOCTYPE html><html><head><title>Service Unavailable</title></head>"
    "<body><h1>We'll be right back</h1></body></html>"
)
_NUMBER_MEMBER = re.compile(r'("[A-Za-z_]\w*"):(-?\d[\d.eE+-]*)')
_MEGABYTE = 1024 * 1024


def spoil(response: Response, args: Mapping[str, Any]) -> Response:
    """The answer with its body spoiled as `args["kind"]` says; `args["status"]` replaces the status."""
    spoiled = BODY_FAULTS[args["kind"]](response, args)
    return Response(
        int(args.get("status", response.status)),
        spoiled.body,
        {**response.headers, **spoiled.headers},
        response.records,
        response.outcome,
    )


def _text(response: Response) -> str:
    if isinstance(response.body, bytes):
        return response.body.decode("utf-8", "replace")
    return response.body if isinstance(response.body, str) else write_json(response.body)


def _malformed(response: Response, args: Mapping[str, Any]) -> Response:
    text = _text(response)
    return Response(0, text[: max(1, len(text) // 2)])


def _html(response: Response, args: Mapping[str, Any]) -> Response:
    return Response(0, _HTML, {"Content-Type": "text/html; charset=utf-8"})


def _empty(response: Response, args: Mapping[str, Any]) -> Response:
    return Response(0, b"")


def _nan(response: Response, args: Mapping[str, Any]) -> Response:
    return Response(0, _NUMBER_MEMBER.sub(rf"\1:{args.get('value', 'NaN')}", _text(response)))


def _doubled_keys(response: Response, args: Mapping[str, Any]) -> Response:
    """Every member that holds a number comes twice, first with 0."""
    return Response(0, _NUMBER_MEMBER.sub(r"\1:0,\1:\2", _text(response)))


def _gzip_bomb(response: Response, args: Mapping[str, Any]) -> Response:
    return Response(0, _bomb(int(args.get("megabytes", 200))), {"Content-Encoding": "gzip"})


@lru_cache(maxsize=2)
def _bomb(megabytes: int) -> bytes:
    return gzip.compress(b'{"padding":"' + b" " * (megabytes * _MEGABYTE) + b'"}')


def _huge(response: Response, args: Mapping[str, Any]) -> Response:
    return Response(0, _text(response) + " " * (int(args.get("megabytes", 50)) * _MEGABYTE))


def _xml(response: Response, args: Mapping[str, Any]) -> Response:
    body = write_xml(response.body, root="IntuitResponse")
    return Response(0, body, {"Content-Type": "application/xml;charset=utf-8"})


BODY_FAULTS: dict[str, Callable[[Response, Mapping[str, Any]], Response]] = {
    "malformed": _malformed,
    "html": _html,
    "empty": _empty,
    "nan": _nan,
    "dupkeys": _doubled_keys,
    "gzipbomb": _gzip_bomb,
    "huge": _huge,
    "xml": _xml,
}
