"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const themes = ["light", "dark"];

  // storage is refused to files in some browsers
  const remembered = () => { try { return localStorage.getItem("siamtrack-theme"); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem("siamtrack-theme", theme); } catch { /* not kept */ } };
  const current = () => root.dataset.theme || (system.matches ? "dark" : "light");
  const label = () => {
    const other = current() === "dark" ? "light" : "dark";
    button.textContent = other === "dark" ? "Dark colours" : "Light colours";
  };
  const show = (theme) => { if (themes.includes(theme)) root.dataset.theme = theme; label(); };

  root.classList.add("js");
  show(location.hash.slice(1) || remembered());
  if (!themes.includes(root.dataset.theme)) show(remembered());
  system.addEventListener("change", label);
  window.addEventListener("hashchange", () => show(location.hash.slice(1)));
  button.addEventListener("click", () => {
    const theme = current() === "dark" ? "light" : "dark";
    remember(theme);
    show(theme);
  });

  const names = new Intl.Collator(undefined, { numeric: true });
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return "value" in cell.dataset ? cell.dataset.value : cell.textContent;
  };
  const compare = (a, b, numbers) => (numbers ? Number(a) - Number(b) : names.compare(a, b));

  const sort = (table, head) => {
    const column = head.cellIndex;
    const rows = [...table.tBodies[0].rows];
    const numbers = rows.some((row) => "value" in row.cells[column].dataset);
    const before = head.getAttribute("aria-sort");
    // numbers first from the top, names from A
    const rising = before ? before === "descending" : !numbers;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    rows.sort((a, b) => {
      const [left, right] = [valueOf(a, column), valueOf(b, column)];
      if (left === "" || right === "") return (left === "") - (right === "");
      return compare(left, right, numbers) * (rising ? 1 : -1);
    });
    table.tBodies[0].append(...rows);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    for (const head of table.tHead.rows[0].cells) {
      head.querySelector("button")?.addEventListener("click", () => sort(table, head));
    }
  }

  for (const field of document.querySelectorAll("input[data-filters]")) {
    const rows = [...document.getElementById(field.dataset.filters).tBodies[0].rows];
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    });
  }
})();
