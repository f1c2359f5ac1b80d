// Draws the printed functions of activations, and draws them anew when a slider moves.

function explorer(root, functions, chosen) {
  const SVG = "http://www.w3.org/2000/svg", WIDTH = 420, HEIGHT = 260, LEFT = 44, RIGHT = 10, TOP = 8, BOTTOM = 26;
  const DASHES = ["", "7 3", "2 2", "9 3 2 3", "4 2", "12 4", "6 2 1 2"], POINTS = 480, BINS = 60, TALLEST = 0.15;
  const SAMPLE = normalSample(8192, 2026);
  const states = functions.map((f, index) => ({
    f, shown: chosen.includes(f.name), p: f.inputs.map(one => one.value),
    colour: `var(--ex-${index % 8})`, dash: DASHES[index % DASHES.length],
  }));
  const view = { reach: 6, at: 1, mean: 0, deviation: 1, by: "" };

  // Elements

  function make(name, attributes = {}, ...children) {
    const drawn = ["svg", "path", "line", "rect", "text", "title"].includes(name);
    const element = drawn ? document.createElementNS(SVG, name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  let numbered = 0;

  function slider(text, value, low, high, moved) {
    const id = `${root.id || "explorer"}-${numbered++}`;
    const range = make("input", { type: "range", id, min: low, max: high, step: "any" });
    const number = make("input", { type: "number", step: "any", min: low, max: high, "aria-label": `${text}, as a number` });
    const show = v => { range.value = v; number.value = +v.toPrecision(4); range.setAttribute("aria-valuetext", spoken(v)); };
    const take = (v, from) => {
      if (!Number.isFinite(v)) return;
      const within = Math.min(Math.max(v, low), high);
      if (from === range) number.value = +within.toPrecision(4); else range.value = within;
      range.setAttribute("aria-valuetext", spoken(within));
      moved(within);
      draw();
    };
    range.addEventListener("input", () => take(range.valueAsNumber, range));
    number.addEventListener("input", () => take(number.valueAsNumber, number));
    show(value);
    return { element: make("div", { class: "slider" }, make("label", { for: id }, text), range, number), show };
  }

  function spoken(v) {
    if (!Number.isFinite(v)) return v !== v ? "no number" : v > 0 ? "∞" : "−∞";
    const size = Math.abs(v);
    const text = size !== 0 && (size < 1e-4 || size >= 1e5) ? size.toExponential(2) : String(+size.toPrecision(4));
    return (v < 0 && size !== 0 ? "−" : "") + text;
  }

  function swatch(state) {
    return make("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" },
      make("path", { class: "curve", d: "M0 4H28", style: `stroke:${state.colour}`, "stroke-dasharray": state.dash }));
  }

  // Numbers

  function normalSample(count, seed) {
    const uniform = () => {
      seed = (seed + 0x6D2B79F5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return Array.from({ length: count }, () =>
      Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
  }

  const call = (state, g, x) => g(x, state.p, view.mean, view.deviation);

  // Points of a curve, in pieces that end where it jumps.
  function pieces(at) {
    const found = [[]], step = 2 * view.reach / POINTS;
    let before = null;
    for (let i = 0; i <= POINTS; i++) {
      const x = i === POINTS ? view.reach : -view.reach + i * step, y = at(x);
      if (!Number.isFinite(y)) { found.push([]); before = null; continue; }
      if (before && Math.abs(y - before[1]) > 0.02) {
        let [low, high] = [before, [x, y]];
        for (let k = 0; k < 30; k++) {
          const middle = (low[0] + high[0]) / 2, value = at(middle);
          if (Math.abs(value - low[1]) > Math.abs(value - high[1])) high = [middle, value]; else low = [middle, value];
        }
        if (Math.abs(high[1] - low[1]) > 0.5 * Math.abs(y - before[1])) {
          found[found.length - 1].push(low);
          found.push([high]);
        }
      }
      before = [x, y];
      found[found.length - 1].push(before);
    }
    return found.filter(piece => piece.length > 1);
  }

  function ticks(low, high, wanted) {
    const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find(k => k * power >= rough);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
    return found;
  }

  // Charts

  function chart(title) {
    const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    const caption = make("figcaption", {}, make("span", {}, title));
    return { figure: make("figure", {}, caption, svg), svg, caption, title };
  }

  function frame(svg, [x0, x1], [y0, y1], percent) {
    const px = x => LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    const py = y => HEIGHT - BOTTOM - (y - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
    svg.replaceChildren();
    for (const t of ticks(x0, x1, 6)) {
      svg.append(make("path", { class: Math.abs(t) < 1e-9 ? "axis" : "grid", d: `M${px(t)} ${TOP}V${HEIGHT - BOTTOM}` }),
        make("text", { x: px(t), y: HEIGHT - 8, "text-anchor": "middle" }, spoken(t)));
    }
    for (const t of ticks(y0, y1, 5)) {
      svg.append(make("path", { class: Math.abs(t) < 1e-9 ? "axis" : "grid", d: `M${LEFT} ${py(t)}H${WIDTH - RIGHT}` }),
        make("text", { x: LEFT - 6, y: py(t) + 4, "text-anchor": "end" }, percent ? `${spoken(100 * t)}%` : spoken(t)));
    }
    return [px, py];
  }

  function curves(c, lines) {
    const drawn = lines.map(line => [line, pieces(line.at)]);
    const all = drawn.flatMap(([, found]) => found.flatMap(piece => piece.map(([, y]) => y))).sort((a, b) => a - b);
    let [low, high] = all.length ? [all[0], all[all.length - 1]] : [-1, 1];
    [low, high] = [Math.max(Math.min(low, 0), -2 * view.reach), Math.min(Math.max(high, 0), 2 * view.reach)];
    if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
    const margin = 0.06 * (high - low);
    const [px, py] = frame(c.svg, [-view.reach, view.reach], [low - margin, high + margin], false);
    c.svg.append(make("path", { class: "reader", d: `M${px(view.at)} ${TOP}V${HEIGHT - BOTTOM}` }));
    const clamp = y => Math.min(Math.max(y, low - 2 * margin), high + 2 * margin);
    for (const [line, found] of drawn) {
      const d = found.map(piece => "M" + piece.map(([x, y]) => `${px(x).toFixed(1)} ${py(clamp(y)).toFixed(1)}`).join("L")).join("");
      c.svg.append(make("path", { class: "curve", d, style: `stroke:${line.colour}`, "stroke-dasharray": line.dash },
        make("title", {}, line.name)));
    }
    const said = lines.map(line => `${line.name} ${spoken(line.at(-view.reach))}, ${spoken(line.at(0))}, ${spoken(line.at(view.reach))}`);
    c.svg.setAttribute("aria-label",
      `${c.title}. At ${spoken(-view.reach)}, 0 and ${spoken(view.reach)}: ${said.join("; ") || "nothing is shown"}.`);
  }

  function shares(values, low, width) {
    const counts = new Array(BINS).fill(0);
    for (const v of values) {
      const bin = Math.floor((v - low) / width);
      if (bin >= 0 && bin < BINS) counts[bin] += 1 / values.length;
    }
    return counts;
  }

  function histogram(c, outputs) {
    const given = SAMPLE.map(z => view.mean + view.deviation * z);
    const all = [given, ...outputs.map(one => one.values)].flat().filter(Number.isFinite).sort((a, b) => a - b);
    const [low, high] = [all[Math.floor(0.003 * all.length)], all[Math.ceil(0.997 * all.length) - 1]];
    const width = (high - low) / BINS || 1;
    const [px, py] = frame(c.svg, [low, low + BINS * width], [0, TALLEST], true);
    const outline = counts => "M" + px(low) + " " + py(0) + counts.map((share, bin) =>
      `V${py(Math.min(share, TALLEST * 1.1)).toFixed(1)}H${px(low + (bin + 1) * width).toFixed(1)}`).join("") + `V${py(0)}`;
    c.svg.append(make("path", { class: "given", d: outline(shares(given, low, width)) }));
    for (const { state, values } of outputs) {
      c.svg.append(make("path", { class: "curve", d: outline(shares(values, low, width)), style: `stroke:${state.colour}`,
        "stroke-dasharray": state.dash }, make("title", {}, state.f.name)));
    }
    c.svg.setAttribute("aria-label", `${c.title}; its mean and deviation stand in the table.`);
  }

  // The page

  const charts = {
    value: chart("Value"), slope: chart("Slope"), curvature: chart("Second derivative"), by: chart("Derivative by"),
    histogram: chart("A normal input, pushed through"),
  };
  const select = make("select", { "aria-label": "Which parameters the derivatives are by" });
  charts.by.caption.append(select);
  select.addEventListener("change", () => { view.by = select.value; draw(); });
  const panels = make("div", { class: "panels" }), body = make("tbody", {}), caption = make("caption", {});

  function panel(state) {
    const sliders = state.f.inputs.map((one, place) =>
      slider(one.name, one.value, one.low, one.high, value => { state.p[place] = value; }));
    const reset = make("button", { type: "button" }, "Start values");
    reset.addEventListener("click", () => {
      state.f.inputs.forEach((one, place) => { state.p[place] = one.value; sliders[place].show(one.value); });
      draw();
    });
    const set = make("fieldset", {}, make("legend", {}, state.f.name), ...sliders.map(one => one.element));
    set.append(sliders.length ? reset : make("p", { class: "note" }, "Nothing to set."));
    return set;
  }

  function choices() {
    const set = make("fieldset", {}, make("legend", {}, "Shown"));
    const row = make("div", { class: "choices" });
    for (const state of states) {
      const box = make("input", { type: "checkbox" });
      box.checked = state.shown;
      box.addEventListener("change", () => { state.shown = box.checked; arrange(); draw(); });
      row.append(make("label", {}, box, swatch(state), state.f.name));
    }
    set.append(row);
    return set;
  }

  function arrange() {
    const shown = states.filter(state => state.shown);
    for (const state of states) {
      state.panel ??= panel(state);
      state.panel.hidden = !state.shown;
    }
    const withParameters = shown.filter(state => state.f.by.length);
    select.replaceChildren(...withParameters.map(state => make("option", { value: state.f.name }, `each of ${state.f.name}’s`)));
    if (!withParameters.some(state => state.f.name === view.by)) view.by = withParameters[0]?.f.name ?? "";
    select.value = view.by;
    charts.by.figure.hidden = !withParameters.length;
  }

  function draw() {
    const shown = states.filter(state => state.shown);
    for (const [kind, of] of [["value", "value"], ["slope", "slope"], ["curvature", "curvature"]]) {
      curves(charts[kind], shown.map(state => ({ ...state, name: state.f.name, at: x => call(state, state.f[of], x) })));
    }
    const owner = shown.find(state => state.f.name === view.by);
    if (owner) {
      curves(charts.by, owner.f.by.map((one, place) => ({
        name: one.name, at: x => call(owner, one.value, x), colour: `var(--ex-${place % 8})`, dash: DASHES[place % DASHES.length],
      })));
      key.replaceChildren(...owner.f.by.map((one, place) => make("span", { style: "display:inline-flex;gap:.4rem;align-items:center" },
        swatch({ colour: `var(--ex-${place % 8})`, dash: DASHES[place % DASHES.length] }), one.name)));
    }
    const outputs = shown.map(state => ({
      state, values: SAMPLE.map(z => call(state, state.f.value, view.mean + view.deviation * z)),
    }));
    histogram(charts.histogram, outputs);
    caption.textContent = `At x = ${spoken(view.at)}, and over the normal input`;
    body.replaceChildren(...outputs.map(({ state, values }) => {
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
      const numbers = [state.f.value, state.f.slope, state.f.curvature].map(g => call(state, g, view.at));
      const cells = [...numbers, mean, deviation].map(v => make("td", {}, spoken(v)));
      return make("tr", {}, make("th", { scope: "row" }, state.f.name), ...cells);
    }));
  }

  const at = slider("read the curves at x", view.at, -6, 6, v => { view.at = v; });
  const input = make("fieldset", {}, make("legend", {}, "Input"),
    slider("from −x to x", view.reach, 1, 20, v => { view.reach = v; }).element, at.element,
    slider("mean of the normal input", 0, -3, 3, v => { view.mean = v; }).element,
    slider("its deviation", 1, 0.05, 4, v => { view.deviation = v; }).element);
  for (const kind of ["value", "slope", "curvature", "by"]) {
    charts[kind].svg.addEventListener("pointermove", event => {
      const box = charts[kind].svg.getBoundingClientRect(), x = (event.clientX - box.left) / box.width * WIDTH;
      view.at = Math.min(Math.max((2 * (x - LEFT) / (WIDTH - LEFT - RIGHT) - 1) * view.reach, -view.reach), view.reach);
      at.show(view.at);
      draw();
    });
  }
  const key = make("div", { class: "choices" });
  charts.by.figure.append(key);
  arrange();
  panels.append(input, ...states.map(state => state.panel));
  const heads = ["", "value", "slope", "second derivative", "mean out", "deviation out"];
  const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads.map(h => make("th", { scope: "col" }, h)))), body);
  const numbers = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers" }, table);
  const statistics = states.some(state => state.f.statistics)
    ? " Where a formula takes the mean and deviation of its input, those are the normal input’s, held fixed while x moves." : "";
  const note = `Grey: the input, ${SAMPLE.length.toLocaleString("en")} values of a fixed seed; a bar at the top is taller still.` +
    ` Slopes are by x.${statistics} What is random in training is its mean here.`;
  root.replaceChildren(...(states.length > 1 ? [choices()] : []),
    make("div", { class: "parts" }, panels, make("div", { class: "charts" }, ...Object.values(charts).map(c => c.figure),
      make("div", { class: "numbers" }, numbers, make("p", { class: "note" }, note)))));
  draw();
}
