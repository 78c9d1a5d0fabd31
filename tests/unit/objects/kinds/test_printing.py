"""Cells of tables."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.objects.kinds import pod, service
from scheduler.objects.kinds.printing import duration, since

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (95, "95s"),
        (119, "119s"),
        (120, "2m"),
        (190, "3m10s"),
        (600, "10m"),
        (10799, "179m"),
        (10800, "3h"),
        (18180, "5h3m"),
        (28800, "8h"),
        (172799, "47h"),
        (172800, "2d"),
        (176400, "2d1h"),
        (86400 * 100, "100d"),
        (86400 * 365 * 2, "2y"),
        (86400 * (365 * 2 + 30), "2y30d"),
        (86400 * 365 * 9, "9y"),
    ],
)
def test_durations_as_kubectl_prints_them(seconds, text):
    assert duration(seconds) == text


def test_an_absent_time_is_unknown():
    assert since(None, NOW) == "<unknown>"
    assert since("nonsense", NOW) == "<unknown>"


def cells(status, spec=None, **meta):
    obj = {
        "metadata": {"name": "p", **meta},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], **(spec or {})},
        "status": status,
    }
    return pod.KIND.printer.cells(obj, NOW)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (
            {
                "phase": "Running",
                "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
            "CrashLoopBackOff",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]},
            "ExitCode:3",
        ),
        (
            {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"signal": 9}}}]},
            "Signal:9",
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {"ready": True, "state": {"running": {}}},
                    {"state": {"terminated": {"reason": "Completed"}}},
                ],
            },
            "Running",
        ),
        (
            {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}],
            },
            "SchedulingGated",
        ),
    ],
)
def test_the_status_word_of_a_pod(status, word):
    assert cells(status)[2] == word
    assert cells(status, deletionTimestamp="2026-01-02T03:04:05Z")[2] == "Terminating"


def test_ready_and_restarts_of_a_pod():
    ended = (NOW - timedelta(seconds=30)).isoformat()
    statuses = [
        {"ready": True, "restartCount": 2, "lastState": {"terminated": {"finishedAt": ended}}},
        {"ready": False, "restartCount": 1},
    ]
    row = cells({"containerStatuses": statuses})
    assert (row[1], row[3]) == ("1/2", "3 (30s ago)")


def test_ports_of_a_service():
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}
    row = service.KIND.printer.cells({"metadata": {"name": "s"}, "spec": spec}, NOW)
    assert row[4] == "80:30080/TCP"
