"""The study file: settings, checks, and the names of results. Needs no torch.

`study` has the class Study and `load_study`. Its groups of settings are `models` (base models, size groups, seeds),
`run_noise`, `training`, `scoring`, `benchmarks`, `reward_benchmarks`, `leaderboards`, `lab` (with `lab_record`: what
was made of it) and `hub` (which also searches the hub); `settings` has their field types and the messages of problems
with fields. `checks` finds contradictions between settings, `yaml_lines` the lines in the file, `seeds` misprints in
the published figures; `revisions` keeps the commits of branches and tags. `schema` writes the JSON schema for editors.
`fingerprints` hashes models, data and settings to run ids; `reward_ids` names the reward models of a study.
"""
