"""Hypothesis profiles, the --thorough option, and Ctrl-C as in a terminal."""

import os
import signal

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
    # A shell in a script starts what runs in its background with Ctrl-C ignored, and so would be
    # what the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--thorough"):
        skip = pytest.mark.skip(reason="a long check: run with --thorough")
        for item in items:
            if "thorough" in item.keywords:
                item.add_marker(skip)
