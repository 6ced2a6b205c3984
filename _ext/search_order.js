// A function by its exact name comes first; then chapters, the pages behind them, what one looks up, and the rest.
var Scorer = {
  score: ([page, title, anchor, description, score]) => {
    const kinds = [
      [/^notebooks\/\d/, 12],
      [/^book\/(what_we_found|heads|exercises|glossary)$/, 10],
      [/^notebooks\//, 6],
      [/^book\/(api\/|benchmarks|troubleshooting|robustness|reach|status|figures)/, -6],
    ];
    return score + (kinds.find(([name]) => name.test(page)) || [null, 0])[1];
  },
  objNameMatch: 40,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
