// One run: how far it is, its curves, what its nodes do, and what can be done with it.
import { scales, show, useTheme } from "./charts.js";
import { address, ago, chip, command, h, lasting, problems, progress, share, since, status, update } from "./dom.js";
import { act, ask, latest, listen, soon } from "./live.js";

export function run(main, query) {
  const id = query.get("id") ?? "";
  const launch = "launch" in document.body.dataset;
  let scale = query.get("scale") ?? "epoch";
  let content = null;
  let failure = "";

  const head = h("div", { class: "head" });
  const notes = h("div", {});
  const tiles = h("dl", { class: "tiles" });
  const output = h("div", {});
  const chooser = h("div", { class: "chooser", hidden: true });
  const learning = h("div", { class: "figures" });
  const nodes = h("section", { hidden: true, "aria-labelledby": "nodes" }, h("h2", { id: "nodes" }, "Nodes"));
  const lanes = h("div", { class: "figures" });
  const accounts = h("div", { class: "figures" });
  nodes.append(lanes, accounts);
  const whole = h("div", { class: "figures narrow" });
  const results = h("section", { hidden: true, "aria-labelledby": "results" },
    h("h2", { id: "results" }, "Data and results"), whole);
  const about = h("section", {});
  const parts = [head, notes, output, tiles, chooser, learning, nodes, results, about];
  main.replaceChildren(...parts);
  document.title = `${id} · manyhands`;

  const attempt = (path) => async () => {
    failure = "";
    try {
      await act(path, { id: content.run?.study && content.job?.id === content.run.study ? content.run.study : id });
    } catch (error) {
      failure = error.message;
    }
    await load();
  };

  function actions() {
    const { run: own, job, resumable } = content;
    const working = job && job.state !== "ended";
    const buttons = [];
    if (own && own.problem === undefined) {
      buttons.push(h("a", { class: "button quiet", href: address("/report", [id]), target: "_blank" }, "Report"));
      buttons.push(h("a", { class: "button quiet", href: address("/new", [], { like: id }) }, "New run like this"));
    }
    if (launch && working) {
      buttons.push(h("button", { type: "button", class: "stop", disabled: job.interrupted, onclick: attempt("/api/stop") },
        job.interrupted ? "Stopping …" : job.id === id ? "Stop" : "Stop the study"));
    }
    if (launch && resumable && !working) {
      buttons.push(h("button", { type: "button", onclick: attempt("/api/resume") }, "Resume"));
    }
    return h("div", { class: "actions" }, buttons);
  }

  function left(own) {
    const part = share(own);
    const passed = own.touched - Date.parse(own.created) / 1000;
    if (own.status !== "running" || !part || part >= 1 || !(passed > 0) || since(own.touched) > own.patience) return "";
    return `about ${lasting((passed / part) * (1 - part))} left`;
  }

  function renderHead() {
    const { run: own, job } = content;
    update(head, JSON.stringify([own, job, content.resumable, Math.floor(Date.now() / 5000)]), () => [
      h("div", {},
        h("p", { class: "kind" }, h("a", { href: "/" }, "Runs"),
          own?.study ? [" / ", h("a", { href: address("/compare", [own.study]) }, own.study)] : null, ` / ${own?.name ?? id}`),
        h("h1", {}, chip(own?.strategy ? own.colour : "var(--line)"), own?.written ?? own?.name ?? id),
        own?.problem !== undefined
          ? h("p", { class: "words" }, `This is all that can be said of ${document.body.dataset.folder}/${id}. The other runs are as they were.`) : null,
        own && own.problem === undefined ? h("p", { class: "words" },
          [own.task, `${own.workers.toLocaleString("en")} workers, ${own.clock}`, own.condition, `seed ${own.seed}`,
            own.created ? `begun ${ago(own.created)}` : ""].filter(Boolean).join(" · ")) : null,
        h("p", { class: "now" }, own ? status(own, job) : h("span", { class: "state live" }, "starting"),
          own ? progress(own) : null, own ? h("small", {}, left(own)) : null)),
      actions(),
    ]);
  }

  function renderNotes() {
    const { run: own, job } = content;
    const texts = [failure, own?.error ? `${own.status}: ${own.error}` : "", job?.error ?? "", ...(content.problems ?? [])];
    update(notes, JSON.stringify(texts), () => problems([...new Set(texts.filter(Boolean))]));
    const ended = job?.state === "ended" && job.status !== 0;
    update(output, JSON.stringify([ended, job?.said, content.resumable]), () => [
      ended && job.said && !job.interrupted ? h("details", { class: "data" }, h("summary", {}, "What the command said"),
        h("pre", { tabindex: 0 }, job.said)) : null,
      content.resumable ? h("div", { class: "resume" }, h("p", { class: "words" }, "It goes on from its last checkpoint with"),
        command(`manyhands train --resume ${document.body.dataset.folder}/${id}`)) : null,
    ]);
  }

  function renderTiles() {
    update(tiles, JSON.stringify(content.tiles), () => content.tiles.map(([name, value, what]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value), h("small", {}, what))));
  }

  function render() {
    renderHead();
    renderNotes();
    if (!content.run) return;
    renderTiles();
    chooser.hidden = content.figures.length === 0;
    update(chooser, scale, () => [h("h2", {}, "Learning"), scales(scale, (chosen) => {
      scale = chosen;
      history.replaceState(null, "", address("/run", [id], { scale }));
      load();
    })]);
    show(learning, content.figures);
    show(accounts, content.nodes);
    nodes.hidden = content.nodes.length === 0 && lanes.children.length === 0;
    if (content.facts?.length) {
      update(about, JSON.stringify([content.facts, content.command]), () => [
        h("h2", {}, "Specification"),
        content.command ? h("div", {}, h("p", { class: "words" }, "To run it again:"), command(content.command)) : null,
        h("dl", { class: "facts" }, content.facts.filter(([, value]) => value !== "").map(([name, value]) =>
          h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
      ]);
    }
  }

  const askAnew = latest();
  async function load() {
    let told;
    try {
      told = await askAnew(address("/api/run", [id], { scale }));
    } catch (error) {
      if (error.status === undefined) return; // offline: it comes again
      main.replaceChildren(h("h1", {}, "Not here"), ...problems([error.message]), h("p", {}, h("a", { href: "/" }, "To all runs")));
      return;
    }
    if (told === null) return;
    if (!head.isConnected) main.replaceChildren(...parts); // it was not here a moment ago
    content = told.answer;
    told.events.forEach(take);
    if (content.theme) useTheme(content.theme);
    render();
    await loadWhole();
  }

  // Pictures of what seldom changes, asked for only when it has: they take long to make.
  let settled = "";
  async function loadWhole() {
    const own = content.run;
    if (!own || own.problem !== undefined) return;
    const now = JSON.stringify([own.status, own.unit === "round" ? own.completed : Math.min(own.completed ?? 0, 2)]);
    if (now === settled) return;
    settled = now;
    const { figures } = await ask(address("/api/whole", [id])).catch(() => ({ figures: [] }));
    show(lanes, figures.filter((figure) => figure.key === "run-lanes"));
    const others = figures.filter((figure) => figure.key !== "run-lanes");
    show(whole, others);
    results.hidden = others.length === 0;
    nodes.hidden = content.nodes.length === 0 && lanes.children.length === 0;
  }

  // Numbers come with the event itself, before the charts are drawn anew.
  function take({ runs }) {
    const own = runs.find((one) => one.id === id);
    if (!own || !content?.run || own.problem !== undefined) return;
    content.run = own;
    const told = { "Test accuracy": own.accuracy, "Test loss": own.loss, Clock: own.seconds, Sent: own.bytes };
    content.tiles = content.tiles.map(([name, value, what]) => [name, told[name]?.[1] ?? value, what]);
    renderHead();
    renderTiles();
  }

  const loadSoon = soon(load);
  setInterval(() => content && renderHead(), 5000);
  listen({
    changed: (event) => {
      const { runs, jobs, gone } = event;
      const mine = [id, content?.run?.study];
      take(event);
      if ([...runs, ...jobs].some((one) => mine.includes(one.id)) || gone.includes(id)) loadSoon();
    },
    again: load,
  });
}
