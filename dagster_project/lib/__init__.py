"""What the definitions in `defs/` are made of: keys, dbt, jobs, due work, run requests, locks, automation."""
