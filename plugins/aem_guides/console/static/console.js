/* The theme of the page around, times in the viewer's zone, links that leave the frame. */
"use strict";
(() => {
  const root = document.documentElement;
  const around = (() => { try { return window.parent !== window ? window.parent.document : null; } catch { return null; } })();
  const COLOURS = {
    "--bg": "--chakra-colors-bg", "--subtle": "--chakra-colors-bg-subtle", "--muted": "--chakra-colors-bg-muted",
    "--fg": "--chakra-colors-fg", "--fg-muted": "--chakra-colors-fg-muted",
  };
  function wear() {
    const outer = around && around.documentElement;
    const kept = (() => { try { return localStorage.getItem("theme"); } catch { return null; } })();
    const dark = outer ? outer.classList.contains("dark")
      : kept === "dark" || (kept !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    root.dataset.theme = dark ? "dark" : "light";
    if (!outer) return;
    const look = window.parent.getComputedStyle(outer);
    for (const [ours, theirs] of Object.entries(COLOURS)) {
      const value = look.getPropertyValue(theirs).trim();
      if (value) root.style.setProperty(ours, value);
    }
  }
  wear();
  if (around) new MutationObserver(wear).observe(around.documentElement, {attributes: true, attributeFilter: ["class", "style"]});

  const FORM = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});
  const WHOLE = new Intl.DateTimeFormat(undefined, {dateStyle: "full", timeStyle: "long"});
  function show(part) {
    for (const shown of part.querySelectorAll("time[datetime]:not([title])")) {
      const at = new Date(shown.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      shown.title = WHOLE.format(at);
      shown.textContent = FORM.format(at);
    }
    for (const field of part.querySelectorAll("[data-offset]")) field.value = new Date().getTimezoneOffset();
  }
  document.addEventListener("DOMContentLoaded", () => show(document));

  /* Parts that are asked for again now and then, each by itself. */
  async function renew(part) {
    const wait = Number(part.dataset.every) * 1000;
    if (!document.hidden) {
      part.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(part.dataset.part, {credentials: "same-origin", cache: "no-store"});
        if (!answer.ok) throw new Error(String(answer.status));
        const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        part.innerHTML = await answer.text();
        show(part);
        const next = part.querySelector("form[data-go]");
        if (next) return next.requestSubmit();
        for (const link of part.querySelectorAll("a")) if (focused && link.getAttribute("href") === focused) link.focus();
        if (part.querySelector("[data-over]")) {
          part.removeAttribute("aria-busy");
          return;
        }
      } catch (error) {
        if (!part.querySelector("[data-stale]")) {
          const note = document.createElement("p");
          note.className = "note";
          note.dataset.stale = "";
          note.textContent = error.message === "401" ? "Your session has ended: sign in to Airflow again, then load this page anew."
            : "This part is not up to date: it could not be asked for again.";
          part.prepend(note);
        }
      }
      part.removeAttribute("aria-busy");
    }
    setTimeout(renew, wait, part);
  }
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("[data-part]").forEach(renew));

  /* The frame may not take the page around elsewhere; a link in that page may. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[data-outside]");
    if (!link || !around || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const outer = around.createElement("a");
    outer.href = link.href;
    around.body.append(outer);
    outer.click();
    outer.remove();
  });
  document.addEventListener("submit", (event) => {
    for (const button of event.target.querySelectorAll("button")) setTimeout(() => { button.disabled = true; });
  });
  window.addEventListener("pageshow", () => { for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false; });
})();
