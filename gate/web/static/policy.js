// The editor of the policy's text: line numbers, problems by line while somebody types, and what can stand at the caret,
// by the JSON Schema. Without it the preview says the same problems.
"use strict";
(() => {
  const form = document.querySelector("form.editor");
  if (!form) return;
  const area = form.querySelector("textarea"), gutter = form.querySelector(".gutter");
  const found = document.getElementById("policy-found"), offers = form.querySelector(".offers");
  let schema = null, wrong = new Set(), asked = 0, timer = 0;

  const numbers = () => {
    const count = area.value.split("\n").length;
    gutter.replaceChildren(...Array.from({ length: count }, (_, index) => {
      const one = document.createElement("span");
      one.textContent = `${index + 1}\n`;
      if (wrong.has(index + 1)) one.className = "wrong";
      return one;
    }));
    gutter.scrollTop = area.scrollTop;
  };

  const go = (line) => {
    const lines = area.value.split("\n");
    const from = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
    area.focus();
    area.setSelectionRange(from, from + (lines[line - 1] || "").length);
  };

  const show = (problems) => {
    wrong = new Set(problems.map((one) => one.line));
    const list = document.createElement("ul");
    list.className = "problems";
    for (const one of problems) {
      const item = document.createElement("li"), button = document.createElement("button"), said = document.createElement("bdi");
      button.type = "button";
      button.textContent = `${form.dataset.line} ${one.line}`;
      button.addEventListener("click", () => go(one.line));
      said.textContent = one.message;
      item.className = "problem";
      item.append(button, said);
      list.append(item);
    }
    if (problems.length) found.replaceChildren(list); else found.textContent = form.dataset.none;
    numbers();
  };

  const look = async () => {
    const mine = ++asked, body = new URLSearchParams({ csrf: form.csrf.value, text: area.value });
    try {
      const answer = await fetch(form.dataset.problems, { method: "POST", body, redirect: "error" });
      if (answer.ok && mine === asked) show((await answer.json()).problems);
    } catch { /* the preview says it as well */ }
  };

  // what can stand here
  const indent = (line) => line.match(/^(\s*(?:- )?)/)[0].length;
  const keyOf = (line) => (line.match(/^\s*(?:- )?([\w-]+)\s*:/) || [])[1];

  const context = () => {
    const lines = area.value.slice(0, area.selectionStart).split("\n"), last = lines.pop();
    const path = [];
    let depth = /^\s*$/.test(last) ? last.length : indent(last);
    let item = /^\s*- /.test(last);
    for (let at = lines.length - 1; at >= 0 && depth > 0; at--) {
      if (/^\s*(#.*)?$/.test(lines[at])) continue;
      const raw = lines[at].match(/^\s*/)[0].length, key = keyOf(lines[at]);
      if (item ? raw < depth - 2 || raw <= depth - 2 && !/^\s*- /.test(lines[at]) : indent(lines[at]) < depth) {
        if (key) path.unshift(key);
        depth = raw;
        item = /^\s*- /.test(lines[at]);
      }
    }
    const open = [], pattern = /([\w-]+)\s*:\s*\{|\{|\}/g;
    for (let one; (one = pattern.exec(last)); ) if (one[0] === "}") open.pop(); else open.push(one[1] || "");
    const inside = open.length ? last.slice(last.lastIndexOf("{") + 1).split(",").pop() : last.replace(/^\s*(- )?/, "");
    path.push(...open.filter(Boolean));
    const value = inside.match(/^\s*([\w-]+)\s*:\s*\[?([^\],]*)$/);
    return { path, key: value && value[1], word: (value ? value[2] : inside).trim() };
  };

  const arms = (one) => (one ? [one, ...(one.anyOf || []).flatMap(arms)] : []);
  const step = (node, key) => {
    for (const one of arms(node)) {
      const here = one.items && !one.properties ? one.items : one;
      for (const arm of arms(here)) {
        const next = arm.properties && arm.properties[key] || (typeof arm.additionalProperties === "object" && arm.additionalProperties);
        if (next) return next;
      }
    }
    return null;
  };
  const words = (node) => arms(node).flatMap((one) => [
    ...(one.enum || []), ...("const" in one ? [one.const] : []), ...(one.type === "boolean" ? ["true", "false"] : []), ...(one.items ? words(one.items) : []),
  ]).map(String);

  const offer = (focus) => {
    if (!schema) return;
    const { path, key, word } = context();
    const node = path.reduce((here, one) => here && step(here, one), schema);
    let can = [];
    if (node && key) can = words(step(node, key));
    else if (node) can = arms(node).flatMap((one) => arms(one.items || one)).flatMap((one) => Object.keys(one.properties || {})).map((one) => `${one}: `);
    can = [...new Set(can)].filter((one) => one.startsWith(word) && one.trim() !== word);
    offers.replaceChildren(...(can.length ? [form.dataset.offers, " "] : []), ...can.map((one) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = one.trim();
      button.addEventListener("click", () => {
        area.setRangeText(one, area.selectionStart - word.length, area.selectionEnd, "end");
        area.focus();
        changed();
      });
      return button;
    }));
    offers.hidden = !can.length;
    if (focus && can.length) offers.querySelector("button").focus();
  };

  const changed = () => {
    numbers();
    offer(false);
    clearTimeout(timer);
    timer = setTimeout(look, 400);
  };
  area.addEventListener("input", changed);
  area.addEventListener("click", () => offer(false));
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  area.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.code === "Space") { event.preventDefault(); offer(true); }
  });
  offers.addEventListener("keydown", (event) => { if (event.key === "Escape") area.focus(); });
  fetch(form.dataset.schema).then((answer) => answer.json()).then((one) => { schema = one; }).catch(() => {});
  numbers();
  look();
})();
