// Docutils calls the bibliography a list but its entries no list items, which screen readers report as an empty list.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[role=list].citation-list").forEach(list => list.removeAttribute("role"));
  // The theme's arrows beside entries of the contents say nothing of what they open.
  document.querySelectorAll(".bd-sidenav summary").forEach(arrow =>
    arrow.setAttribute("aria-label", `Pages below ${arrow.closest("li").querySelector("a").textContent.trim()}`));
  // On a phone a row of a wide table stands as a card (book.css), so each entry says what it is.
  document.querySelectorAll(".bd-article table:has(thead th:nth-child(4))").forEach(table => {
    const heads = [...table.tHead.rows[0].cells].map(head => head.textContent.trim());
    if (heads.slice(1).every(head => !head || /[a-z]{3}/.test(head))) {
      table.classList.add("th-cards");
      [...table.tBodies].flatMap(body => [...body.rows]).forEach(row =>
        [...row.cells].forEach((cell, i) => (cell.dataset.head = i ? heads[i] : "")));
    }
  });
});
// A formula wider than the screen scrolls, so keys must reach it.
addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => {
  document.querySelectorAll("mjx-container[display=true]").forEach(formula => (formula.tabIndex = 0));
}));
