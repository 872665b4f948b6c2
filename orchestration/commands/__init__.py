"""The modes of `sweep.py`: run, --dry-run, --check, --status, --stop and --gc.

Begin with `sweep_modes`, which the entry point calls. May import every package of orchestration.
"""
