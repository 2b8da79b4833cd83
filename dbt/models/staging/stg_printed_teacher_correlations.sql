select
    seeds.study_id,
    printed.paper_table,
    printed.predictor,
    gains.target,
    printed.n,
    if(gains.target = 'proxy_gain', printed.pearson_proxy_gain, printed.pearson_gold_gain) as pearson,
    if(gains.target = 'proxy_gain', printed.spearman_proxy_gain, printed.spearman_gold_gain) as spearman
from {{ ref('razin_correlations') }} as printed
inner join {{ ref('stg_study_seeds') }} as seeds on seeds.seed = 'razin_correlations'
cross join (values ('proxy_gain'), ('gold_gain')) as gains (target)
