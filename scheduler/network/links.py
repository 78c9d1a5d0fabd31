"""Variables that tell a container of Services (kubelet's envvars, Docker's links). Pure."""

from collections.abc import Iterable, Iterator

from ..objects.service import HEADLESS, Service

API = "kubernetes"
"""The Service of namespace default that every container is told of."""


def links(services: Iterable[Service], api: Service | None = None) -> dict[str, str]:
    """Return the variables for some Services, those without an address left out.

    Args:
        services: of the container's namespace, if it is to be told of these.
        api: the one that every container is told of, unless its namespace has one of that name.
    """
    named = {each.meta.name: each for each in services}
    if api is not None:
        named.setdefault(api.meta.name, api)
    known = [named[name] for name in sorted(named)]
    return dict(pair for each in known for pair in _of(each))


def _of(service: Service) -> Iterator[tuple[str, str]]:
    address, ports = service.spec.cluster_ip, service.spec.ports
    if address in ("", HEADLESS) or not ports:
        return
    name = _word(service.meta.name)
    yield f"{name}_SERVICE_HOST", address
    yield f"{name}_SERVICE_PORT", str(ports[0].port)
    for port in ports:
        if port.name:
            yield f"{name}_SERVICE_PORT_{_word(port.name)}", str(port.port)
    for at, port in enumerate(ports):
        protocol = port.protocol
        url = f"{protocol.lower()}://{address}:{port.port}"
        if at == 0:
            yield f"{name}_PORT", url
        link = f"{name}_PORT_{port.port}_{protocol}"
        yield link, url
        yield f"{link}_PROTO", protocol.lower()
        yield f"{link}_PORT", str(port.port)
        yield f"{link}_ADDR", address


def _word(name: str) -> str:
    return name.upper().replace("-", "_")
