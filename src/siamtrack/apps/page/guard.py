"""Who may talk to the page's server: checks of every request before anything else sees it."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_COOKIE = "siamtrack"

_HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",  # the page itself names what it may load
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware that refuses requests which the page itself did not make.

    - `Host` must be an address or one of `names`: a foreign name that was made to point here (DNS rebinding) is none.
    - `Origin` must be the same host for everything but reading (uploads, sockets): other sites' pages are refused.
    - With a token, every request carries it: as `?token=` once, which sets a cookie, then in that cookie.

    Args:
        app: what is guarded.
        names: host names by which the server is known, besides addresses.
        token: a secret; None for a server that only this machine reaches.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] = (), token: str | None = None) -> None:
        self.app = app
        self.names = {"localhost", socket.gethostname().casefold(), *(name.casefold() for name in names)}
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "http":
            await refusal(scope, receive, _with_headers(send))
        else:
            await receive()  # the request to connect, which has to be taken before it is refused
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return PlainTextResponse("this server does not go by that name", 421)
        socket_or_change = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        origin = headers.get("origin")
        if socket_or_change if origin is None else _host_of(origin) != host.casefold():
            return PlainTextResponse("a page of another site may not do that", 403)
        cookie = _cookie_name(host)
        if self.token is None or self._same(_cookie(headers, cookie)):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not self._same(given):
            return PlainTextResponse("open the address that `siamtrack app` printed, with its token", 401)
        if scope["type"] == "websocket":
            return None
        # The token leaves the address bar and the history, and a cookie takes its place.
        reply = RedirectResponse(scope["path"], 303)
        reply.set_cookie(cookie, self.token, httponly=True, samesite="strict")
        return reply

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _same(self, given: str) -> bool:
        return self.token is not None and secrets.compare_digest(given.encode(), self.token.encode())


def _host_of(origin: str) -> str | None:
    """The host and port of an origin, which is any text; None where it has none."""
    try:
        return urlsplit(origin).netloc.casefold()
    except ValueError:
        return None


def _cookie_name(host: str) -> str:
    """With the port, as browsers send a host's cookies to all its ports: another server there has its own token."""
    port = urlsplit(f"//{host}").port
    return _COOKIE if port is None else f"{_COOKIE}-{port}"


def _cookie(headers: Headers, name: str) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending
