// Asks the server, and hears from it what has changed. What is lost is tried again until it is back.

const LONGEST = 5000; // milliseconds between two attempts
const SILENCE = 25000; // without a sound, which comes every ten seconds, the connection counts as lost

export class Refusal extends Error {
  constructor(message, status, content) {
    super(message);
    this.status = status;
    this.content = content;
  }
}

async function answered(response) {
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(content.error ?? `the server answered ${response.status}`, response.status, content);
  return content;
}

export const ask = async (path) => answered(await fetch(path));

export const act = async (path, body) => answered(await fetch(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
}));

const underWay = new Set(); // of each question without an answer yet, the events since it was asked

// For what is asked anew whenever something has changed. Gives the answer and the events heard while it was under way, some of
// which may be newer than it; or null where it was asked anew meanwhile, and another answer comes.
export function latest() {
  let last = null;
  return async function (path) {
    const events = [];
    last = events;
    underWay.add(events);
    try {
      const answer = await ask(path);
      return last === events ? { answer, events } : null;
    } catch (error) {
      if (last !== events) return null;
      throw error;
    } finally {
      underWay.delete(events);
    }
  };
}

// `changed` is called with each event; `again` at the beginning, and whenever events may have been missed.
export function listen({ changed, again }) {
  const link = document.getElementById("link");
  const lost = document.getElementById("lost");
  let pause = 500;
  let quiet;

  function down(source) {
    source.close();
    clearTimeout(quiet);
    link.textContent = "offline";
    link.className = "link off";
    setTimeout(retry, pause);
    pause = Math.min(LONGEST, 2 * pause);
  }

  async function retry() {
    try {
      await ask("/api/runs");
    } catch (error) {
      lost.hidden = false;
      lost.textContent = error.status === 403
        ? "The server was started anew, with another token: open the address that it printed, and this page goes on."
        : "The connection is lost. Is manyhands ui still running? This page goes on by itself when it is back.";
    }
    connect();
  }

  function connect() {
    const source = new EventSource("/events");
    const heard = () => {
      clearTimeout(quiet);
      quiet = setTimeout(() => down(source), SILENCE);
    };
    source.addEventListener("hello", async () => {
      heard();
      pause = 500;
      link.textContent = "live";
      link.className = "link on";
      lost.hidden = true;
      await again();
    });
    source.addEventListener("beat", heard);
    source.onmessage = (event) => {
      heard();
      const told = JSON.parse(event.data);
      for (const events of underWay) events.push(told);
      changed(told);
    };
    source.onerror = () => down(source);
  }

  again(); // now; and once more when the events have begun, between which something may have changed
  window.addEventListener("pagehide", () => clearTimeout(quiet));
  connect();
}

// Calls `work` soon, once for any number of calls, and never twice at a time.
export function soon(work, wait = 60) {
  let timer = null;
  let busy = false;
  let more = false;
  return async function call() {
    if (busy) { more = true; return; }
    if (timer !== null) return;
    timer = setTimeout(async () => {
      timer = null;
      busy = true;
      try { await work(); } finally { busy = false; }
      if (more) { more = false; call(); }
    }, wait);
  };
}
