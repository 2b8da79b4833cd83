"""The performance model: expected score of each base model, its errors, and a recommendation.

`performance` goes from feature and result frames to the landed tables, by way of `features` (which features enter),
`design` (matrix, folds, preparation of a training set), `elastic_net` (the paper's grid, solved exactly), `predictors`
(baselines and rivals), `leave_out` (nested fits without one to three publishers), `protocols` (predictions and
forecasts), `scores` (with intervals). `recommendation` ranks the models per size limit. `components`, `correlations`,
`paired_comparisons` and `teacher_predictors` are statistics beside the model: principal components of the benchmarks,
features against results, two reward models on the same pairs, properties of reward models against what they teach.
`item_arrays` has the rewards of any benchmark as arrays, `item_metrics` their metrics, `item_statistics` what is drawn
and tested over items, `item_tables` the tables of both for dbt.
"""
