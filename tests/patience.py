# SPDX-License-Identifier: MIT
"""Limits in seconds that fit the machine: as tests/scale.h, which says why."""
import os

UNKNOWN = 20  # nobody has measured: safe on machines on which page tables are ten times as dear


def patience(seconds):
    """For what must end within so many seconds on the reference machine."""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    return seconds * max(1.0, float(os.environ.get("HMM_TEST_SCALE", UNKNOWN))) * max(1.0, load / processors)
