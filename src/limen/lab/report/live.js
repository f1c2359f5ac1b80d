"use strict";
// A page that is served while its study runs is made anew when a run has ended. What its reader did to it stays:
// filters, orders, folds, what is switched off, where it is scrolled to and what has the focus.

const EVERY = 2000; // milliseconds; of a page that takes long to be made, twice as long as that
const told = document.body.dataset.state;
const note = document.createElement("p");
note.className = "live";
note.setAttribute("role", "status");
note.textContent = "Live: this page is made anew when a run ends.";
document.body.append(note);

// --- what the reader did -----------------------------------------------------------------------------------------

const KEPT = {
  "button[aria-pressed]": [(one) => one.getAttribute("aria-pressed"), (one) => one.click()],
  "input": [(one) => one.value, (one, value) => {
    one.value = value;
    one.dispatchEvent(new Event("input"));
  }],
  "th[aria-sort]": [(one) => one.getAttribute("aria-sort"), (one, value) => {
    const presses = { ascending: 1, descending: 2 }[value] ?? 0;
    for (let press = 0; press < presses; press++) one.querySelector("button").click();
  }],
  "details": [(one) => one.open, (one, value) => { one.open = value; }],
  ".scroll": [(one) => `${one.scrollLeft} ${one.scrollTop}`, (one, value) => {
    [one.scrollLeft, one.scrollTop] = value.split(" ");
  }],
};
const FOCUSED = "a, button, input, summary, svg[tabindex], .scroll";

// By where it stands and what it is called, not by its number: a page that is made anew may have more before it.
function identity(element) {
  const one = element.matches("summary") ? element.parentElement : element;
  const own = one.matches("details") ? one.dataset.name ?? one.querySelector(":scope > summary .unseen")?.textContent
    : one.getAttribute("aria-label") ?? (one.matches(".scroll") ? "" : one.textContent);
  const around = one.parentElement.closest("[role][aria-label], details[data-name]");
  return [one.closest("[id]")?.id, around?.getAttribute("aria-label") ?? around?.dataset.name, own]
    .map((part) => (part ?? "").replace(/\s+/g, " ").trim()).join(" / ");
}

function called(kind) {
  const found = new Map();
  document.querySelectorAll(kind).forEach((element) => {
    const name = identity(element);
    let place = 0;
    while (found.has(`${name} ${place}`)) place += 1;
    found.set(`${name} ${place}`, element);
  });
  return found;
}

// The section at the top of the window, and how far it is scrolled: what is above it may have grown.
function whereabouts() {
  const sections = [...document.querySelectorAll("main > section[id]")];
  const at = sections.filter((one) => one.getBoundingClientRect().top <= 1).at(-1);
  return at ? [at.id, -at.getBoundingClientRect().top] : ["", scrollY];
}

function kept() {
  const states = Object.entries(KEPT).map(([kind, [read]]) =>
    [...called(kind)].map(([name, one]) => [name, read(one)]));
  const focused = [...called(FOCUSED)].find(([, one]) => one === document.activeElement)?.[0];
  return { states, focused, at: whereabouts() };
}

function put({ states, focused, at: [section, offset] }) {
  Object.entries(KEPT).forEach(([kind, [read, write]], place) => {
    const elements = called(kind);
    states[place].forEach(([name, value]) => {
      const one = elements.get(name);
      if (one && read(one) !== value) write(one, value);
    });
  });
  if (focused !== undefined) called(FOCUSED).get(focused)?.focus({ preventScroll: true });
  const top = section ? document.getElementById(section)?.getBoundingClientRect().top : -scrollY;
  if (top !== undefined) scrollBy(0, top + offset);
}

// The entry of the browser's history keeps it over a reload, whatever the page is allowed to store.
if (history.state?.kept) {
  const before = history.state.kept;
  history.replaceState(null, "");
  put(before);
  addEventListener("load", () => { history.scrollRestoration = "auto"; });
}

function anew() {
  history.replaceState({ kept: kept() }, "");
  history.scrollRestoration = "manual";
  location.reload();
}

// --- whether there is more -----------------------------------------------------------------------------------------

const wait = Math.max(EVERY, 2 * (performance.getEntriesByType("navigation")[0]?.responseEnd ?? 0));

async function ask() {
  try {
    const answer = await fetch("state", { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== told) return anew();
  } catch {
    note.textContent = "The server has ended; the page stays as it is.";
  }
  return setTimeout(ask, wait);
}
setTimeout(ask, wait);
