"""Pods that ask the API themselves, with the token that they are given: stock kubectl in a pod."""

from collections.abc import Iterator

import pytest

from tests.e2e.lab import Lab, images
from tests.e2e.service import BIN, Ironfree, eventually

pytestmark = pytest.mark.timeout(180)

# A robot that may look at pods, and somebody who may do nothing; apart from each other.
ROBOTS = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pods}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot-looks-at-pods}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pods}
subjects: [{kind: ServiceAccount, name: robot}]
---
apiVersion: v1
kind: Pod
metadata: {name: robot, labels: {app: client}}
spec:
  serviceAccountName: robot
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000}
  containers: [{name: client, image: 'lab-client:v1', command: [sleep, '100000']}]
---
apiVersion: v1
kind: Pod
metadata: {name: nobody, labels: {app: client}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: 'lab-client:v1', command: [sleep, '100000']}]
---
apiVersion: v1
kind: Pod
metadata: {name: without, labels: {app: client}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  containers: [{name: client, image: 'lab-client:v1', command: [sleep, '100000']}]
"""
FILES = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture
def robots(lab: Lab, ironfree: Ironfree) -> Iterator[Ironfree]:
    archive = images.client_image(BIN / "kubectl")
    for host in lab.hosts:
        host.load(archive)
    ironfree.kubectl("apply", "-f", "-", given=ROBOTS)
    ironfree.running(3, "app=client")
    yield ironfree
    for host in lab.hosts:
        host.remove_image(images.CLIENT_IMAGE)


def within(ironfree: Ironfree, pod: str, command: str) -> str:
    """What a command in a pod prints, complaints too, also that it cannot be run."""
    said, _ = ironfree.spawn("exec", pod, "--", "sh", "-c", command).communicate(timeout=60)
    return said.strip()


def test_a_pod_does_with_its_token_what_its_account_may(robots: Ironfree) -> None:
    def sees() -> bool:
        return "pod/nobody" in within(robots, "robot", "kubectl get pods -o name")

    eventually(sees, what="the API answers in the pod")
    account = "system:serviceaccount:default:robot"
    assert account in within(robots, "robot", "kubectl auth whoami")
    refused = within(robots, "robot", "kubectl get secrets")
    assert f'User "{account}" cannot list resource "secrets"' in refused
    files = f"--token $(cat {FILES}/token) --certificate-authority {FILES}/ca.crt"
    by_name = f"kubectl --server https://kubernetes.default.svc {files} get pod robot -o name"
    assert within(robots, "robot", by_name) == "pod/robot"
    assert "Forbidden" in within(robots, "nobody", "kubectl get pods")
    assert "No such file or directory" in within(robots, "without", f"ls {FILES}")

    # What it watches it hears of, also after Ironfree was away.
    robots.kill()
    robots.start()
    eventually(sees, what="the API answers in the pod again")
    waiting = robots.spawn(
        *("exec", "robot", "--", "kubectl", "wait", "pod", "nobody"),
        *("--for=delete", "--timeout=60s"),
    )
    robots.kubectl("delete", "pod", "nobody")
    said, _nothing = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said
    robots.kubectl("delete", "rolebinding", "robot-looks-at-pods")
    eventually(lambda: not sees(), what="what an account may ends with its binding")
