// Keeps the page current: fetches it again and swaps what it shows.
"use strict";

const everyMs = Number(document.body.dataset.refreshMs) || 2000;
const lost = document.getElementById("lost");

async function refresh() {
  const answer = await fetch("/", { signal: AbortSignal.timeout(20000) });
  if (answer.status === 401) {
    // The session is over: the page is the form to sign in.
    location.reload();
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("main");
  if (!answer.ok || !fresh) throw new Error("no page");
  document.querySelector("main").replaceWith(fresh);
}

async function keepCurrent() {
  // Not while nobody looks, nor while somebody marks a text.
  if (!document.hidden && getSelection().isCollapsed) {
    try {
      await refresh();
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
  }
  setTimeout(keepCurrent, everyMs);
}

setTimeout(keepCurrent, everyMs);
