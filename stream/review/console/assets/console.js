"use strict";
// The page works without this file. It adds keys, keeps what is typed over reloads, and looks again where nothing waits.

const form = document.getElementById("answer");
const note = document.getElementById("note");
const keys = document.getElementById("keys");
const empty = document.getElementById("empty");
const twins = [...document.querySelectorAll("input[name=twin]")];
const LOOK_AGAIN_MS = 5000;
const RENEW_MS = 30000;
const draftOf = (event) => `tagstream draft ${event}`;

// The button Back may show an old page from the browser's memory, so the current page is loaded from the server.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

function keepTyped() {
  const saved = document.querySelector("[data-saved]");
  if (saved && saved.dataset.saved !== form?.dataset.event) sessionStorage.removeItem(draftOf(saved.dataset.saved));
  if (!form) return;
  const draft = draftOf(form.dataset.event);
  const kept = sessionStorage.getItem(draft);
  if (kept !== null) note.value = kept;
  note.addEventListener("input", () => sessionStorage.setItem(draft, note.value));
}

function sendOnce() {
  let sent = false;
  form?.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
    document.body.setAttribute("aria-busy", "true");
  });
  // If the network fails, the page stays and its form can be sent again.
  addEventListener("pageshow", () => { sent = false; document.body.removeAttribute("aria-busy"); });
}

function press(event) {
  // A key that is held down would answer items that the reviewer has not read.
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keys?.open) return;
  const typing = event.target.closest("textarea, input:not([type=checkbox])");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  const key = event.key.toLowerCase();
  const target = key === "l" ? document.getElementById("link") : document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (key === "?" && keys) {
    event.preventDefault();
    keys.showModal();
  } else if (key === "n" && note) {
    event.preventDefault();
    note.focus();
    note.setSelectionRange(note.value.length, note.value.length);
  } else if (key === "a" && twins.length) {
    event.preventDefault();
    const all = twins.every((one) => one.checked);
    for (const one of twins) one.checked = !all;
  } else if (target) {
    event.preventDefault();
    target.click();
  }
}

// A reviewer who types keeps the item. A reviewer who has gone away loses the item after a while.
function keepHold() {
  let renewed = Date.now();
  note?.addEventListener("input", async () => {
    if (Date.now() - renewed < RENEW_MS) return;
    renewed = Date.now();
    const held = new URLSearchParams({ event: form.elements.event.value, token: form.elements.token.value });
    try {
      const answer = await fetch("/renew", { method: "POST", body: held });
      document.getElementById("lost").textContent = answer.status === 409 ? (await answer.json()).message : "";
    } catch (error) {
      // When the answer is sent, the reviewer sees that the console does not answer.
      console.info("the console does not answer", error);
    }
  });
}

async function lookAgain() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch("/standing.json", { method: "POST", headers: { Accept: "application/json" } });
      if (answer.ok && (await answer.json()).next) {
        location.assign("/");
        return;
      }
    } catch (error) {
      // The console does not answer. The page stays as it is and asks again.
      console.info("the console does not answer", error);
    }
  }
  setTimeout(lookAgain, LOOK_AGAIN_MS);
}

keepTyped();
sendOnce();
keepHold();
document.addEventListener("keydown", press);
document.getElementById("help")?.addEventListener("click", (event) => {
  if (!keys) return;
  event.preventDefault();
  keys.showModal();
});
if (empty) setTimeout(lookAgain, LOOK_AGAIN_MS);
