// The likeliest next tokens, before and after side by side; the reader's own words first.
const SHOWN = 8;

function answersTable(parent) {
  const table = add(parent, "table", "", { class: "lab-answers" });
  add(table, "caption", "Probability of the next token");
  const head = add(add(table, "thead"), "tr");
  ["token", "before", "after"].forEach(text => add(head, "th", text, { scope: "col" }));
  const [watched, likely] = [add(table, "tbody"), add(table, "tbody")];

  function fill(body, rows) {
    while (body.children.length > rows.length) body.lastChild.remove();
    rows.forEach((row, i) => {
      const line = body.children[i] || newLine(body);
      const [name, before, after] = line.children;
      name.textContent = row.whole === false ? `${row.word} (its first token, “${seen(row.token)}”)` : row.word || seen(row.token);
      [[before, row.before], [after, row.after]].forEach(([cell, chance]) => {
        cell.style.setProperty("--share", chance);
        cell.firstChild.textContent = share(chance);
      });
      line.dataset.token = row.token;
      line.dataset.chances = `${row.before} ${row.after}`;
    });
  }
  function newLine(body) {
    const line = add(body, "tr");
    add(line, "th", "", { scope: "row" });
    ["before", "after"].forEach(when => add(add(line, "td", "", { class: `lab-${when}` }), "span"));
    return line;
  }
  return answer => {
    const words = answer.watched.map(row => row.token);
    fill(watched, answer.watched);
    fill(likely, answer.next.filter(row => !words.includes(row.token)).slice(0, SHOWN));
    watched.hidden = !words.length;
    for (const when of ["before", "after"]) { // the likeliest of the column stands out
      const top = Math.max(...answer.next.map(row => row[when]));
      table.querySelectorAll("tr[data-chances]").forEach(line => line.querySelector(`.lab-${when}`)
        .toggleAttribute("data-top", Number(line.dataset.chances.split(" ")[when === "before" ? 0 : 1]) === top));
    }
  };
}

// The whole answer in words, for everybody and for screen readers.
function sentence(answer, dials, heads) {
  const top = when => answer.next.reduce((best, row) => (row[when] > best[when] ? row : best));
  const [old, now] = [top("before"), top("after")];
  const first = `“${seen(old.token)}” (${share(old.before)})`;
  if (!answer.turned) return `Left alone, the model says ${first}.`;
  const turned = dials.map((dial, i) => ({ dial, ...answer.state[i] })).filter(({ dial }) => dial.mode !== "off")
    .map(({ dial, now: value }) => `${nameOf(dial)} at ${signed(value)}`).join(", ");
  const said = old.token === now.token ? `the model still says “${seen(now.token)}” (${share(now.before)} → ${share(now.after)})`
    : `the model says “${seen(now.token)}” (${share(now.before)} → ${share(now.after)}) instead of ${first}`;
  const looks = heads.slice(0, 1).map(head => {
    const pair = answer.looks(head);
    if (!pair) return "";
    const most = pair[1].map((x, t) => [x - pair[0][t], t]).sort((a, b) => b[0] - a[0])[0][1];
    const change = pair.map(row => whole(row[most]));
    return ` Head ${head} looks ${change[1]} at “${seen(answer.tokens[most])}” (before: ${change[0]}).`;
  }).join("");
  return `With ${turned}, ${said}.${looks}`;
}
