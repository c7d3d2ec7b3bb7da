"""Who may ask this server: only a browser on this machine that was given the address with its token."""

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMES = ("127.0.0.1", "localhost")
"""by which this machine calls itself; the port may be another at the far end of a tunnel"""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""the page loads nothing but what this server gives it, and runs no script that stands in it"""
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
REFUSED = """<!doctype html><html lang="en"><meta charset="utf-8"><title>manyhands: no token</title>
<h1>This page needs its whole address</h1><p>{}</p></html>"""


class Guard:
    """Lets through what comes with the token, once in the address, later in a cookie that the first answer sets.

    Refused is what is addressed to another host, as pages do that point their own name at this machine (DNS rebinding);
    and whatever changes something but was not sent by this server's own page.
    """

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self.app, self.token = app, token
        self.cookie = f"manyhands-{port}"  # cookies do not tell ports apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        new = bool(given) and self._is_token(given)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own.setdefault(name, value)
                if new:
                    cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                    own.append("set-cookie", cookie)
            await send(message)

        refusal = self._refusal(scope["method"], headers, new)
        await (refusal or self.app)(scope, receive, answer)

    def _refusal(self, method: str, headers: Headers, new: bool) -> Response | None:
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in NAMES:
            return _refused(headers, "This server answers only to 127.0.0.1 and localhost.")
        if not new and not self._is_token(self._kept(headers)):
            return _refused(headers, "Open the address that manyhands ui printed: it ends with a token.")
        if method not in ("GET", "HEAD"):
            origin = headers.get("origin", "")
            if origin != f"http://{host}" or headers.get("sec-fetch-site", "same-origin") != "same-origin":
                return _refused(headers, "Only this server's own page may change something.")
            if headers.get("content-type", "").partition(";")[0] != "application/json":
                return _refused(headers, "What is sent must be JSON.")
        return None

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.token.encode())

    def _kept(self, headers: Headers) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return morsel.value if morsel else ""


def _refused(headers: Headers, why: str) -> Response:
    if "text/html" in headers.get("accept", ""):
        return HTMLResponse(REFUSED.format(why), status_code=403)
    return JSONResponse({"error": why}, status_code=403)
