"""The papers: recipes of their experiments, verdicts on their numbers, the ledger of their claims."""
