"""The private interfaces of Ray and DeepSpeed that cannot be avoided, one module a library; Optuna needs none.

Each function names the version it was seen in and why no public interface does; a test in tests/orchestration/private
fails when one changes. The libraries are imported lazily. Begin with ray.py. Imports `common` alone.
"""
