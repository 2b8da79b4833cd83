"""The pre-training mix from scores of documents (definitions, Section 8). Imports neither torch nor DuckDB.

samples: sorted scores, one array per model and domain. histograms: on bins common to all models. distances:
Jensen-Shannon, with null floors and intervals. agreement: Wasserstein-1 and Spearman. tables: Arrow tables in and out,
for dbt's Python models.
"""
