"use strict";
// A page that is served while its study runs is made anew when a run has ended.

const EVERY = 2000; // milliseconds
const told = document.body.dataset.state;
const note = document.createElement("p");
note.className = "live";
note.setAttribute("role", "status");
note.textContent = "Live: this page is made anew when a run ends.";
document.body.append(note);

async function ask() {
  try {
    const answer = await fetch("state", { cache: "no-store" });
    if (answer.ok && (await answer.text()) !== told) return location.reload();
  } catch {
    note.textContent = "The server has ended; the page stays as it is.";
  }
  return setTimeout(ask, EVERY);
}
setTimeout(ask, EVERY);
