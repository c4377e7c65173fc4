"""The rooms of the core: what a header includes lies in its own room or below."""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import amcore

INCLUDE = Path(amcore.get_include()) / "amcore"


def rooms():
    """For every folder of headers, and every header in none, those it includes."""
    below = {}
    for header in INCLUDE.rglob("*.hpp"):
        parents = header.relative_to(INCLUDE).parts[:-1]
        room = parents[0] if parents else header.stem
        for path in re.findall(r'#include "amcore/(.+)\.hpp"', header.read_text()):
            below.setdefault(room, set()).add(path.split("/")[0])
    return {room: found - {room} for room, found in below.items()}


@pytest.mark.skipif(not INCLUDE.is_dir(), reason="not an installed amcore")
def test_rooms_include_one_way():
    order = list(TopologicalSorter(rooms()).static_order())  # a circle would raise
    assert order.index("activation") < order.index("block") < order.index("pass")
    assert order.index("pass") < order.index("measure") < order.index("scheme")
