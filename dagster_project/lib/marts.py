"""The marts by name, as the dbt project has them."""

from dagster_project.environment import DBT_PROJECT

MARTS = tuple(sorted(path.stem for path in (DBT_PROJECT / "models" / "marts").glob("*.sql")))

# A study too small to predict has abstentions and nothing else of these; one that predicts has no abstentions.
MAY_BE_EMPTY = (
    "fct_capability_components",
    "fct_performance_abstentions",
    "fct_performance_choices",
    "fct_performance_coefficients",
    "fct_performance_excluded_features",
    "fct_performance_predictions",
    "fct_performance_scores",
    "fct_predicted_coverage",
    # Studies that train nothing of their own, such as the published one, have none of these.
    "fct_learning_curves",
    "fct_learning_rate_search",
    "fct_reward_model_comparisons",
    "fct_reward_model_subsets",
    "fct_run_costs",
    # Studies that are no lab have none of these.
    "dim_lab_mixes",
    "dim_lab_settings",
    "fct_lab_truth_checks",
    # Studies that score no documents have none of these.
    "fct_jensen_shannon_distances",
    "fct_presence_by_domain",
    "fct_presence_score_distributions",
)
