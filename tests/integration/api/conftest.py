"""A running API on a database of the module's own, and clients for it."""

import asyncio
import contextlib
import io
import json
import os
import ssl
import uuid
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from scheduler.access import DEFAULT_ROLES, Holder, have_keys
from scheduler.api.backend import Consulted
from scheduler.api.configuration import ApiSettings
from scheduler.api.server import build, for_pods, serve
from scheduler.meter import Meter
from scheduler.objects.kinds import REGISTRY
from scheduler.objects.meta import ObjectMeta, now_seconds
from scheduler.objects.stored import Body
from scheduler.placement.binding_review import BindingReview
from scheduler.placement.explainer import Explainer
from scheduler.placement.simulator import Simulator
from scheduler.plugin_manager import PluginManager
from scheduler.profile import by_name
from scheduler.store.operations import Create
from scheduler.store.postgres import connect
from scheduler.store.store import Store

KUBECTL = Path(os.environ.get("VIRTUAL_ENV", Path(__file__).parents[3] / ".venv")) / "bin/kubectl"


class Hosts:
    """A host directory that a test fills."""

    def __init__(self):
        self.known = {}

    def host(self, node_name):
        return self.known.get(node_name)


def namespace(name):
    meta = ObjectMeta(
        name=name,
        uid=str(uuid.uuid4()),
        creation_timestamp=now_seconds(),
        labels={"kubernetes.io/metadata.name": name},
    )
    return Create(
        "namespaces", meta, Body(b'{"spec":{"finalizers":["kubernetes"]}}'), b'{"phase":"Active"}'
    )


class Running:
    """The API under test."""

    def __init__(self, url, store, hosts, session, app):
        self.url, self.store, self.hosts, self.session, self.app = url, store, hosts, session, app

    async def call(self, method, path, body=None, *, headers=None, data=None, **params):
        """Return (status, JSON, headers) of a request."""
        sent = dict(headers or {})
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        if data is not None:
            data = io.BytesIO(data)
        async with self.session.request(
            method, self.url + path, data=data, headers=sent, params=params
        ) as response:
            text = await response.read()
            kind = response.headers.get("Content-Type", "")
            value = json.loads(text) if "application/json" in kind else text.decode()
            return SimpleNamespace(
                code=response.status, body=value, headers=response.headers, raw=text
            )

    async def get(self, path, **params):
        return await self.call("GET", path, **params)

    async def post(self, path, body=None, **more):
        return await self.call("POST", path, body, **more)

    async def fresh_namespace(self):
        name = f"t-{uuid.uuid4().hex[:10]}"
        await self.store.write(namespace(name))
        return name

    def kubectl_command(self, *arguments):
        return [KUBECTL, "--server", self.url, "--cache-dir", str(self.cache), *arguments]

    @property
    def kubectl_environment(self):
        return {**os.environ, "KUBECONFIG": os.devnull, "HOME": str(self.cache)}

    async def kubectl(self, *arguments, stdin=None, check=True):
        """Run the real kubectl; return its output, or the whole outcome with check=False."""
        process = await asyncio.create_subprocess_exec(
            *self.kubectl_command(*arguments),
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.kubectl_environment,
        )
        out, err = await process.communicate(stdin.encode() if stdin is not None else None)
        done = SimpleNamespace(code=process.returncode, out=out.decode(), err=err.decode())
        if check:
            assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err}\n{done.out}"
            return done.out
        return done


@contextlib.asynccontextmanager
async def _unreviewed(_pod, _node):
    yield ""


NOBODY = Consulted({}, _unreviewed)
"""For an API that no other room answers."""


def settings(**changes):
    return ApiSettings(**{"port": 0, "bookmark_seconds": 0.2, **changes})


class Database:
    """A database of a module's own on the shared server."""

    def __init__(self, server_url):
        self.server_url, self.name = server_url, f"test_{uuid.uuid4().hex}"

    async def __aenter__(self):
        self.admin = await connect(self.server_url)
        await self.admin.execute(f"CREATE DATABASE {self.name} TEMPLATE ironfree_template")
        return self.server_url.replace("@/ironfree?", f"@/{self.name}?")

    async def __aexit__(self, *_):
        await self.admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        await self.admin.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(postgres_url, tmp_path_factory):
    """The API, with the namespaces every cluster has."""
    async with Database(postgres_url) as url, Store.open(url) as store:
        for name in ("default", "kube-system"):
            await store.write(namespace(name))
        hosts = Hosts()
        plugins, profiles = PluginManager.load(), by_name()
        answers = {
            "simulations.ironfree.dev": Simulator(store, plugins, profiles).simulate,
            "explanations.ironfree.dev": Explainer(store, plugins, profiles).explain,
        }
        rules = {name: plugins.rules(profile) for name, profile in profiles.items()}
        others = Consulted(answers, BindingReview(store, rules).review)
        app = build(store, REGISTRY, Meter(hosts), others, settings())
        started = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve(app, settings(), started))
        try:
            port = await started
            async with aiohttp.ClientSession() as session:
                running = Running(f"http://127.0.0.1:{port}", store, hosts, session, app)
                running.cache, running.database = tmp_path_factory.mktemp("kubectl"), url
                yield running
        finally:
            server.cancel()
            await asyncio.wait({server})


RIGHTS = "/apis/rbac.authorization.k8s.io/v1"


class Guarded:
    """The API with both of its doors, on a database with what every cluster starts with.

    Args:
        main, pods: by door.
    """

    def __init__(self, main, pods, keys):
        self.main, self.pods, self.keys = main, pods, keys

    async def account(self, ns, name="robot"):
        """Make a ServiceAccount; return its uid."""
        path = f"/api/v1/namespaces/{ns}/serviceaccounts"
        made = await self.main.post(path, {"metadata": {"name": name}})
        assert made.code == 201, made.body
        return made.body["metadata"]["uid"]

    async def robot(self, ns, *rules, name="robot"):
        """Make a ServiceAccount with rights in its namespace; return its headers."""
        uid = await self.account(ns, name)
        if rules:
            await self.give(ns, name, *rules)
        return self.bearer(Holder(ns, name, uid))

    def bearer(self, holder, seconds=600, **more):
        token = self.keys.tokens.issue(holder, seconds, **more).text
        return {"Authorization": f"Bearer {token}"}

    async def give(self, ns, account, *rules, everywhere=False):
        """Bind rules to an account, in its namespace or everywhere."""
        role = f"r-{uuid.uuid4().hex[:8]}"
        place, prefix = (RIGHTS, "cluster") if everywhere else (f"{RIGHTS}/namespaces/{ns}", "")
        listed = [
            {"verbs": [*verbs], "apiGroups": [group], "resources": [*resources]}
            for verbs, group, *resources in rules
        ]
        kind = "ClusterRole" if everywhere else "Role"
        subject = {"kind": "ServiceAccount", "name": account, "namespace": ns}
        bound = {
            "metadata": {"name": role},
            "roleRef": {"kind": kind, "name": role},
            "subjects": [subject],
        }
        for path, body in (
            (f"{place}/{prefix}roles", {"metadata": {"name": role}, "rules": listed}),
            (f"{place}/{prefix}rolebindings", bound),
        ):
            made = await self.main.post(path, body)
            assert made.code == 201, made.body


@contextlib.asynccontextmanager
async def guarded_api(postgres_url, cache, *, roles=DEFAULT_ROLES, token=""):
    """Run the API with both doors."""
    async with Database(postgres_url) as url, Store.open(url) as store:
        for name in ("default", "kube-system"):
            await store.write(namespace(name))
        keys, hosts = await have_keys(store), Hosts()
        given = settings(token=token)
        app = build(store, REGISTRY, Meter(hosts), NOBODY, given, keys=keys)
        started = asyncio.get_running_loop().create_future()
        server = asyncio.create_task(serve(app, given, started))
        try:
            port = await started
            runner = web.AppRunner(for_pods(app), access_log=None)
            await runner.setup()
            served, authority = (
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
                cache / "ca.crt",
            )
            keys.authority.serve(served, ["127.0.0.1"])
            authority.write_bytes(keys.authority.certificate)
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=served).start()
            trust = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=authority))
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with (
                aiohttp.ClientSession(headers=headers) as admin,
                aiohttp.ClientSession(connector=trust) as session,
            ):
                main = Running(f"http://127.0.0.1:{port}", store, hosts, admin, app)
                main.cache = cache
                door = f"https://127.0.0.1:{runner.addresses[0][1]}"
                pods = Running(door, store, hosts, session, app)
                pods.cache, pods.authority = cache / "pods", authority
                found = Guarded(main, pods, keys)
                for role in roles:
                    kind = REGISTRY.by_gvk(role["apiVersion"], role["kind"])
                    made = await main.post(f"{RIGHTS}/{kind.plural}", role)
                    assert made.code == 201, made.body
                yield found
        finally:
            server.cancel()
            await asyncio.wait({server})
            await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(postgres_url, tmp_path_factory):
    async with guarded_api(postgres_url, tmp_path_factory.mktemp("kubectl")) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def home(guarded):
    """A namespace of the test's own at the guarded API."""
    return await guarded.main.fresh_namespace()


@pytest_asyncio.fixture(loop_scope="module")
async def ns(api):
    """A namespace of the test's own."""
    return await api.fresh_namespace()


@pytest.fixture(scope="session")
def pod():
    """Makes a small pod."""

    def make(name="web", **spec):
        containers = [{"name": "c", "image": "nginx:1.27"}]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": containers, **spec},
        }

    return make
