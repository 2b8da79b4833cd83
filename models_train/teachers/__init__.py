"""Is a reward a good teacher of a policy? Arithmetic on the rewards of a policy's responses (definitions, Section 13).

`arrays` reads them and leaves incomplete prompts out, `resampling` has the bootstrap over prompts. `properties`:
spread and accuracy; `best_of_n`: what choosing by a reward gains, and over-optimisation; `ensembles` and `uncertainty`:
several reward models together. `tables` has the rows of all of these for dbt. `recommendation` names the base model of
a reward model for a policy and a use, and what that loses without better evidence; `evidence` measures on the policy.
"""
