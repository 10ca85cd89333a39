// Folds and filters the matrix, and keeps the view in the address, as #q=wal&v=fails: it can be shared, also from
// file://. Without this script the whole matrix is there, unfolded.
"use strict";
document.documentElement.classList.add("js");
const table = document.getElementById("m");
if (table) {
  const form = document.getElementById("filter");
  const ids = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.id.slice(2));
  const groups = [...table.tBodies].map((body) => ({ body, head: body.rows[0], rows: [...body.rows].slice(1) }));
  const foldable = groups.length > 1;
  for (const group of groups) group.name = (group.head.querySelector("a") || document.querySelector("h1")).textContent;
  const all = document.getElementById("all");
  const open = new Set();
  form.hidden = false;

  // Neighbouring cells that say the same are one in the file; columns can only be hidden once they are several.
  const split = (group) => {
    if (group.split) return;
    group.split = true;
    for (const row of group.rows)
      for (const cell of [...row.cells]) {
        const span = cell.colSpan;
        cell.removeAttribute("colspan");
        for (let i = 1; i < span; i++) cell.after(cell.cloneNode(true));
      }
  };
  const verdict = (cell) => [...cell.classList].find((name) => name !== "out") || "";
  const letters = { works: "w", degraded: "d", workaround: "r", unstable: "u", fails: "f", hangs: "h", crashes: "c", skipped: "s", invalid: "i" };

  const state = () => {
    const data = new FormData(form);
    const view = { q: (data.get("q") || "").trim().toLowerCase(), t: data.get("t") || "", v: data.getAll("v"), s: data.getAll("s"), a: data.get("a") || "", b: data.get("b") || "" };
    if (view.a && view.b) view.s = [];
    return view;
  };

  const columns = (view) => {
    const wanted = view.a && view.b ? [view.a, view.b] : view.s;
    return ids.map((id) => !wanted.length || wanted.includes(id));
  };

  const unfold = (group, yes) => {
    if (yes) split(group);
    group.body.classList.toggle("open", yes);
    if (group.button) {
      group.button.setAttribute("aria-expanded", yes);
      group.button.textContent = yes ? "▾" : "▸";
    }
  };

  const show = () => {
    const view = state();
    const shown = columns(view);
    const hides = shown.includes(false);
    const filtered = view.q || view.v.length || (view.a && view.b);
    const wanted = view.v.map((name) => letters[name]);
    const [a, b] = [ids.indexOf(view.a) + 1, ids.indexOf(view.b) + 1];
    let count = 0, total = 0;
    for (const group of groups) {
      const here = !view.t || group.body.id === view.t;
      if (hides || filtered) split(group);
      let hits = 0;
      for (const row of group.rows) {
        let fits = here;
        if (fits && view.q) fits = (group.name + "." + row.cells[0].textContent).toLowerCase().includes(view.q);
        if (fits && wanted.length) fits = shown.some((yes, i) => yes && wanted.includes(verdict(row.cells[i + 1])));
        if (fits && a && b) fits = verdict(row.cells[a]) !== verdict(row.cells[b]);
        row.classList.toggle("out", !fits);
        if (fits) hits++;
        if (hides || group.hid)
          for (let i = 0; i < shown.length; i++) row.cells[i + 1].classList.toggle("out", !shown[i]);
      }
      if (hides || group.hid)
        for (let i = 0; i < shown.length; i++) group.head.cells[i + 1].classList.toggle("out", !shown[i]);
      group.hid = hides;
      count += hits;
      total += group.rows.length;
      const byName = view.q && !group.rows.length && group.head.cells[0].textContent.toLowerCase().includes(view.q);
      group.body.classList.toggle("out", !here || (Boolean(filtered) && !hits && !byName && group.rows.length > 0) || (Boolean(view.q) && !group.rows.length && !byName));
      if (foldable) unfold(group, open.has(group) || (Boolean(filtered) && hits > 0) || (Boolean(view.t) && here));
    }
    const heads = table.tHead.rows[0].cells;
    for (let i = 0; i < shown.length; i++) heads[i + 1].classList.toggle("out", !shown[i]);
    document.getElementById("shown").textContent = total ? count + " of " + total + " cases" : "";
  };

  const write = () => {
    const view = state();
    const words = new URLSearchParams();
    for (const [key, value] of Object.entries(view)) {
      const text = Array.isArray(value) ? value.join(",") : value;
      if (text) words.set(key, text);
    }
    const text = words.toString();
    history.replaceState(null, "", "#" + text);
  };

  const read = () => {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) {
      const row = hash && document.getElementById(decodeURIComponent(hash));
      const group = groups.find((group) => row && group.body.contains(row));
      if (group && foldable) { open.add(group); show(); row.scrollIntoView(); }
      return;
    }
    const words = new URLSearchParams(hash);
    for (const field of form.elements) {
      if (!field.name) continue;
      const value = words.get(field.name) || "";
      if (field.type === "checkbox") field.checked = value.split(",").includes(field.value);
      else field.value = value;
    }
    show();
    document.getElementById("matrix").scrollIntoView();
  };

  for (const group of groups) {
    if (!foldable) { split(group); continue; }
    if (!group.rows.length) continue;
    const button = document.createElement("button");
    button.className = "fold";
    button.type = "button";
    button.setAttribute("aria-label", "Cases of " + group.name);
    button.addEventListener("click", () => {
      const yes = !group.body.classList.contains("open");
      if (yes) open.add(group); else open.delete(group);
      unfold(group, yes);
    });
    group.button = button;
    group.head.cells[0].prepend(button);
    unfold(group, false);
  }
  if (all) all.hidden = !groups.some((group) => group.rows.length);
  if (all) all.addEventListener("click", () => {
    const yes = open.size < groups.length;
    open.clear();
    if (yes) groups.forEach((group) => open.add(group));
    all.textContent = yes ? "Fold all" : "Unfold all";
    show();
  });
  // Typing gives the one, some ways of choosing from a list only the other.
  for (const kind of ["input", "change"]) form.addEventListener(kind, () => { show(); write(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { show(); write(); }));
  addEventListener("hashchange", read);
  show();
  read();
}
