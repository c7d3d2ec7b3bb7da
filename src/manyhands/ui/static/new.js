// A form for a run or a study: its fields come from the server, and so does what is wrong with them.
import { command, h } from "./dom.js";
import { act, ask, listen, soon } from "./live.js";

const FIRST = {
  train: ["--task", "--workers", "--strategy", "--epochs", "--rounds", "--batch-size", "--lr", "--partition", "--seed", "--cluster"],
  compare: ["--strategies", "--task", "--workers", "--cluster", "--partition", "--stragglers", "--seeds", "--epochs", "--rounds"],
}; // the others are folded away

export async function compose(main, query) {
  const launch = "launch" in document.body.dataset;
  const texts = new Map(); // flag → what is filled in, kept while strategies come and go
  let forms = {};
  let chosen = query.get("form") ?? "train";
  document.title = "New run · manyhands";

  const tabs = h("div", { class: "switch", role: "group", "aria-label": "What to start" });
  const title = h("h1", {});
  const about = h("p", { class: "words" });
  const fields = h("div", { class: "fields" });
  const general = h("p", { class: "error", role: "alert", hidden: true });
  const line = h("div", {});
  const note = h("p", { class: "words" });
  const start = launch ? h("button", { type: "submit", class: "start" }, "Start") : null;
  const form = h("form", { class: "compose", novalidate: true, onsubmit: begin },
    h("div", { class: "asked" }, general, fields),
    h("aside", { class: "told" }, h("h2", {}, "The same in a terminal"), line, note, start,
      launch ? null : h("p", { class: "words" }, "This page only reads. Started with --allow-launch it starts runs, too.")));
  main.replaceChildren(h("div", { class: "head" }, h("div", {}, title, about), tabs), form);

  // A default that depends on other fields stands in the help alone.
  const usual = (field) => /default: ([^;]*)$/.exec(field.about)?.[1] ?? "";

  const given = () => Object.fromEntries([...form.querySelectorAll("[data-flag]")]
    .map((input) => [input.dataset.flag, input.type === "checkbox" ? (input.checked ? "true" : "") : input.value])
    .filter(([, text]) => text.trim()));

  function control(field) {
    const kept = texts.get(field.flag) ?? "";
    const id = `field${field.flag}`;
    const shared = { id, "data-flag": field.flag, "aria-describedby": `${id}-about ${id}-error`, autocomplete: "off" };
    if (field.kind === "switch") return h("input", { ...shared, type: "checkbox", checked: kept === "true" });
    const choices = field.choices ?? field.options?.map((option) => option.name);
    if (choices) {
      const current = kept || field.default;
      return h("select", shared, field.optional ? h("option", { value: "" }, "default") : null,
        choices.map((name) => h("option", { value: name, selected: name === current }, name)));
    }
    const suggested = field.flag === "--strategies" ? forms.train.fields.find((one) => one.flag === "--strategy").options.map((one) => one.name)
      : field.suggestions;
    const input = h("input", { ...shared, type: "text", value: kept, placeholder: field.default || usual(field), spellcheck: "false",
      list: suggested.length ? `${id}-list` : null });
    return suggested.length ? [input, h("datalist", { id: `${id}-list` }, suggested.map((text) => h("option", { value: text })))] : input;
  }

  function element(field) {
    const id = `field${field.flag}`;
    const own = control(field);
    const box = h("div", { class: `field ${field.kind}`, "data-for": field.flag },
      h("label", { for: id }, h("span", {}, field.label[0].toUpperCase() + field.label.slice(1)), h("code", {}, field.flag)), own,
      h("p", { class: "error", id: `${id}-error`, hidden: true }),
      h("p", { class: "about", id: `${id}-about` }, field.about));
    if (field.kind !== "axis") return box;
    const grid = h("div", { class: "fields" });
    // What a strategy can do is what one comes for; of clusters and optimisers the defaults mostly do.
    const folded = field.flag !== "--strategy";
    const heading = h("summary", {});
    const options = folded ? h("details", { class: "options" }, heading, grid) : h("div", { class: "options" }, grid);
    const select = box.querySelector("select");
    const refill = () => {
      keep();
      const option = field.options.find((one) => one.name === select.value);
      box.querySelector(".about").textContent = option?.about ?? field.about;
      heading.textContent = `Options of ${select.value}`;
      grid.replaceChildren(...(option?.fields ?? []).map(element));
      if (folded) options.open = (option?.fields ?? []).some((one) => texts.get(one.flag) && texts.get(one.flag) !== "false"
        && texts.get(one.flag) !== one.default);
      options.hidden = !option?.fields.length;
    };
    select.addEventListener("change", refill);
    refill();
    return h("div", { class: "axis" }, box, options);
  }

  const keep = () => { for (const input of form.querySelectorAll("[data-flag]")) texts.set(input.dataset.flag,
    input.type === "checkbox" ? String(input.checked) : input.value); };

  function choose(name) {
    keep();
    chosen = name;
    const { fields: all, about: words } = forms[name];
    title.textContent = !launch ? "Compose a command" : name === "train" ? "New run" : "New study";
    about.textContent = words;
    const first = FIRST[name].map((flag) => all.find((field) => field.flag === flag)).filter(Boolean);
    const more = all.filter((field) => !first.includes(field));
    fields.replaceChildren(...first.map(element),
      h("details", { class: "more", open: more.some((field) => Object.hasOwn(content.like ?? {}, field.flag) && !["--lr", "--optimizer"].includes(field.flag)) },
        h("summary", {}, "More options"), h("div", { class: "fields" }, more.map(element))));
    tabs.replaceChildren(...Object.entries(forms).map(([key, one]) =>
      h("button", { type: "button", "aria-pressed": String(key === name), onclick: () => choose(key) }, one.title)));
    check();
  }

  function show(errors) {
    for (const box of form.querySelectorAll("[data-for]")) {
      const text = errors[box.dataset.for] ?? "";
      const place = box.querySelector(".error");
      place.textContent = text;
      place.hidden = !text;
      box.classList.toggle("wrong", Boolean(text));
      box.querySelector("[data-flag]").setAttribute("aria-invalid", String(Boolean(text)));
    }
    const shown = new Set([...form.querySelectorAll("[data-for]")].map((box) => box.dataset.for));
    const others = Object.entries(errors).filter(([flag]) => !shown.has(flag)).map(([, text]) => text);
    general.textContent = others.join(" ");
    general.hidden = others.length === 0;
    const wrong = form.querySelector(".wrong");
    for (let fold = wrong?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    return wrong;
  }

  const check = soon(async () => {
    const told = await act("/api/check", { form: chosen, given: given() }).catch((error) => ({ failed: error.message }));
    if (told.failed) return;
    if (line.dataset.told !== told.command) {
      line.dataset.told = told.command;
      line.replaceChildren(command(told.command));
    }
    note.textContent = told.note;
    show(told.errors);
  }, 150);

  async function begin(event) {
    event.preventDefault();
    if (!launch || start.disabled) return;
    start.disabled = true;
    start.textContent = "Starting …";
    try {
      const { id, kind } = await act("/api/launch", { form: chosen, given: given() });
      window.location = `/${kind === "compare" ? "compare" : "run"}?${new URLSearchParams({ id })}`;
      return;
    } catch (error) {
      show(error.content?.errors ?? { "": error.message })?.scrollIntoView({ block: "center" });
    }
    start.disabled = false;
    start.textContent = "Start";
  }

  form.addEventListener("input", () => { check(); });
  const like = query.get("like");
  const content = await ask(like ? `/api/form?${new URLSearchParams({ like })}` : "/api/form").catch((error) => ({ failed: error.message }));
  if (content.failed) {
    main.replaceChildren(h("h1", {}, "No form"), h("p", { class: "problem" }, content.failed));
    return;
  }
  forms = content.forms;
  for (const [flag, text] of Object.entries(content.like ?? {})) texts.set(flag, text);
  choose(forms[chosen] ? chosen : "train");
  listen({ changed: () => {}, again: async () => {} });
}
