// Docutils calls the bibliography a list but its entries no list items, which screen readers report as an empty list.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[role=list].citation-list").forEach(list => list.removeAttribute("role"));
  // The theme's arrows beside entries of the contents say nothing of what they open.
  document.querySelectorAll(".bd-sidenav summary").forEach(arrow =>
    arrow.setAttribute("aria-label", `Pages below ${arrow.closest("li").querySelector("a").textContent.trim()}`));
});
// A formula wider than the screen scrolls, so keys must reach it.
addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => {
  document.querySelectorAll("mjx-container[display=true]").forEach(formula => (formula.tabIndex = 0));
}));
