-- A study without the one has none of the other: the performance model did not run yet, or had too few models.
select study_id
from {{ ref('fct_performance_scores') }}
except
select study_id
from {{ ref('fct_recommendations') }}
