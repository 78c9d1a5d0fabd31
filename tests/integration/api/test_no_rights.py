"""A ServiceAccount without rights is refused everything that the API serves, whatever that is."""

import pytest
import pytest_asyncio

from scheduler.api.routes import subresources
from scheduler.objects.kinds import ALL_KINDS
from tests.integration.api.conftest import guarded_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
OF_COLLECTION = {**VERBS, "GET": "list", "DELETE": "deletecollection"}
BODIES = (
    ("application/json", b'{"metadata":{"name":"x"}}'),
    ("application/json", b'{"kind":"List","items":[{"metadata":{"name":"x"}}]}'),
    ("application/x-ndjson", b'{"metadata":{"name":"x"}}\n'),
    ("application/apply-patch+yaml", b'{"metadata":{"name":"x"}}'),
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bare(postgres_url, tmp_path_factory):
    """An API without a single role."""
    cache = tmp_path_factory.mktemp("kubectl")
    async with guarded_api(postgres_url, cache, roles=()) as found:
        found.nobody = await found.robot("default")
        yield found


def places(kind):
    """Yield every path of a kind: (path, namespace, subresource, name)."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    homes = ((root, ""), (f"{root}/namespaces/default", "default"))
    for base, home in homes if kind.namespaced else homes[:1]:
        yield f"{base}/{kind.plural}", home, "", ""
    base, home = homes[kind.namespaced]
    if kind.resource == "namespaces":
        home = "x"
    for sub in ("", *subresources(kind)):
        yield f"{base}/{kind.plural}/x{sub and '/'}{sub}", home, sub, "x"


def said(kind, verb, home, sub, name):
    """Return kube-apiserver's words."""
    where = f'in the namespace "{home}"' if home else "at the cluster scope"
    named = f' "{name}"' if name else ""
    return (
        f"{kind.resource}{named} is forbidden: User "
        f'"system:serviceaccount:default:robot" cannot {verb} resource '
        f'"{kind.plural}{sub and "/"}{sub}" in API group "{kind.group}" {where}'
    )


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda k: f"{k.resource}-{k.version}")
async def test_every_request_to_a_kind_is_forbidden(bare, kind):
    for path, home, sub, name in places(kind):
        for method, verb in (VERBS if name else OF_COLLECTION).items():
            for content_type, body in BODIES if method in {"POST", "PATCH"} else BODIES[:1]:
                headers = {**bare.nobody, "Content-Type": content_type}
                data = None if method == "GET" else body
                answer = await bare.pods.call(method, path, headers=headers, data=data)
                assert (answer.code, answer.body["reason"]) == (403, "Forbidden"), (method, path)
                assert answer.body["message"] == said(kind, verb, home, sub, name)
        if not sub:
            watched = await bare.pods.call("GET", path, headers=bare.nobody, watch="true")
            assert watched.body["message"] == said(kind, "watch", home, sub, name)
        for accept in (TABLE, METADATA):
            headers = {**bare.nobody, "Accept": accept}
            assert (await bare.pods.call("GET", path, headers=headers)).code == 403
        for method in ("HEAD", "OPTIONS", "TRACE"):
            async with bare.pods.session.request(
                method, bare.pods.url + path, headers=bare.nobody
            ) as answer:
                assert answer.status == 403, (method, path)


async def test_so_is_what_is_no_kind(bare):
    paths = ("/healthz", "/livez", "/readyz", "/version", "/metrics", "/api", "/apis", "/api/v1")
    for path in (*paths, "/apis/apps", "/apis/apps/v1", "/openapi/v2", "/openapi/v3", "/x", "/"):
        for method in ("GET", "POST", "DELETE"):
            answer = await bare.pods.call(method, path, headers=bare.nobody)
            assert answer.code == 403
            assert answer.body["message"] == (
                'forbidden: User "system:serviceaccount:default:robot" cannot '
                f'{method.lower()} path "{path}"'
            )


async def test_nobody_at_all_is_forbidden_everything_at_the_pods_door(bare):
    for path in ("/api/v1/namespaces", "/api/v1/nodes/x", "/metrics", "/healthz"):
        answer = await bare.pods.get(path)
        assert answer.code == 403
        assert 'User "system:anonymous" cannot' in answer.body["message"]


async def test_the_main_door_knows_no_other_rights(bare):
    path = "/api/v1/namespaces/default/secrets"
    assert (await bare.main.call("GET", path, headers=bare.nobody)).code == 403
    assert (await bare.main.get(path)).code == 200
    assert (await bare.main.call("GET", "/healthz", headers=bare.nobody)).code == 200
