"""Reports: one offline HTML page and its pictures, made from the marts alone (`page.build_report`).

Nothing is imported here: whoever needs the words of a report alone is spared the drawing library.
"""
