// Opened from a disk or a stick, a page may not read others: results then come without their excerpts, not with errors.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
// An excerpt is from what the page says: not from its list of contents, not from its code.
document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined") return;
  Search.htmlToText = (text, anchor) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    const place = (anchor && page.getElementById(anchor.slice(1))) || page.querySelector("article");
    place.querySelectorAll(".headerlink, script, style, nav, summary, .cell_input").forEach(node => node.remove());
    return place.textContent.replace(/\s+/g, " ");
  };
});
