"use strict";
/* Filters and sorts what is on the page already. Nothing depends on it: the tools stay hidden
   without it, and nothing is fetched, stored or made from text. */
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const text = (element) => element.textContent.toLowerCase().replace(/\s+/g, " ");

  const filter = (tools) => {
    const items = all(tools.dataset.items);
    const texts = new Map(items.map((item) => [item, text(item)]));
    const search = tools.querySelector("[type=search]");
    const order = tools.querySelector("select");
    const boxes = all("[type=checkbox]", tools);
    const said = tools.querySelector("[role=status]");
    const homes = new Map(items.map((item) => [item, item.parentNode]));
    const first = new Map(items.map((item, place) => [item, place]));

    const show = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
      let seen = 0;
      for (const item of items) {
        const fits = words.every((word) => texts.get(item).includes(word));
        item.hidden = !fits || off.has(item.dataset.severity);
        seen += item.hidden ? 0 : 1;
      }
      said.textContent = seen === items.length ? "" : `${seen} of ${items.length} shown`;
    };
    const sort = () => {
      const key = order.value;
      const compare = {
        severity: (a, b) => first.get(a) - first.get(b),
        count: (a, b) => b.dataset.count - a.dataset.count || first.get(a) - first.get(b),
        code: (a, b) => (a.dataset.code < b.dataset.code ? -1 : a.dataset.code > b.dataset.code ? 1 : 0),
      }[key];
      for (const home of new Set(homes.values())) {
        const own = items.filter((item) => homes.get(item) === home).sort(compare);
        own.forEach((item) => home.append(item));
      }
    };
    search.addEventListener("input", show);
    boxes.forEach((box) => box.addEventListener("change", show));
    if (order) order.addEventListener("change", sort);
    tools.hidden = items.length < 2;
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const value = (row, place, numeric) => {
      const cell = row.cells[place];
      const written = cell.dataset.value ?? cell.textContent.trim().toLowerCase();
      return numeric ? Number.parseFloat(written) : written;
    };
    heads.forEach((head, place) => {
      if (!head.dataset.sort) return;
      const numeric = head.dataset.sort === "number";
      const button = document.createElement("button");
      button.type = "button";
      button.append(head.firstChild);
      head.prepend(button);
      button.addEventListener("click", () => {
        const down = head.hasAttribute("aria-sort")
          ? head.getAttribute("aria-sort") === "ascending" : numeric;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        table.classList.add("sorted");
        const rows = all("tr:not(.more)", body).map((row) => [value(row, place, numeric), row]);
        const sign = down ? -1 : 1;
        rows.sort(([a], [b]) => {
          if (a === b) return 0;
          if (numeric && (Number.isNaN(a) || Number.isNaN(b))) {
            return Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : -1;  /* no figure: at the end */
          }
          return a < b ? -sign : sign;
        });
        rows.forEach(([, row]) => body.append(row));
        all("tr.more", body).forEach((row) => body.append(row));
      });
    });
  };

  all(".tools").forEach(filter);
  all("table[data-sortable]").filter((table) => table.tBodies[0].rows.length > 1).forEach(sortable);

  /* A figure in a hidden part of the page is shown when something leads to it. */
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    const hidden = target && target.closest("[hidden]");
    if (!hidden) return;
    hidden.hidden = false;
    target.scrollIntoView();
  };
  window.addEventListener("hashchange", reveal);
})();
