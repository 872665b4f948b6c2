"""Packages of the distribution. The shipped sweeps, a folder without code, travel as a package of `orchestration`."""

from setuptools import find_packages, setup

_SWEEPS = "orchestration.shipped_sweeps"
_FOLDERS = {_SWEEPS: "sweeps", f"{_SWEEPS}.base": "sweeps/base", f"{_SWEEPS}.layers": "sweeps/layers"}

setup(
    packages=[*find_packages(include=["dfm_core*", "orchestration*", "analysis*"]), *_FOLDERS],
    package_dir=_FOLDERS,
    package_data={
        "dfm_core.data": ["embedded/*"],
        "analysis.contract": ["published.yaml"],
        "analysis.report": ["templates/*"],
        **{package: ["*.yaml"] for package in _FOLDERS},
    },
)
