// A page that is marked data-still is left alone: it is a form, or an answer to one.
// Every few seconds the page's main part is fetched anew and put in place, unless somebody is at a form or an open
// detail, or the tab is hidden. Without JavaScript a reload does the same.
"use strict";
(() => {
  const main = document.getElementById("main");
  const quiet = new Set(["/login", "/brake"]);
  if (!main || quiet.has(location.pathname) || location.pathname.startsWith("/link/")) return;
  const busy = () =>
    document.hidden || main.contains(document.activeElement) && document.activeElement !== main ||
    main.querySelector("details[open], .code, [data-still], .still, textarea:not([hidden])") || [...main.querySelectorAll("input[required]")].some((one) => one.value && one.value !== one.defaultValue);
  let wait = 3000;
  const again = () => setTimeout(look, wait);
  const look = async () => {
    if (busy()) return again();
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, redirect: "error" });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
      if (fresh && !busy() && fresh.innerHTML !== main.innerHTML) {
        const left = [...main.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
        main.replaceChildren(...fresh.childNodes);
        main.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = left[index] || 0; });
      }
      wait = 3000;
    } catch {
      wait = Math.min(wait * 2, 60000);
    }
    again();
  };
  again();
})();
