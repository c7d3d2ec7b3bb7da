// Elements are made of text alone: nothing that a file holds is ever read as HTML.

export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "colour") element.style.setProperty("--colour", value);
    else if (name === "share") element.style.setProperty("--share", `${100 * value}%`);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const address = (path, ids, more = {}) => {
  const query = new URLSearchParams([...ids.map((id) => ["id", id]), ...Object.entries(more)]);
  return `${path}?${query}`;
};

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

export function lasting(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

export const since = (when) => Date.now() / 1000 - when;

export function ago(created) {
  const when = Date.parse(created);
  return Number.isNaN(when) ? "" : `${lasting(since(when / 1000))} ago`;
}

// How a run is doing, in words, and how good that is.
export function condition(run, job) {
  const working = job && job.state !== "ended";
  if (run.status === "running" && job?.interrupted && working) return { text: "stopping", kind: "warn" };
  if (run.status === "running" && !working && since(run.touched) > run.patience) {
    return { text: `no sign of life for ${lasting(since(run.touched))}`, kind: "warn" };
  }
  const kinds = { running: "live", finished: "good", damaged: "bad", failed: "bad" };
  return { text: run.status, kind: kinds[run.status] ?? "warn" };
}

export function status(run, job) {
  const { text, kind } = condition(run, job);
  return h("span", { class: `state ${kind}` }, text);
}

export const share = (run) =>
  run.total && run.completed !== null ? Math.min(1, run.completed / run.total) : null;

export function progress(run) {
  const part = share(run);
  if (run.status === "finished" || part === null) return null;
  const words = `${run.completed} of ${count(run.total, run.unit)}`;
  return h("span", { class: "progress" },
    h("span", { class: "track", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": run.total,
      "aria-valuenow": run.completed, "aria-label": words }, h("span", { class: "done", share: part })),
    h("small", {}, words));
}

export const chip = (colour) => h("span", { class: "chip", colour, "aria-hidden": "true" });

export const problems = (texts) => texts.map((text) => h("p", { class: "problem", role: "note" }, text));

export function command(text) {
  const copy = h("button", { class: "quiet copy", type: "button", onclick: async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return h("div", { class: "command" }, h("pre", { tabindex: 0 }, h("code", {}, text)), copy);
}

export function table(heading, rows, label) {
  return h("div", { class: "wide", role: "region", "aria-label": label, tabindex: 0 },
    h("table", {},
      h("thead", {}, h("tr", {}, heading.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, place) =>
        place ? h("td", {}, cell) : h("th", { scope: "row" }, cell)))))));
}

// Puts what is new into the page and leaves alone what stayed the same, so that nothing loses its place or its focus.
export function update(place, key, make) {
  if (place.dataset.key === key) return false;
  place.dataset.key = key;
  place.replaceChildren(...[make()].flat(Infinity).filter(Boolean));
  return true;
}
