"""Benchmarks of reward models: their items, and the scores that reward models got on them elsewhere. Imports no torch.

`items` are the items with their completions, and their rows. `records` reads files of any kind that such data have;
`sets` reads a benchmark that a study names, `score_files` the score files of each format, and `imports` matches the
scores with the items.
"""
