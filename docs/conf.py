"""The documentation as a site, built by `make docs`: Markdown pages, a search that runs in the browser, no network."""

from __future__ import annotations

project = "dfm-experiments"
author = "The authors of dfm-experiments"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
exclude_patterns = ["results/*/comparison.md", "results/*/table.md"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
highlight_language = "text"
# Links to files of the repository that are no pages; tests/test_docs.py follows them.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]
