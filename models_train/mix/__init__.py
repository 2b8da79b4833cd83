"""The pre-training mix from scores of documents: histograms, distances between models. Torch-free; knows no DuckDB."""
