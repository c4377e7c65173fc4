"""Hypothesis profiles and the --thorough option."""

import os

import pytest
from hypothesis import HealthCheck, settings

SHARED = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("default", max_examples=50, derandomize=True, **SHARED)
settings.register_profile("thorough", max_examples=1000, **SHARED)


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        default=bool(os.environ.get("AMCORE_THOROUGH")),
        help="run the long checks too, and hypothesis with many random examples",
    )


def pytest_configure(config):
    settings.load_profile("thorough" if config.getoption("--thorough") else "default")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--thorough"):
        skip = pytest.mark.skip(reason="a long check: run with --thorough")
        for item in items:
            if "thorough" in item.keywords:
                item.add_marker(skip)
