"""Commands: run, UI, rebuild, documentation."""
