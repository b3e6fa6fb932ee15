// The server tells a word that changes when something has happened, or is asked for it every few seconds; where it is
// another one than when the page was made (data-mark), its main part is fetched anew and put in place. Focus, what is folded open and what is scrolled stay; nothing changes while somebody is at a
// form, nor on a page marked data-still (a form, or an answer to one), and nothing is asked while the tab is hidden. What
// is marked data-making is fetched each time until it is made. Without JavaScript a reload does the same.
"use strict";
(() => {
  // What is made beside the page is asked for again by its form; without JavaScript by its button.
  const beside = document.querySelector("[role=status] + form[data-again]");
  if (beside) setTimeout(() => beside.submit(), 2000);
  const main = document.getElementById("main");
  const said = document.getElementById("said");
  const quiet = new Set(["/login", "/brake"]);
  if (!main || !said || !document.querySelector("header nav") || quiet.has(location.pathname) || location.pathname.startsWith("/link/")) return;
  const headers = { "X-Live": "1" };
  const typing = () => {
    const one = document.activeElement;
    return main.contains(one) && /^(INPUT|SELECT|TEXTAREA)$/.test(one.tagName) ||
      [...main.querySelectorAll("input, textarea, select")].some((field) => field.type === "checkbox"
        ? field.checked !== field.defaultChecked
        : field.tagName === "SELECT"
          ? [...field.options].some((option) => option.selected !== option.defaultSelected && field.options.length > 1 && option.defaultSelected)
          : field.type !== "hidden" && field.value !== field.defaultValue);
  };
  const busy = () => document.hidden || typing() || main.querySelector(".code, [data-still], .still");
  // A place in the page that is the same before and after: what it is, and the words in it or its address.
  const name = (one) => one.id || `${one.tagName} ${one.getAttribute("href") || (one.querySelector("summary") || one).textContent.replace(/\d+/g, "").trim()}`;
  const put = (fresh) => {
    const open = new Set([...main.querySelectorAll("details[open]")].map(name));
    const left = [...main.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    const focused = main.contains(document.activeElement) && document.activeElement !== main ? name(document.activeElement) : "";
    main.replaceChildren(...fresh.childNodes);
    main.querySelectorAll("details").forEach((one) => { if (open.has(name(one))) one.open = true; });
    main.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = left[index] || 0; });
    if (focused) [...main.querySelectorAll("a, button, summary, [tabindex]")].find((one) => name(one) === focused)?.focus({ preventScroll: true });
    const title = main.querySelector("h1")?.textContent.trim() || "";
    if (said.dataset.title !== title) said.textContent = title;
    said.dataset.title = title;
  };
  said.dataset.title = main.querySelector("h1")?.textContent.trim() || "";
  let wait = 3000, mark = main.dataset.mark, stale = false, fetching = false, told = null;
  const refresh = async () => {
    if (!stale || fetching || document.hidden || busy()) return;
    fetching = true;
    try {
      const answer = await fetch(location.href, { headers, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      if (fresh && !busy()) {
        stale = false;
        if (fresh.innerHTML !== main.innerHTML) put(fresh);
      }
    } finally {
      fetching = false;
    }
  };
  const heard = (word) => {
    stale ||= main.querySelector("[data-making]") !== null || mark !== "" && word !== mark;
    mark = word;
    return refresh();
  };
  const again = () => setTimeout(look, wait);
  // The session has ended: what is being typed stays, and is kept over the log-in that comes when it is sent.
  const over = () => {
    if (!busy()) return location.reload();
    if (said.textContent !== said.dataset.over) said.textContent = said.dataset.over;
    again();
  };
  const look = async () => {
    if (document.hidden) return again();
    try {
      const word = await fetch("/live", { headers, redirect: "manual", cache: "no-store" });
      if (word.type === "opaqueredirect" || word.status === 401) return over();
      if (!word.ok) throw new Error(String(word.status));
      await heard((word.headers.get("ETag") || "").replaceAll('"', ""));
      wait = 3000;
    } catch {
      wait = Math.min(wait * 2, 60000);
    }
    again();
  };
  // The server tells while it has room for this page; where it has none, and while something is made, the page asks.
  const listen = () => {
    if (document.hidden || told) return;
    told = new EventSource("/live/stream");
    told.onmessage = (event) => { heard(event.data).catch(() => {}); };
    told.addEventListener("over", () => { told.close(); over(); });
    told.onerror = () => {
      if (told.readyState !== EventSource.CLOSED) return;
      document.removeEventListener("visibilitychange", turned);
      stale = true;  // nobody knows what has happened since the page was made
      look();
    };
  };
  const turned = () => {
    if (!document.hidden) return listen();
    told?.close();
    told = null;
  };
  if (main.querySelector("[data-making]")) return void look();
  document.addEventListener("visibilitychange", turned);
  setInterval(() => { refresh().catch(() => {}); }, 3000);  // what came while somebody was at a form
  listen();
})();
