"use strict";
// What a page can do beyond being read: tables sort, filter and download, curves tell their values, learned shapes lie
// over one another. All of it is added here, so that without this script there is no control that does nothing.

const SVG = "http://www.w3.org/2000/svg";
const MISSING = "–";

function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function drawn(tag, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function button(label, action, attributes = {}) {
  const found = made("button", { type: "button", ...attributes }, label);
  found.addEventListener("click", () => action(found));
  return found;
}

function toggle(label, action, pressed = true) {
  return button(label, (self) => {
    const now = self.getAttribute("aria-pressed") !== "true";
    self.setAttribute("aria-pressed", now);
    action(now);
  }, { "aria-pressed": pressed });
}

// --- cells ----------------------------------------------------------------------------------------------------

function main(cell) {
  if (!cell) return "";
  let whole = cell;
  if (cell.querySelector("small, [aria-hidden]")) {
    whole = cell.cloneNode(true);
    whole.querySelectorAll("small, [aria-hidden]").forEach((part) => part.remove());
  }
  return whole.textContent.replace(/\s+/g, " ").trim();
}

function beside(cell) {
  const parts = cell ? [...cell.querySelectorAll("small")] : [];
  return parts.map((part) => part.textContent.trim()).join("; ");
}

function plain(text) {
  return text.replace(/\u2212/g, "-").replace(/(\d)\u202f(?=\d)/g, "$1");
}

function number(text) {
  const found = plain(text).match(/^[<>+]?\s*(-?\d+(?:\.\d+)?)(?:×10\^(-?\d+))?/);
  return found ? Number(found[1]) * 10 ** Number(found[2] ?? 0) : NaN;
}

// --- tables ---------------------------------------------------------------------------------------------------

const IN_ORDER = new Intl.Collator("en", { numeric: true });

function sorted(rows, column, down) {
  const keyed = rows.map((row) => {
    const text = main(row.cells[column]);
    return { row, text, value: number(text), known: text !== "" && text !== MISSING };
  });
  const known = keyed.filter((one) => one.known);
  const numeric = known.every(({ row, value }) => row.cells[column].tagName === "TD" && !Number.isNaN(value));
  const sign = down ? -1 : 1;
  known.sort((one, other) => sign * (numeric ? one.value - other.value : IN_ORDER.compare(one.text, other.text)));
  return [...known, ...keyed.filter((one) => !one.known)].map(({ row }) => row);
}

function sortable(table, rearranged) {
  const body = table.tBodies[0];
  const first = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const label = button("", () => {
      const now = { none: "ascending", ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")];
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", now);
      const rows = now === "none" ? first : sorted(first, column, now === "descending");
      body.textContent = ""; // to move 10,000 rows within it took Chromium 12 s
      body.append(...rows);
      rearranged();
    });
    label.append(...heading.childNodes);
    heading.append(label);
    heading.setAttribute("aria-sort", "none");
  });
}

const MOST = 500; // rows shown at once: a browser takes a minute to lay 10,000 out

// Of the rows that hold the words of a field the first, in the order in which they stand.
function filter(table, name) {
  const body = table.tBodies[0];
  const texts = new Map([...body.rows].map((row) => [row, row.textContent.toLowerCase()]));
  const said = made("output", { "aria-live": "polite" });
  const field = made("input", { type: "search", placeholder: "Filter rows", "aria-label": `Filter rows: ${name}` });
  const more = button(`Show ${MOST} more`, () => show(most + MOST), { "aria-label": `Show ${MOST} more rows: ${name}` });
  let most = MOST;
  function show(count = most) {
    most = count;
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let holding = 0;
    for (const row of [...body.rows]) {
      const holds = words.every((word) => texts.get(row).includes(word));
      holding += holds;
      row.hidden = !holds || holding > most;
    }
    more.hidden = holding <= most;
    const found = words.length ? `${holding} of ${texts.size} rows` : "";
    said.textContent = holding > most ? `the first ${most} of ${holding} rows` : found;
  }
  field.addEventListener("input", () => show());
  show();
  return { tools: [field, said, more], show };
}

function asCsv(table) {
  const rows = [...table.tHead.rows, ...table.tBodies[0].rows];
  const width = table.tHead.rows[0].cells.length;
  const split = [...Array(width).keys()].map((column) => rows.some((row) => beside(row.cells[column])));
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  return rows.map((row) => split.flatMap((two, column) => {
    const cell = row.cells[column];
    const texts = two ? [main(cell), beside(cell)] : [main(cell)];
    return texts.map((text) => quoted(text === MISSING ? "" : plain(text)));
  }).join(",")).join("\n") + "\n";
}

// --- downloads ------------------------------------------------------------------------------------------------

function slug(text) {
  return text.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 60).replace(/^-|-$/g, "") || "table";
}

function download(content, kind, name) {
  const address = URL.createObjectURL(new Blob([content], { type: kind }));
  made("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// A drawing on its own has no page to take colours from; those of the light page suit paper.
function asSvg(drawing) {
  const light = [...document.styleSheets[0].cssRules].find((rule) => rule.selectorText === ":root").style;
  const coloured = (text) => text
    .replace(/currentColor/g, "var(--ink)")
    .replace(/var\((--[\w-]+)\)/g, (_, name) => light.getPropertyValue(name).trim());
  const copy = drawing.cloneNode(true);
  copy.querySelectorAll(".off, .guide").forEach((part) => part.remove());
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("font-family", "Helvetica, Arial, sans-serif");
  copy.removeAttribute("tabindex");
  return coloured(new XMLSerializer().serializeToString(copy));
}

function downloads(figure) {
  const drawing = figure.querySelector("svg.plot");
  const table = figure.querySelector("table");
  const name = slug(figure.querySelector("figcaption").textContent);
  const tools = made("div", { class: "tools" });
  if (drawing) tools.append(button("SVG", () => download(asSvg(drawing), "image/svg+xml", `${name}.svg`), {
    "aria-label": `Download as SVG: ${figure.querySelector("figcaption").textContent}` }));
  if (table) tools.append(button("CSV", () => download(asCsv(table), "text/csv", `${name}.csv`), {
    "aria-label": `Download as CSV: ${figure.querySelector("figcaption").textContent}` }));
  figure.append(tools);
}

function equipped(table) {
  const around = table.closest(".scroll") ?? table;
  const section = table.closest("section");
  const name = table.caption?.textContent ?? around.getAttribute("aria-label") ?? "table";
  const tools = made("div", { class: "tools" });
  const filtered = table.tBodies[0].rows.length >= 5 ? filter(table, name) : null;
  if (filtered) tools.append(...filtered.tools);
  tools.append(button("CSV", () => download(asCsv(table), "text/csv", `${slug(`${section.id} ${name}`)}.csv`), {
    "aria-label": `Download as CSV: ${name}` }));
  const links = around.previousElementSibling;
  if (links?.matches(".tools")) links.prepend(...tools.childNodes);
  else around.before(tools);
  sortable(table, () => filtered?.show());
}

// --- reading values off a drawing -----------------------------------------------------------------------------

function pair(text) {
  return text.split(",").map(Number);
}

// Where a drawing has its axes, in its own units, and from where to where they go.
function axesOf(group) {
  const [left, top, right, bottom] = pair(group.dataset.frame);
  const [low, high] = pair(group.dataset.x);
  const [under, over] = pair(group.dataset.y);
  return {
    left, top, right, bottom,
    px: (x) => left + ((x - low) / (high - low)) * (right - left),
    x: (px) => low + ((px - left) / (right - left)) * (high - low),
    y: (py) => over - ((py - top) / (bottom - top)) * (over - under),
  };
}

function guided(drawing, axes, places, tell) {
  const guide = drawn("line", { class: "guide", y1: axes.top, y2: axes.bottom, visibility: "hidden" });
  drawing.append(guide);
  let at = -1;
  const show = (place) => {
    at = Math.max(0, Math.min(places.length - 1, place));
    const px = axes.px(places[at]);
    guide.setAttribute("x1", px);
    guide.setAttribute("x2", px);
    guide.setAttribute("visibility", "visible");
    tell(places[at], at);
  };
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = axes.x(((event.clientX - box.left) / box.width) * drawing.viewBox.baseVal.width);
    const distances = places.map((place) => Math.abs(place - x));
    show(distances.indexOf(Math.min(...distances)));
  });
  drawing.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: places.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });
  drawing.addEventListener("focus", () => show(at < 0 ? places.length - 1 : at));
  drawing.setAttribute("tabindex", "0");
  drawing.setAttribute("aria-label", `${drawing.getAttribute("aria-label")}. Arrow keys read its values.`);
  return () => (at < 0 ? undefined : show(at));
}

// --- curves ---------------------------------------------------------------------------------------------------

function curve(figure) {
  const drawing = figure.querySelector("svg.plot");
  const group = drawing.querySelector("[data-frame]");
  const table = figure.querySelector("table");
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => [main(cell), beside(cell)]));
  const names = [...table.tHead.rows[0].cells].slice(1);
  const readout = made("p", { class: "readout", "aria-live": "polite" });
  drawing.after(readout);
  return guided(drawing, axesOf(group), rows.map(([[epoch]]) => Number(epoch)), (epoch, place) => {
    readout.replaceChildren(`Epoch ${epoch}: `);
    const shown = names.map((name, column) => [name, ...rows[place][column + 1]])
      .filter(([name]) => !name.classList.contains("off"));
    shown.forEach(([name, value, span], order) => {
      const ends = span && shown.length <= 3 ? ` (${span})` : "";
      readout.append(order ? " · " : "", main(name), "\u00a0", made("b", {}, value), ends);
    });
  });
}

function switched(legend, figures, again) {
  const all = [];
  const only = (series, shown) => {
    figures.forEach((figure) => figure.querySelectorAll(`[data-series="${series}"]`).forEach((part) => {
      part.classList.toggle("off", !shown);
    }));
    again.forEach((repeat) => repeat());
  };
  legend.querySelectorAll("[data-series]").forEach((entry) => {
    const found = toggle("", (shown) => only(entry.dataset.series, shown));
    found.dataset.entry = entry.dataset.series;
    found.append(...entry.childNodes);
    entry.replaceWith(found);
    all.push([found, entry.dataset.series]);
  });
  const every = (shown) => all.forEach(([found, series]) => {
    found.setAttribute("aria-pressed", shown);
    only(series, shown);
  });
  const attributes = { class: "every" };
  legend.append(button("all", () => every(true), attributes), button("none", () => every(false), attributes));
}

// --- learned shapes over one another ---------------------------------------------------------------------------

const DASHES = ["", "6 3", "2 2", "8 3 2 3", "4 2", "10 4", "6 2 1 2"];
const WIDTH = 680, HEIGHT = 360;

function learned() {
  const found = [];
  document.querySelectorAll("details.shapes").forEach((section) => {
    section.querySelectorAll("figure[data-layer]").forEach((figure) => {
      const group = figure.querySelector("[data-frame]");
      if (!group) return;
      const axes = axesOf(group);
      group.querySelectorAll("[data-seed] path").forEach((path) => {
        const numbers = path.getAttribute("d").match(/-?[\d.]+/g).map(Number);
        const points = numbers.flatMap((px, place) => (place % 2 ? [] : [[axes.x(px), axes.y(numbers[place + 1])]]));
        found.push({
          activation: section.dataset.name, colour: section.dataset.colour, layer: figure.dataset.layer,
          seed: path.closest("[data-seed]").dataset.seed, points,
        });
      });
    });
  });
  return found;
}

function along(points, x) {
  const next = points.findIndex(([at]) => at >= x);
  if (next < 0 || (next === 0 && points[0][0] > x)) return NaN;
  if (next === 0) return points[0][1];
  const [[before, low], [after, high]] = [points[next - 1], points[next]];
  return after === before ? high : low + ((x - before) / (after - before)) * (high - low);
}

function ticks(low, high) {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough);
  const count = Math.floor((high - low) / step + 1e-9) + 1;
  const begin = Math.ceil(low / step - 1e-9) * step;
  return [...Array(count + 1).keys()].map((place) => begin + place * step).filter((tick) => tick <= high + 1e-9);
}

function overlaid(lines, styleOf, label) {
  const every = lines.flatMap(({ points }) => points);
  const span = (values) => [Math.min(...values), Math.max(...values)];
  const [low, high] = span(every.map(([x]) => x));
  let [under, over] = span(every.map(([, y]) => y));
  if (under === over) [under, over] = [under - 1, over + 1];
  const frame = [46, 10, WIDTH - 10, HEIGHT - 30];
  const drawing = drawn("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  const px = (x) => frame[0] + ((x - low) / (high - low || 1)) * (frame[2] - frame[0]);
  const py = (y) => frame[3] - ((y - under) / (over - under)) * (frame[3] - frame[1]);
  const rule = "stroke: var(--rule); stroke-width: 0.7", text = "font-size: 11px; fill: var(--muted)";
  const written = (value) => String(Number(value.toPrecision(6))).replace("-", "\u2212");
  ticks(low, high).forEach((x) => drawing.append(
    drawn("line", { x1: px(x), x2: px(x), y1: frame[1], y2: frame[3], style: rule }),
    drawn("text", { x: px(x), y: frame[3] + 18, "text-anchor": "middle", style: text }, written(x))));
  ticks(under, over).forEach((y) => drawing.append(
    drawn("line", { x1: frame[0], x2: frame[2], y1: py(y), y2: py(y), style: rule }),
    drawn("text", { x: frame[0] - 8, y: py(y) + 4, "text-anchor": "end", style: text }, written(y))));
  lines.forEach((line) => {
    const { colour, dashes } = styleOf(line);
    const style = `fill: none; stroke: ${colour}; stroke-width: 1.7`;
    const d = line.points.map(([x, y]) => `${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join(" L ");
    drawing.append(drawn("path", { d: `M ${d}`, style, "stroke-dasharray": dashes }));
  });
  const group = drawn("g", { "data-frame": frame, "data-x": [low, high], "data-y": [under, over] });
  drawing.append(group);
  return { drawing, axes: axesOf(group), places: [...Array(81).keys()].map((k) => low + (k / 80) * (high - low)) };
}

// Two of activation, layer and seed tell lines apart, the first that differ: one by colour, the other by dashes.
function stylist(chosen) {
  const several = ["activation", "layer", "seed"].filter((what) => chosen[what].length > 1);
  const [byColour = "activation", byDashes] = several;
  const place = (what, line) => chosen[what].indexOf(line[what]);
  return (line) => ({
    colour: byColour === "activation" ? line.colour : `var(--series-${place(byColour, line) % 8})`,
    dashes: byDashes ? DASHES[place(byDashes, line) % DASHES.length] : "",
  });
}

function compared(section) {
  const all = learned();
  if (!all.length) return;
  const open = document.querySelector("details.shapes[open]")?.dataset.name ?? all[0].activation;
  const options = {}, chosen = {};
  for (const what of ["activation", "layer", "seed"]) options[what] = [...new Set(all.map((line) => line[what]))];
  chosen.activation = [open];
  chosen.layer = [...options.layer];
  chosen.seed = [options.seed[0]];
  const place = made("figure", { id: "compare" });
  const choice = made("div", { class: "choice" });
  const update = () => redraw(place, all, chosen);
  for (const what of ["activation", "layer", "seed"]) {
    const buttons = options[what].map((value) => toggle(value, (on) => {
      chosen[what] = options[what].filter((one) => (one === value ? on : chosen[what].includes(one)));
      update();
    }, chosen[what].includes(value)));
    const title = { activation: "Activations", layer: "Layers", seed: "Seeds" }[what];
    choice.append(made("span", {}, title), made("div", { role: "group", "aria-label": title }, ...buttons));
  }
  const after = section.querySelector("h2");
  after.after(made("h3", {}, "Compare layers and seeds"), choice, place);
  update();
}

function redraw(place, all, chosen) {
  const lines = all.filter((line) => ["activation", "layer", "seed"].every((what) => chosen[what].includes(line[what])));
  const caption = made("figcaption", {}, `Learned functions of ${chosen.activation.join(", ")}`);
  if (!lines.length) {
    place.replaceChildren(made("p", { class: "note" }, "Nothing is chosen: press an activation, a layer and a seed."));
    return;
  }
  const named = (line) => ["activation", "layer", "seed"].filter((what) => chosen[what].length > 1)
    .map((what) => (what === "seed" ? `seed ${line.seed}` : line[what])).join(", ") || line.activation;
  const styleOf = stylist(chosen);
  const { drawing, axes, places } = overlaid(lines, styleOf, `${lines.length} learned functions over one another`);
  const readout = made("p", { class: "readout", "aria-live": "polite" }, "\u00a0");
  const legend = made("p", { class: "legend" }, ...lines.slice(0, 40).map((line) => made("span", {},
    swatch(styleOf(line)), ` ${named(line)}`)));
  place.replaceChildren(caption, drawing, readout, legend);
  downloads(place);
  guided(drawing, axes, places, (x) => {
    readout.replaceChildren(`At ${plain(x.toFixed(2))}: `);
    lines.slice(0, 12).forEach((line, order) => {
      const y = along(line.points, x);
      readout.append(order ? " · " : "", `${named(line)} `, made("b", {}, Number.isNaN(y) ? MISSING : y.toFixed(3)));
    });
  });
}

function swatch({ colour, dashes }) {
  const found = drawn("svg", { class: "swatch", width: 30, height: 10, viewBox: "0 0 30 10", "aria-hidden": "true" });
  found.append(drawn("line", {
    x1: 1, y1: 5, x2: 29, y2: 5, "stroke-width": 2.4, style: `stroke: ${colour}`, "stroke-dasharray": dashes,
  }));
  return found;
}

// --- all of it ------------------------------------------------------------------------------------------------

document.querySelectorAll("main table").forEach((table) => {
  if (!table.closest(".numbers")) equipped(table);
});
document.querySelectorAll("main figure").forEach(downloads);
const figures = [...document.querySelectorAll("#curves figure.curve")];
const again = figures.map(curve);
document.querySelectorAll("#curves .legend").forEach((legend) => switched(legend, figures, again));
document.querySelectorAll("#shapes").forEach(compared);

// Paper has no folds.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((fold) => { fold.open = true; });
});
addEventListener("afterprint", () => closed.forEach((fold) => { fold.open = false; }));
