"""Figures of a sweep: each kind collects what it shows as plain data; `drawing` turns that into pictures."""
