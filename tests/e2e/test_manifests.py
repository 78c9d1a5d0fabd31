"""Manifests in the shapes that people publish, run as they are: small ones of our own."""

import pytest

from tests.e2e.lab import Lab
from tests.e2e.service import Ironfree, eventually

pytestmark = pytest.mark.timeout(180)

# A site and its database: two claims of the default class, a secret, services, an init container
# that waits for the database, probes, and requests.
SITE = """
apiVersion: v1
kind: Secret
metadata: {name: site-pass, labels: {app: site}}
type: Opaque
stringData: {password: hush}
---
apiVersion: v1
kind: Service
metadata: {name: site-db, labels: {app: site}}
spec:
  clusterIP: None
  selector: {app: site, tier: db}
  ports: [{port: 3306}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: db-data, labels: {app: site}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 20Gi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: site-db, labels: {app: site}}
spec:
  selector: {matchLabels: {app: site, tier: db}}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app: site, tier: db}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {fsGroup: 2000}
      containers:
      - name: db
        image: lab-shell:v1
        command: [sh, -c, 'echo started >> /var/lib/db/log; printf "%s" "$PASSWORD" >
          /var/lib/db/password; exec httpd -f -p 3306 -h /var/lib/db']
        env:
        - name: PASSWORD
          valueFrom: {secretKeyRef: {name: site-pass, key: password}}
        ports: [{containerPort: 3306, name: db}]
        readinessProbe: {tcpSocket: {port: db}, periodSeconds: 1}
        resources: {requests: {cpu: 50m, memory: 32Mi}, limits: {memory: 128Mi}}
        volumeMounts: [{name: data, mountPath: /var/lib/db}]
      volumes:
      - name: data
        persistentVolumeClaim: {claimName: db-data}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: site-files, labels: {app: site}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 20Gi}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: site-config}
data: {index.html: hello}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: site, labels: {app: site}}
spec:
  selector: {matchLabels: {app: site, tier: web}}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app: site, tier: web}}
    spec:
      terminationGracePeriodSeconds: 1
      initContainers:
      - name: seed
        image: lab-shell:v1
        command: [sh, -c, "until echo | nc site-db 3306; do sleep 1; done
          && cp -n /config/index.html /www/index.html"]
        volumeMounts:
        - {name: files, mountPath: /www}
        - {name: config, mountPath: /config, readOnly: true}
      containers:
      - name: web
        image: lab-shell:v1
        command: [httpd, -f, -p, '8080', -h, /www]
        ports: [{containerPort: 8080}]
        livenessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 2}
        readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: files, mountPath: /www}]
      volumes:
      - name: files
        persistentVolumeClaim: {claimName: site-files}
      - name: config
        configMap: {name: site-config}
"""

_GET = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc {} {} | tail -1"

# A collector of the hosts' logs: on every host, cordoned ones too.
COLLECTOR = """
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: collector
  labels: {k8s-app: collector-logging}
spec:
  selector: {matchLabels: {name: collector}}
  template:
    metadata: {labels: {name: collector}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}
      containers:
      - name: collector
        image: lab-shell:v1
        command: [sh, -c, 'echo $NODE > /state/node; exec sleep 100000']
        env:
        - name: NODE
          valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
        resources: {limits: {memory: 200Mi}, requests: {cpu: 10m, memory: 20Mi}}
        volumeMounts:
        - {name: varlog, mountPath: /var/log, readOnly: true}
        - {name: state, mountPath: /state}
      volumes:
      - name: varlog
        hostPath: {path: /var/log}
      - name: state
        hostPath: {path: /run/collector, type: DirectoryOrCreate}
"""


def test_a_site_with_a_database_keeps_its_data(ironfree: Ironfree, lab: Lab):
    ironfree.kubectl("apply", "-f", "-", given=SITE)
    (db,) = ironfree.running(1, "tier=db")
    ironfree.running(1, "tier=web")
    claims = {each["metadata"]["name"]: each for each in ironfree.get("pvc")["items"]}
    assert {each["status"]["phase"] for each in claims.values()} == {"Bound"}
    assert {each["status"]["capacity"]["storage"] for each in claims.values()} == {"20Gi"}
    name, node = db["metadata"]["name"], db["spec"]["nodeName"]
    ironfree.kubectl("delete", "pod", name)

    def successor() -> str:
        pods = [p for p in ironfree.pods("tier=db") if p["metadata"]["name"] != name]
        ready = [p for p in pods if p["status"].get("phase") == "Running"]
        return ready[0]["metadata"]["name"] if ready else ""

    again = eventually(successor, what="another pod runs on the same data")
    assert ironfree.get("pod", again)["spec"]["nodeName"] == node
    log = ironfree.kubectl("exec", again, "--", "cat", "/var/lib/db/log").split()
    assert log == ["started", "started"]
    assert ironfree.kubectl("exec", again, "--", "cat", "/var/lib/db/password") == "hush"


# A guestbook: a store with one leader and readers, a front end, and services before each.
GUESTBOOK = "\n---\n".join(
    f"""
apiVersion: v1
kind: Service
metadata:
  name: {name}
  labels: {{app: {app}, role: {role}, tier: {tier}}}
spec:
  ports: [{{port: {port}, targetPort: {port}}}]
  selector: {{app: {app}, role: {role}, tier: {tier}}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {app}, role: {role}, tier: {tier}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {app}, role: {role}, tier: {tier}}}}}
  template:
    metadata: {{labels: {{app: {app}, role: {role}, tier: {tier}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: {role}
        image: lab-shell:v1
        command: [sh, -c, 'mkdir -p /www; echo {name} > /www/index.html;
          exec httpd -f -p {port} -h /www']
        resources: {{requests: {{cpu: 100m, memory: 32Mi}}}}
        env: [{{name: GET_HOSTS_FROM, value: dns}}]
        ports: [{{containerPort: {port}}}]
"""
    for name, app, role, tier, replicas, port in (
        ("redis-leader", "redis", "leader", "backend", 1, 6379),
        ("redis-follower", "redis", "follower", "backend", 2, 6379),
        ("frontend", "guestbook", "web", "frontend", 3, 8080),
    )
)

# A web server of which each copy keeps its own files.
STATEFUL = """
apiVersion: v1
kind: Service
metadata: {name: nginx, labels: {app: nginx}}
spec:
  ports: [{port: 80, name: web}]
  clusterIP: None
  selector: {app: nginx}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: nginx
  replicas: 2
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: nginx
        image: lab-shell:v1
        command: [sh, -c, 'hostname >> /usr/share/nginx/html/log; exec sleep 100000']
        ports: [{containerPort: 80, name: web}]
        volumeMounts: [{name: www, mountPath: /usr/share/nginx/html}]
  volumeClaimTemplates:
  - metadata: {name: www}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Gi}}
"""

# Batch work: one that succeeds, each of its parts by its number; one that fails; one by the clock.
BATCH = """
apiVersion: batch/v1
kind: Job
metadata: {name: indexed}
spec:
  completions: 3
  parallelism: 3
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: worker
        image: lab-shell:v1
        command: [sh, -c, 'echo "part $JOB_COMPLETION_INDEX of $(hostname)"']
---
apiVersion: batch/v1
kind: Job
metadata: {name: broken}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: worker
        image: lab-shell:v1
        command: [sh, -c, 'exit 3']
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: hello}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          containers:
          - name: hello
            image: lab-shell:v1
            imagePullPolicy: IfNotPresent
            command: [/bin/sh, -c, date; echo Hello]
          restartPolicy: OnFailure
"""


def test_a_guestbook_is_rolled_out_scaled_and_changed(ironfree: Ironfree, lab: Lab):
    kubectl = ironfree.kubectl
    kubectl("apply", "-f", "-", given=GUESTBOOK)
    for name in ("redis-leader", "redis-follower", "frontend"):
        said = kubectl("rollout", "status", f"deployment/{name}", "--timeout=50s")
        assert "successfully rolled out" in said
    assert len(ironfree.pods("app=redis")) == 3
    kubectl("scale", "deployment/frontend", "--replicas=5")
    ironfree.running(5, "app=guestbook")
    kubectl("set", "env", "deployment/frontend", "GET_HOSTS_FROM=env")
    kubectl("rollout", "status", "deployment/frontend", "--timeout=50s")
    pods = ironfree.running(5, "app=guestbook")
    for name in ("redis-leader", "redis-follower"):
        asked = ("exec", pods[0]["metadata"]["name"], "--", "sh", "-c", _GET.format(name, 6379))
        eventually(lambda a=asked, n=name: kubectl(*a).strip() == n, what=f"{name} answers")
    values = [pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods]
    assert values == ["env"] * 5
    kubectl("delete", "-f", "-", "--wait=false", given=GUESTBOOK)
    eventually(lambda: not ironfree.pods(), what="all pods are gone")


def test_a_collector_on_every_host(ironfree: Ironfree, lab: Lab):
    cordoned = lab.hosts[0].name
    ironfree.kubectl("cordon", cordoned)
    ironfree.kubectl("apply", "-f", "-", given=COLLECTOR)
    pods = ironfree.running(3, "name=collector")
    assert {each["spec"]["nodeName"] for each in pods} == {host.name for host in lab.hosts}
    for each in pods:
        name, node = each["metadata"]["name"], each["spec"]["nodeName"]
        assert ironfree.kubectl("exec", name, "--", "cat", "/state/node").strip() == node
    ironfree.kubectl("drain", cordoned, "--ignore-daemonsets", "--timeout=30s")
    assert len(ironfree.running(3, "name=collector")) == 3


def test_copies_that_keep_their_names_and_files(ironfree: Ironfree, lab: Lab):
    ironfree.kubectl("apply", "-f", "-", given=STATEFUL)
    said = ironfree.kubectl("rollout", "status", "statefulset/web", "--timeout=50s")
    assert "complete: 2 new pods" in said
    pods = ironfree.running(2, "app=nginx")
    assert sorted(pod["metadata"]["name"] for pod in pods) == ["web-0", "web-1"]
    log = ("exec", "web-1", "--", "cat", "/usr/share/nginx/html/log")
    assert ironfree.kubectl(*log).split() == ["web-1"]
    (uid,) = [p["metadata"]["uid"] for p in pods if p["metadata"]["name"] == "web-1"]
    ironfree.kubectl("delete", "pod", "web-1")

    def another() -> bool:
        found = ironfree.running(2, "app=nginx")
        return uid not in {pod["metadata"]["uid"] for pod in found}

    eventually(another, what="another web-1 is there")
    assert ironfree.kubectl(*log).split() == ["web-1", "web-1"]


def test_work_that_ends(ironfree: Ironfree, lab: Lab):
    kubectl = ironfree.kubectl
    kubectl("apply", "-f", "-", given=BATCH)
    kubectl("wait", "job/indexed", "--for=condition=complete", "--timeout=50s")
    kubectl("wait", "job/broken", "--for=condition=failed", "--timeout=50s")
    done = ironfree.get("job", "indexed")["status"]
    assert (done["succeeded"], done["completedIndexes"]) == (3, "0-2")
    pods = ironfree.pods("job-name=indexed")
    words = {kubectl("logs", pod["metadata"]["name"]).strip() for pod in pods}
    assert words == {f"part {number} of indexed-{number}" for number in range(3)}
    assert ironfree.get("job", "broken")["status"]["failed"] == 1

    kubectl("create", "job", "--from=cronjob/hello", "by-hand")
    kubectl("wait", "job/by-hand", "--for=condition=complete", "--timeout=50s")
