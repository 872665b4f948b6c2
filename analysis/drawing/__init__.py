"""Drawing of charts as SVG and PNG with matplotlib.

Begin with `chart`, the plain data of a figure; `render` turns a chart into files, with `lines`, `bars` and `images` for
the kinds of panels and `theme` for colours. Nothing here decides what is shown. It imports `text` for numbers.
"""
