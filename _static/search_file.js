// Opened from a disk or a stick, a page may not read others: results then come without their excerpts, not with errors.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
