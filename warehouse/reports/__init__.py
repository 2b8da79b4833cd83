"""The report: one offline HTML page and its pictures, made from the marts only (`page.build_report`).

`topics/` holds one module per section. They share `queries` (reading a mart), `labels` (names and formats), `elements`
(figures, cards, sections), `tables` (column specifications) and `charts` (layers); `theme` colours the charts, `export`
writes them, `page` puts all of it on the page. Nothing is imported here: users of these names need no drawing library.
"""

PAGE_NAME = "base_model_choice.html"
CHARTS_FOLDER = "charts"
