"""Accept headers."""

import pytest

from scheduler.api.negotiation import Form, accepted
from scheduler.api.status_errors import NotAcceptable

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("header", "form", "version"),
    [
        ("", Form.OBJECT, "v1"),
        ("*/*", Form.OBJECT, "v1"),
        ("application/*", Form.OBJECT, "v1"),
        ("application/vnd.kubernetes.protobuf,application/json", Form.OBJECT, "v1"),
        ("application/vnd.kubernetes.protobuf, */*", Form.OBJECT, "v1"),
        (f"{TABLE},application/json", Form.TABLE, "v1"),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Form.TABLE, "v1beta1"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Form.OBJECT, "v1"),
        ("application/json; as=PartialObjectMetadata; g=meta.k8s.io; v=v1", Form.METADATA, "v1"),
        ("application/json;q=0.5", Form.OBJECT, "v1"),
    ],
)
def test_the_first_entry_that_can_be_served(header, form, version):
    found = accepted(header)
    assert (found.form, found.version) == (form, version)


@pytest.mark.parametrize("header", ["image/png", "application/vnd.kubernetes.protobuf", ",", ";"])
def test_nothing_fits(header):
    with pytest.raises(NotAcceptable):
        accepted(header)


@pytest.mark.parametrize(
    ("parameters", "form"),
    [
        ("v=v2;", Form.DISCOVERY),
        ("v=v2beta1;", Form.OBJECT),
        ("v=v2;profile=nopeer;", Form.OBJECT),
    ],
)
def test_aggregated_discovery_is_v2_exactly(parameters, form):
    entry = f"application/json;{parameters}g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
    assert accepted(f"{entry},application/json", discovery=True).form is form
