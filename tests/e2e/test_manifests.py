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
apiVersion: v1
kind: ReplicationController
metadata: {name: site-db}
spec:
  replicas: 1
  selector: {app: site, tier: db}
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
apiVersion: v1
kind: ReplicationController
metadata: {name: site}
spec:
  replicas: 1
  selector: {app: site, tier: web}
  template:
    metadata: {labels: {app: site, tier: web}}
    spec:
      terminationGracePeriodSeconds: 1
      initContainers:
      - name: seed
        image: lab-shell:v1
        command: [sh, -c, cp -n /config/index.html /www/index.html]
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

# A collector of the host's logs: host paths, a toleration of everything, its node's name.
COLLECTOR = """
apiVersion: v1
kind: ReplicationController
metadata: {name: collector}
spec:
  replicas: 3
  selector: {app: collector}
  template:
    metadata: {labels: {app: collector}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - labelSelector: {matchLabels: {app: collector}}
            topologyKey: kubernetes.io/hostname
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


def test_a_collector_on_every_host(ironfree: Ironfree, lab: Lab):
    ironfree.kubectl("apply", "-f", "-", given=COLLECTOR)
    pods = ironfree.running(3, "app=collector")
    assert {each["spec"]["nodeName"] for each in pods} == {host.name for host in lab.hosts}
    for each in pods:
        name, node = each["metadata"]["name"], each["spec"]["nodeName"]
        assert ironfree.kubectl("exec", name, "--", "cat", "/state/node").strip() == node
