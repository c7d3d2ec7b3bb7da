"""The live page as an ASGI application: pages, what they ask for, and what they may do."""

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from manyhands.errors import UserError
from manyhands.report.figure import THEME
from manyhands.report.page import renderer, write_report
from manyhands.runs.files import Json, check_record, read_record
from manyhands.ui.form import Form
from manyhands.ui.index import Index, OutsideError
from manyhands.ui.launching import Launcher
from manyhands.ui.safety import Guard
from manyhands.ui.views import SCALES, Views
from manyhands.ui.watch import Watch

T = TypeVar("T")

PAGES = {"/": "list", "/run": "run", "/compare": "compare", "/new": "new"}
TYPES = {"js": "text/javascript", "css": "text/css"}
MOST_SENT = 65_536
"""bytes of a request's body"""
ALONE = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:"
)
"""the policy of a report, which is one file with scripts inside: it may run them, and reach nobody, not even us"""


class Application:
    """What answers requests about the runs in ``root``. Without ``allow_launch`` nothing can be started or stopped."""

    def __init__(self, root: Path, forms: Mapping[str, Form], *, allow_launch: bool) -> None:
        self.index = Index(root)
        self.launcher = Launcher(self.index.root)
        self.watch = Watch(self.index, self.launcher)
        self.views = Views(self.index)
        self.forms = forms
        self.allow_launch = allow_launch
        self._maker = ThreadPoolExecutor(1, "views")  # one after another: charts keep a core busy
        self._page = Environment(
            loader=PackageLoader("manyhands.ui"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        ).get_template("page.html.j2")

    def guarded(self, token: str, port: int) -> Starlette:
        """The application behind its guard."""
        do = [self.check, *([self.launch, self.stop, self.resume] if self.allow_launch else [])]
        return Starlette(
            routes=[
                *(Route(path, self.page) for path in PAGES),
                Route("/static/{name}", self.static),
                Route("/vega.js", self.vega),
                Route("/report", self.report),
                Route("/events", self.events),
                *(Route(f"/api/{ask.__name__}", ask) for ask in (self.runs, self.run, self.whole, self.compare)),
                Route("/api/form", self.form),
                *(Route(f"/api/{act.__name__}", act, methods=["POST"]) for act in do),
            ],
            middleware=[Middleware(Guard, token=token, port=port)],
            exception_handlers={OutsideError: _outside, UserError: _refused},
            lifespan=self._life,
        )

    @asynccontextmanager
    async def _life(self, _: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(self.watch.run())
        looking = asyncio.create_task(asyncio.to_thread(self.index.refresh))  # before a browser asks
        warming = asyncio.get_running_loop().run_in_executor(self._maker, _warm_up)
        try:
            yield
        finally:
            self.watch.close()
            for task in (watching, looking, warming):
                task.cancel()
            await asyncio.to_thread(self.launcher.stop_all)
            self.launcher.tidy()
            self._maker.shutdown(wait=False, cancel_futures=True)

    async def _make(self, make: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._maker, make)

    # ---- pages

    async def page(self, request: Request) -> Response:
        html = self._page.render(
            page=PAGES[request.url.path],
            folder=str(self.index.root),
            allow_launch=self.allow_launch,
        )
        return HTMLResponse(html)

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        known = {file.name for file in files("manyhands.ui").joinpath("static").iterdir()}
        if name not in known:
            return JSONResponse({"error": f"no file {name}"}, status_code=404)
        return _cached(request, _static(name), TYPES[name.rpartition(".")[2]])

    async def vega(self, request: Request) -> Response:
        return _cached(request, await asyncio.to_thread(_vega), TYPES["js"])

    async def report(self, request: Request) -> Response:
        folders = self.views.folders(request.query_params.getlist("id"))
        if not folders:
            raise UserError("no run is named: tick some in the list")

        def make() -> str:
            with tempfile.TemporaryDirectory() as scratch:
                return write_report(folders, Path(scratch) / "report.html").read_text(encoding="utf-8")

        try:
            html = await self._make(make)
        except UserError as error:
            html = self._page.environment.get_template("problem.html.j2").render(problem=str(error))
        return HTMLResponse(html, headers={"content-security-policy": ALONE})

    async def events(self, request: Request) -> Response:
        return StreamingResponse(self.watch.events(), media_type="text/event-stream")

    # ---- what pages ask for

    async def runs(self, request: Request) -> Response:
        await asyncio.to_thread(self.index.refresh)
        return JSONResponse(
            {
                "folder": str(self.index.root),
                "cut": self.index.cut,
                "runs": list(self.index.runs.values()),
                "studies": list(self.index.studies.values()),
                "jobs": [job.to_json() for job in self.launcher.jobs.values()],
            }
        )

    async def run(self, request: Request) -> Response:
        id_ = request.query_params.get("id", "")
        await asyncio.to_thread(self.index.refresh)
        job = self.launcher.jobs.get(id_)
        if job is not None and id_ not in self.index.runs:
            return JSONResponse({"run": None, "job": job.to_json()})
        content = await self._make(lambda: self.views.run(id_, _scale(request)))
        at_work = self.launcher.under_way(id_) or job
        return JSONResponse({**content, "job": at_work.to_json() if at_work else None, "theme": THEME})

    async def whole(self, request: Request) -> Response:
        return JSONResponse(await self._make(lambda: self.views.whole(request.query_params.get("id", ""))))

    async def compare(self, request: Request) -> Response:
        ids = request.query_params.getlist("id")
        await asyncio.to_thread(self.index.refresh)
        job = self.launcher.jobs.get(ids[0]) if len(ids) == 1 else None
        begun = any(id_ in self.index.runs or id_ in self.index.studies for id_ in ids)
        content = await self._make(lambda: self.views.compare(ids if begun or not job else [], _scale(request)))
        return JSONResponse({**content, "job": job.to_json() if job else None, "theme": THEME})

    async def form(self, request: Request) -> Response:
        content: Json = {"forms": {name: form.describe() for name, form in self.forms.items()}}
        if like := request.query_params.get("like"):
            content["like"] = await asyncio.to_thread(self._like, like)
        return JSONResponse(content)

    def _like(self, id_: str) -> Json:
        """What to fill in so that a run is made like another one."""
        file = self.index.folder(id_) / "run.json"
        record = read_record(file, "run", ("specification",))
        check_record(file, record)
        return self.forms["train"].fill(record["specification"])

    # ---- what pages do

    async def check(self, request: Request) -> Response:
        form, given = await self._form(request)
        reading = await asyncio.to_thread(form.read, given)
        return JSONResponse({"command": reading.command, "errors": dict(reading.errors), "note": reading.note})

    async def launch(self, request: Request) -> Response:
        form, given = await self._form(request)
        reading = await asyncio.to_thread(form.read, given)
        if reading.errors:
            return JSONResponse({"errors": dict(reading.errors)}, status_code=422)
        job = await asyncio.to_thread(self.launcher.start, reading)
        while job.state == "starting":  # what the command finds wrong belongs beside its field too
            await asyncio.sleep(0.1)
        if job.error:
            return JSONResponse({"errors": {form.place(job.error): job.error}}, status_code=422)
        return JSONResponse({"id": job.id, "kind": form.command})

    async def stop(self, request: Request) -> Response:
        id_ = str((await _body(request)).get("id"))
        await asyncio.to_thread(self.launcher.stop, id_)
        return JSONResponse({"stopped": id_})

    async def resume(self, request: Request) -> Response:
        id_ = str((await _body(request)).get("id"))
        folder = self.index.folder(id_)
        command = "compare" if id_ in self.index.studies else "train"
        job = await asyncio.to_thread(self.launcher.resume, folder, command)
        return JSONResponse({"id": job.id})

    async def _form(self, request: Request) -> tuple[Form, dict[str, str]]:
        body = await _body(request)
        form, given = self.forms.get(str(body.get("form"))), body.get("given")
        if form is None or not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
            raise UserError("a form's name and its fields are needed")
        return form, given


async def _body(request: Request) -> Json:
    content = b""
    async for part in request.stream():
        content += part
        if len(content) > MOST_SENT:
            raise UserError(f"more than {MOST_SENT:,} bytes were sent")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise UserError("what is sent must be a JSON object")
    return body


def _scale(request: Request) -> str:
    scale = request.query_params.get("scale", "epoch")
    return scale if scale in SCALES else "epoch"


async def _outside(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=403)


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=404 if request.method == "GET" else 422)


def _cached(request: Request, text: str, kind: str) -> Response:
    """A file that browsers keep, and ask about each time."""
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(text, media_type=kind, headers=headers)


@cache
def _static(name: str) -> str:
    return files("manyhands.ui").joinpath("static", name).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    return renderer()


def _warm_up() -> Any:
    """Import what draws charts and bundle their scripts, before somebody waits for it."""
    import altair

    _vega()
    return altair.__version__
