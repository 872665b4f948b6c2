"""The report of a sweep as files: page, tables in every format, figures, sample grids.

Begin with `build.write_report`. `html_page` renders the page from templates/, `markdown`, `latex`, `cell_csv` and
`terminal` the tables, `paper_folder` one set of files per part; `write_files` puts them into a folder or at a URL.
`previous_drawings` spares drawing figures that did not change. It imports all packages below.
"""
