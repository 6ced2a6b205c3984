// A Laundry List as a prompt: the frames and the way of joining are th_utils.tasks.laundry_list's.
function join(words, article) {
  const named = words.map(word => article + word);
  if (!article) return named.join(", ");
  return named.length < 3 ? named.join(" and ") : `${named.slice(0, -1).join(", ")}, and ${named.at(-1)}`;
}

// `ticked`: indices into `items`, in the order in which they were ticked off.
function laundryPrompt({ listing, ticking, ask, article = "the ", joiner = " " }, who, items, ticked) {
  const fill = text => text.replaceAll("{who}", who).replace("{items}", join(items, article))
    .replace("{ticked}", join(ticked.map(i => items[i]), article));
  return [listing, ticked.length ? ticking : "", ask].filter(Boolean).map(fill).join(joiner);
}

function lots(words, n) {
  const rest = [...words];
  return Array.from({ length: n }, () => rest.splice(Math.floor(Math.random() * rest.length), 1)[0]);
}
