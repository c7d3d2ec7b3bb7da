"""Tells browsers what has changed in the folder, while any of them listens."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from manyhands.runs.files import Json
from manyhands.ui.index import Changes, Index, Stamp
from manyhands.ui.launching import Launcher

PAUSE = 0.3
"""seconds between two looks at the folder; more if a look takes long"""
LONGEST_PAUSE = 1.2
HEARTBEAT = 10.0
"""seconds after which a browser hears something even if nothing changes"""


@dataclass(eq=False)
class Watch:
    """``events`` are server-sent events, one JSON object each: what to replace, and what is gone."""

    index: Index
    launcher: Launcher
    _listeners: "set[asyncio.Queue[str | None]]" = field(default_factory=set)
    _told: dict[str, Stamp] = field(default_factory=dict)
    _jobs: dict[str, str] = field(default_factory=dict)
    closed: bool = False

    async def run(self) -> None:
        """Look again and again, as long as somebody listens."""
        while not self.closed:
            begun = time.monotonic()
            if self._listeners:
                await asyncio.to_thread(self.index.refresh)
                before, self._told = self._told, self.index.stamps  # others look at the folder too
                changes = Changes.between(before, self._told)
                self.launcher.tidy()
                runs = [run for id_ in changes.changed if (run := self.index.runs.get(id_))]
                studies = [study for id_ in changes.changed if (study := self.index.studies.get(id_))]
                jobs = self._changed_jobs()
                if changes or jobs:
                    told = {"runs": runs, "studies": studies, "gone": sorted(changes.gone), "jobs": jobs}
                    self._tell(f"data: {json.dumps(told)}\n\n")
            took = time.monotonic() - begun
            await asyncio.sleep(min(LONGEST_PAUSE, max(PAUSE, 5 * took)))

    async def events(self) -> AsyncIterator[str]:
        """For one browser, until it leaves or the server ends."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        if not self._listeners:
            self._told = self.index.stamps
        self._listeners.add(queue)
        try:
            yield "retry: 1000\nevent: hello\ndata: {}\n\n"
            while not self.closed:
                try:
                    told = await asyncio.wait_for(queue.get(), HEARTBEAT)
                except TimeoutError:
                    told = "event: beat\ndata: {}\n\n"
                if told is None:
                    return
                yield told
        finally:
            self._listeners.discard(queue)

    def close(self) -> None:
        """Let all browsers go."""
        self.closed = True
        self._tell(None)

    def _tell(self, told: str | None) -> None:
        for queue in self._listeners:
            queue.put_nowait(told)

    def _changed_jobs(self) -> list[Json]:
        changed = []
        for id_, job in self.launcher.jobs.items():
            content = job.to_json()
            text = json.dumps(content)
            if self._jobs.get(id_) != text:
                self._jobs[id_] = text
                changed.append(content)
        return changed
