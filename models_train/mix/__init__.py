"""The pre-training mix from scores of documents (definitions, Section 8). Imports neither torch nor DuckDB.

samples: sorted scores, one array per model and domain. distances: histograms on common bins, and Jensen-Shannon
distances with null floors and intervals. agreement: Wasserstein-1 and Spearman. tables: Arrow tables in and out,
for dbt's Python models.
"""
