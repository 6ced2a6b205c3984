// Docutils calls the bibliography a list but its entries no list items, which screen readers report as an empty list.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[role=list].citation-list").forEach(list => list.removeAttribute("role"));
});
