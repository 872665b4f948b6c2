"""The private interfaces of Ray, DeepSpeed and Optuna that cannot be avoided, one module a library.

Each function names the version it was seen in and the public interface that would replace it; a test fails when one
changes. The libraries are imported lazily. Imports `common` alone.
"""
