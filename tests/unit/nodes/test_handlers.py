"""The requests that HTTP probes and hooks send."""

import pytest

from scheduler.nodes.handlers import request_head
from scheduler.objects.handlers import HTTPGetAction, HTTPHeader


def lines(*headers, path="/"):
    given = tuple(HTTPHeader(name, value) for name, value in headers)
    head = request_head(HTTPGetAction(port=80, path=path, http_headers=given), "10.0.0.1:80")
    return head.decode().split("\r\n")


def test_headers_are_sent_as_given():
    assert lines(("x-a", "1"), ("X-A", "2"), ("Authorization", "Basic x"), ("host", "web")) == [
        "GET / HTTP/1.1",
        "Host: web",
        "User-Agent: kube-probe/1.33",
        "Accept: */*",
        "Connection: close",
        "X-A: 1",
        "X-A: 2",
        "Authorization: Basic x",
        "",
        "",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "UPGRADE",
        "keep-alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "transfer-encoding",
        "Content-Length",
        "Connection\r\n",
        " upgrade ",
    ],
)
def test_a_probe_makes_nothing_else_of_its_connection(name):
    assert lines((name, "upgrade")) == lines()
