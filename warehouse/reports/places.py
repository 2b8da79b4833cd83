"""Where a report's files are, apart from what imports the drawing library."""

PAGE_NAME = "base_model_choice.html"
CHARTS_FOLDER = "charts"
