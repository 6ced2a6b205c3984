// What is named like the query comes first; then chapters, the pages behind them, what one looks up, and the rest.
var Scorer = {
  score: ([page, title, anchor, description, score]) => {
    const asked = (new URLSearchParams(location.search).get("q") || "").toLowerCase().trim();
    const kinds = [
      [/^book\/(heads|figures|exercises)$/, 16],
      [/^notebooks\/\d/, 12],
      [/^book\/(what_we_found|glossary)$/, 10],
      [/^notebooks\//, 6],
      [/^book\/(api\/|benchmarks|troubleshooting|robustness|reach|status)/, -6],
    ];
    const kind = kinds.find(([name]) => name.test(page)) || [null, 0];
    return score + kind[1] + (title.toLowerCase().includes(asked) ? 5 : 0);
  },
  objNameMatch: 30,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
