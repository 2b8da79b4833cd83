"""Commands on the published snapshot: the answer, a recommendation, a SQL shell."""
