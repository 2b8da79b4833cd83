"""Raw tables of the performance model: predictions, coefficients, errors, components, recommendations."""

from warehouse.contracts.fields import MODEL_ID, OBJECTIVE, Table, flag, integer, number, table, text

_TARGET = text("target", "Target of the prediction: a category of RewardBench or the score.")
_PROTOCOL = text("protocol", "paper_in_sample, paper_10_fold or leave_publisher_out (definitions, Section 5).")
_PREDICTOR = text("predictor", "Named predictor; `selected` is chosen by nested selection.")
_CELL = ("objective", "target")

PERFORMANCE_PREDICTIONS = table(
    "performance_predictions",
    "One row per study, objective, target, predictor, protocol and model: predicted beside observed.",
    (*_CELL, "predictor", "protocol", "model_id"),
    OBJECTIVE,
    _TARGET,
    MODEL_ID,
    _PROTOCOL,
    _PREDICTOR,
    number("predicted", "Predicted value, in percent."),
    number("interval_low", "Lower end of the 90 % prediction interval; null where unbounded.", nullable=True),
    number("interval_high", "Upper end of the 90 % prediction interval; null where unbounded.", nullable=True),
    number("observed", "Observed value, in percent."),
    flag("in_hull", "True where the model lies within the range of the features that the fold was trained on."),
    text("fold", "Fold that the model was held out in: a publisher, or a number; null in-sample.", nullable=True),
)

PERFORMANCE_COEFFICIENTS = table(
    "performance_coefficients",
    "One row per study, objective, target, protocol and feature: the elastic net refitted on all models.",
    (*_CELL, "protocol", "feature"),
    OBJECTIVE,
    _TARGET,
    _PROTOCOL,
    text("feature", "Feature, or product of features."),
    number("coefficient", "Weight of the standardised feature, in points per standard deviation."),
    number("selection_frequency", "Share of resamples of publishers in which the weight is not zero."),
)

PERFORMANCE_SCORES = table(
    "performance_scores",
    "One row per study, objective, target, protocol and predictor: errors, and the cost of a pick by it.",
    (*_CELL, "protocol", "predictor"),
    OBJECTIVE,
    _TARGET,
    _PROTOCOL,
    _PREDICTOR,
    number("mae", "Mean absolute error, in points."),
    number("mae_low", "Lower end of its 95 % interval by resampling publishers."),
    number("mae_high", "Upper end of its 95 % interval by resampling publishers."),
    number("coverage_at_5", "Coverage of the five best; null with fewer models.", nullable=True),
    number("coverage_at_10", "Coverage of the ten best; null with fewer models.", nullable=True),
    number("regret_at_1", "Score of the best minus score of the one picked, in points.", nullable=True),
    number("regret_at_5", "Score of the best minus the best score among five picked, in points.", nullable=True),
)

PERFORMANCE_COMPARISONS = table(
    "performance_comparisons",
    "One row per study, objective, target, protocol, predictor and reference: difference of two predictors' errors.",
    (*_CELL, "protocol", "predictor", "reference"),
    OBJECTIVE,
    _TARGET,
    _PROTOCOL,
    _PREDICTOR,
    text("reference", "Predictor that it is compared with: log10_params, elastic_net or elastic_net_with_placebo."),
    integer("n", "Models that both predict."),
    number("mae", "Mean absolute error of the predictor, in points."),
    number("reference_mae", "Mean absolute error of the reference, in points."),
    number("difference", "Mean over models of error minus error of the reference, in points; below zero is better."),
    number("difference_low", "Lower end of its 95 % interval by resampling publishers."),
    number("difference_high", "Upper end of its 95 % interval by resampling publishers."),
    text("verdict", "better or worse where the interval lies on one side of zero, else undecided."),
)

PERFORMANCE_PREDICTED_COVERAGE = table(
    "performance_predicted_coverage",
    "One row per study, objective, target, protocol, predictor and k: coverage of the k best by prediction.",
    (*_CELL, "protocol", "predictor", "k"),
    OBJECTIVE,
    _TARGET,
    _PROTOCOL,
    _PREDICTOR,
    integer("k", "How many models are picked."),
    number("coverage", "Share of the top k among the top k by prediction."),
    number("chance", "Coverage of a random pick: k / n."),
)

PERFORMANCE_CHOICES = table(
    "performance_choices",
    "One row per study, objective, target and outer fold: the choice of nested selection.",
    (*_CELL, "fold"),
    OBJECTIVE,
    _TARGET,
    text("fold", "Outer fold (a publisher), or `all models`."),
    text("selected_predictor", "Predictor with the smallest inner error."),
    integer("degree", "Polynomial degree of the elastic net with the smallest inner error."),
    number("alpha", "Its alpha."),
    number("l1_ratio", "Its l1_ratio."),
)

PERFORMANCE_ABSTENTIONS = table(
    "performance_abstentions",
    "One row per study, objective and target that is not predicted, with the reason.",
    _CELL,
    OBJECTIVE,
    _TARGET,
    text("reason", "Why there is no prediction."),
)

PERFORMANCE_EXCLUDED_FEATURES = table(
    "performance_excluded_features",
    "One row per study, objective, target and feature that the performance model does not use.",
    (*_CELL, "feature"),
    OBJECTIVE,
    _TARGET,
    text("feature", "Feature."),
    number("share_of_models", "Share of the models that have a value."),
    text("reason", "Why it is not used."),
)

CAPABILITY_COMPONENTS = table(
    "capability_components",
    "One row per study, component and benchmark: principal components of the benchmark matrix (paper, Appendix F).",
    ("component", "benchmark"),
    integer("component", "Number of the component, from 1."),
    number("explained_variance_ratio", "Share of the variance that the component holds."),
    text("benchmark", "Benchmark."),
    number("loading", "Loading of the standardised benchmark; the largest of a component is positive."),
    text("method", "Treatment of missing cells."),
    integer("n_models", "Models in the matrix."),
    integer("n_imputed", "Cells that were filled."),
)

RECOMMENDATIONS = table(
    "recommendations",
    "One row per study, objective, size limit and model: which base to pick, with interval and reason.",
    ("objective", "size_limit_b", "model_id"),
    OBJECTIVE,
    number("size_limit_b", "Largest size allowed, in billions of parameters; null for no limit.", nullable=True),
    integer("rank", "Rank by expected score, 1 is best; null for an abstention.", nullable=True),
    MODEL_ID,
    text("basis", "observed (a reward model was trained on it) or predicted."),
    number("expected_score", "Observed or predicted score, in percent; null for an abstention.", nullable=True),
    number("interval_low", "Lower end of the 90 % interval; null where unbounded.", nullable=True),
    number("interval_high", "Upper end of the 90 % interval; null where unbounded.", nullable=True),
    number("gain_points_over_default", "Gain over the default of the model's size group, in points.", nullable=True),
    number("probability_best", "Probability of being the best within the limit.", nullable=True),
    text("reason", "The reason for its rank, or for the abstention."),
)

PERFORMANCE_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        PERFORMANCE_PREDICTIONS,
        PERFORMANCE_COEFFICIENTS,
        PERFORMANCE_SCORES,
        PERFORMANCE_COMPARISONS,
        PERFORMANCE_PREDICTED_COVERAGE,
        PERFORMANCE_CHOICES,
        PERFORMANCE_ABSTENTIONS,
        PERFORMANCE_EXCLUDED_FEATURES,
        CAPABILITY_COMPONENTS,
        RECOMMENDATIONS,
    )
}
"""Raw tables that the performance model fills, by name."""
