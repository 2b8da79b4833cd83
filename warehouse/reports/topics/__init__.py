"""The sections of a study, one module each: its query, figures, tables and sentences.

A topic is a function of a study that returns a `Section`, or None for a study without data on it. To add one: write its
module, and put the function into ORDER. A section is one view of the page, of at most about six screens; a module whose
subject needs more has two.
"""

from __future__ import annotations

from collections.abc import Callable

from warehouse.reports import queries
from warehouse.reports.elements import Section, Study
from warehouse.reports.topics import (
    answer,
    base_and_data,
    benchmark_scores,
    coefficients,
    components,
    correlations,
    costs,
    coverage,
    documents,
    gains,
    good_teacher,
    leaderboards,
    objectives,
    post_training,
    predicted_coverage,
    prediction,
    race,
    recommendations,
    results,
    sources,
    synthetic,
    teacher_recommendations,
    teachers,
    training,
)

ORDER: tuple[Callable[[Study], Section | None], ...] = (
    answer.section,
    race.section,
    gains.section,
    recommendations.section,
    correlations.section,
    coverage.section,
    prediction.section,
    prediction.predicted_section,
    coefficients.section,
    predicted_coverage.section,
    components.section,
    objectives.section,
    post_training.section,
    base_and_data.section,
    good_teacher.section,
    teachers.section,
    teacher_recommendations.section,
    leaderboards.section,
    results.section,
    benchmark_scores.section,
    training.section,
    training.curves_section,
    costs.section,
    documents.section,
    synthetic.section,
    synthetic.searches_section,
    sources.section,
)
"""Topics in the order of the page."""
OTHER_SCORES = (
    race.section,
    benchmark_scores.section,
    good_teacher.section,
    base_and_data.section,
    teachers.section,
    teacher_recommendations.section,
    leaderboards.section,
    sources.section,
)
"""Topics of a study without results of base models."""


def sections(study: Study) -> list[Section]:
    """The sections of a study; one without results of base models has those of its own tables only."""
    has_other_scores = queries.has_other_scores(study.connection, study.study_id)
    of_study = OTHER_SCORES if has_other_scores else ORDER
    return [section for topic in of_study if (section := topic(study))]
