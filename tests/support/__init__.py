"""What several tests share: studies, tiny models, databases and programs."""
