// Docutils calls the bibliography a list but its entries no list items, which screen readers report as an empty list.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[role=list].citation-list").forEach(list => list.removeAttribute("role"));
});
// A formula wider than the screen scrolls, so keys must reach it.
addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => {
  document.querySelectorAll("mjx-container[display=true]").forEach(formula => (formula.tabIndex = 0));
}));
