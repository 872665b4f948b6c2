"""The work of the entry points: the modes of `sweep.py`, and `measure.py`'s measurement of images from elsewhere.

Begin with `sweep_modes`, which `sweep.py` calls, or `external_measurement`, which `measure.py` calls. May import every
package of orchestration.
"""
