"""Who is let in at which door, and for how long a token is good."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from msgspec.structs import replace

from scheduler.access import Holder, Tokens
from scheduler.access.accounts import Accounts
from scheduler.objects.stored import ObjectKey
from scheduler.store.operations import Replace
from tests.integration.api.conftest import guarded_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"


async def who(door, headers):
    answer = await door.post(WHO, {}, headers=headers)
    return answer.body["status"]["userInfo"] if answer.code == 201 else answer.code


async def test_a_token_makes_its_account(guarded, home):
    headers = await guarded.robot(home)

    found = await who(guarded.pods, headers)

    assert found["username"] == f"system:serviceaccount:{home}:robot"
    assert found["groups"] == [
        "system:serviceaccounts",
        f"system:serviceaccounts:{home}",
        "system:authenticated",
    ]
    key = ObjectKey("serviceaccounts", home, "robot")
    assert found["uid"] == (await guarded.main.store.get(key)).meta.uid
    [credential] = found["extra"]["authentication.kubernetes.io/credential-id"]
    assert credential.startswith("JTI=")
    assert await who(guarded.main, headers) == found


async def test_a_bad_token_is_unauthorized_at_both_doors(guarded, home):
    uid = await guarded.account(home)
    good = Holder(home, "robot", uid)
    other = Tokens(b"x" * 32).issue(good, 600).text
    nested = "ey" + "W1tb" * 1500 + ".e30.x"
    for headers in (
        guarded.bearer(good, -60),
        guarded.bearer(good, audiences=["vault"]),
        guarded.bearer(Holder(home, "robot", "another-uid")),
        guarded.bearer(Holder(home, "nobody", uid)),
        guarded.bearer(Holder(home, "robot", uid, "no-pod", "no-uid")),
        {"Authorization": f"Bearer {other}"},
        {"Authorization": "Bearer eyJ.eyJ.x"},
        {"Authorization": f"Bearer {nested}"},
    ):
        for door in (guarded.main, guarded.pods):
            answer = await door.get("/version", headers=headers)
            assert (answer.code, answer.body["reason"]) == (401, "Unauthorized")
    assert (await who(guarded.pods, guarded.bearer(good)))["username"].endswith(":robot")


async def test_without_credentials(guarded):
    assert (await guarded.main.get("/api/v1/secrets")).code == 200
    refused = await guarded.pods.get("/api/v1/secrets")
    assert (refused.code, refused.body["message"]) == (
        403,
        'secrets is forbidden: User "system:anonymous" cannot list resource "secrets" in API group '
        '"" at the cluster scope',
    )
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await guarded.pods.get(path)).code == 200
    for path in ("/api", "/metrics", "/openapi/v3"):
        assert (await guarded.pods.get(path)).code == 403
    for wrong in ("Bearer x", "Basic eA==", "Bearer "):
        answer = await guarded.pods.get("/version", headers={"Authorization": wrong})
        assert answer.code == 401


async def test_an_account_sees_what_there_is_but_not_metrics(guarded, home):
    headers = await guarded.robot(home)

    for path in ("/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3", "/version"):
        assert (await guarded.pods.get(path, headers=headers)).code == 200
    assert (await guarded.pods.get("/metrics", headers=headers)).code == 403


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked(postgres_url, tmp_path_factory):
    """An API with a token of its own."""
    cache = tmp_path_factory.mktemp("kubectl")
    async with guarded_api(postgres_url, cache, token="s3cret") as found:
        yield found


async def test_the_services_own_token_is_good_at_both_doors(locked):
    own = {"Authorization": "Bearer s3cret"}
    for door in (locked.main, locked.pods):
        found = await who(door, own)
        assert found == {
            "username": "token-holder",
            "groups": ["system:masters", "system:authenticated"],
        }
    headers = await locked.robot("default")
    assert (await who(locked.main, headers))["username"].endswith(":robot")
    for header in ("Bearer s3cre", "s3cret", "Bearer"):
        answer = await locked.main.get("/version", headers={"Authorization": header})
        assert answer.code == 401
    async with locked.pods.session.get(f"{locked.main.url}/version") as answer:
        assert answer.status == 401


async def make_pod(guarded, ns, pod, **spec):
    made = await guarded.main.post(f"/api/v1/namespaces/{ns}/pods", pod(**spec))
    assert made.code == 201, made.body
    return made.body["metadata"]["uid"]


async def test_a_pods_token_says_which_pod(guarded, home, pod):
    account = await guarded.account(home)
    uid = await make_pod(guarded, home, pod, serviceAccountName="robot")

    found = await who(guarded.pods, guarded.bearer(Holder(home, "robot", account, "web", uid)))

    assert found["extra"]["authentication.kubernetes.io/pod-name"] == ["web"]
    assert found["extra"]["authentication.kubernetes.io/pod-uid"] == [uid]
    wrong = guarded.bearer(Holder(home, "robot", account, "web", account))
    assert await who(guarded.pods, wrong) == 401


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("gone", ["serviceaccounts/robot", "pods/web"])
async def test_a_token_ends_soon_after_its_account_or_pod(guarded, home, pod, gone):
    account = await guarded.account(home)
    uid = await make_pod(guarded, home, pod, serviceAccountName="robot")
    clock, store = Clock(), guarded.main.store
    accounts = Accounts(store, guarded.keys.tokens, clock)
    text = guarded.keys.tokens.issue(Holder(home, "robot", account, "web", uid), 600).text
    assert accounts.known(text) is None
    assert (await accounts.user(text)).name.endswith(":robot")
    assert accounts.known(text) is not None

    removed = await guarded.main.call(
        "DELETE", f"/api/v1/namespaces/{home}/{gone}", gracePeriodSeconds="0"
    )

    assert removed.code == 200
    clock.now = 10.0
    assert accounts.known(text) is None
    assert await accounts.user(text) is None


async def test_a_pod_that_is_being_deleted_may_say_good_bye(guarded, home, pod):
    account = await guarded.account(home)
    uid = await make_pod(guarded, home, pod, serviceAccountName="robot")
    store, key = guarded.main.store, ObjectKey("pods", home, "web")
    accounts = Accounts(store, guarded.keys.tokens)
    text = guarded.keys.tokens.issue(Holder(home, "robot", account, "web", uid), 600).text

    async def due(seconds):
        stored = await store.get(key)
        when = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
        meta = replace(stored.meta, deletion_timestamp=when)
        await store.write(Replace("pods", meta, stored.body, stored.status, stored.revision))

    await due(-30)
    assert await accounts.user(text) is not None
    await due(-90)
    assert await accounts.user(text) is None


async def test_what_is_known_of_tokens_is_bounded(guarded, home):
    account = await guarded.account(home)
    accounts = Accounts(guarded.main.store, guarded.keys.tokens)
    texts = [
        guarded.keys.tokens.issue(Holder(home, "robot", account), 600).text for _ in range(4100)
    ]
    for text in texts:
        await accounts.user(text)

    assert len({text for text in texts if accounts.known(text)}) <= 4096
    assert accounts.known(texts[-1]) is not None


async def review(guarded, token, **spec):
    body = {"spec": {"token": token, **spec}}
    answer = await guarded.main.post(REVIEW, body)
    assert answer.code == 201, answer.body
    return answer.body["status"]


async def test_token_reviews(guarded, home):
    account = await guarded.account(home)
    issue, holder = guarded.keys.tokens.issue, Holder(home, "robot", account)

    good = await review(guarded, issue(holder, 600).text)
    assert good["authenticated"] is True
    assert good["user"]["username"] == f"system:serviceaccount:{home}:robot"
    assert good["audiences"] == ["https://kubernetes.default.svc.cluster.local"]
    vault = issue(holder, 600, ["vault", "other"]).text
    assert (await review(guarded, vault, audiences=["vault", "x"]))["audiences"] == ["vault"]
    for token, spec in (
        (vault, {}),
        (issue(holder, 600).text, {"audiences": ["vault"]}),
        (issue(Holder(home, "nobody", account), 600).text, {}),
        ("nonsense", {}),
    ):
        bad = await review(guarded, token, **spec)
        assert not bad["authenticated"]
        assert bad["error"]
        assert token not in bad["error"]
    assert (await guarded.main.post(REVIEW, {"spec": {}})).code == 400


async def test_the_services_own_token_is_reviewed(locked):
    found = await review(locked, "s3cret")
    assert found["user"]["username"] == "token-holder"
    assert not (await review(locked, "s3cret", audiences=["vault"]))["authenticated"]
    assert not (await review(locked, "wrong"))["authenticated"]


async def test_tokens_are_issued(guarded, home, pod):
    account = await guarded.account(home)
    uid = await make_pod(guarded, home, pod, serviceAccountName="robot")
    path = f"/api/v1/namespaces/{home}/serviceaccounts/robot/token"

    made = await guarded.main.post(path, {"spec": {"expirationSeconds": 600}})

    assert (made.code, made.body["kind"]) == (201, "TokenRequest")
    token = made.body["status"]["token"]
    assert guarded.keys.tokens.read(token) == Holder(home, "robot", account)
    expires = datetime.fromisoformat(made.body["status"]["expirationTimestamp"])
    assert abs(expires.timestamp() - guarded.keys.tokens.examine(token).expires) < 1
    assert expires.timestamp() > time.time()
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "web"}
    asked = {"spec": {"boundObjectRef": bound, "audiences": ["vault"]}}
    made = await guarded.main.post(path, asked)
    assert made.body["spec"]["expirationSeconds"] == 3600
    read = guarded.keys.tokens.read(made.body["status"]["token"], ["vault"])
    assert read == Holder(home, "robot", account, "web", uid)


@pytest.mark.parametrize(
    ("spec", "code", "says"),
    [
        ({"expirationSeconds": 599}, 422, "less than 10 minutes"),
        ({"expirationSeconds": 86400 * 365 + 1}, 422, "longer than 365 days"),
        ({"expirationSeconds": "x"}, 400, "cannot be handled as a TokenRequest"),
        ({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "s"}}, 400, "Secret"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "no"}}, 404, "not found"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "web"}}, 400, "different"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "own", "uid": "u"}},
         409, "does not match the UID in record"),
    ],
)  # fmt: skip
async def test_a_token_is_not_issued(guarded, home, pod, spec, code, says):
    await guarded.account(home)
    for name, account in (("web", "default"), ("own", "robot")):
        body = pod(name, serviceAccountName=account)
        await guarded.main.post(f"/api/v1/namespaces/{home}/pods", body)
    path = f"/api/v1/namespaces/{home}/serviceaccounts/robot/token"

    answer = await guarded.main.post(path, {"spec": spec})

    assert answer.code == code
    assert says in answer.body["message"]


async def test_no_token_is_issued_for_an_account_that_is_not_there(guarded, home):
    path = f"/api/v1/namespaces/{home}/serviceaccounts/nobody/token"
    assert (await guarded.main.post(path, {})).code == 404


async def test_without_keys_no_token_is_good_or_issued(api, guarded, home, ns):
    headers = await guarded.robot(home)
    assert (await api.get("/version", headers=headers)).code == 401
    await api.post(f"/api/v1/namespaces/{ns}/serviceaccounts", {"metadata": {"name": "robot"}})
    path = f"/api/v1/namespaces/{ns}/serviceaccounts/robot/token"
    assert (await api.post(path, {})).code == 503


async def test_watches_of_pods_end_with_the_service(postgres_url, tmp_path):
    async with guarded_api(postgres_url, tmp_path) as found:
        robot = await found.robot("default", (("watch",), "", "secrets"))
        url = f"{found.pods.url}/api/v1/namespaces/default/secrets?watch=true"
        async with found.pods.session.get(url, headers=robot) as answer:
            assert answer.status == 200
            await found.main.app.shutdown()
            assert await answer.read() == b""
