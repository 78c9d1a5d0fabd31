"""One file per kind: its names, schema, defaults, validation, printed columns.

A further kind is one small file here and one line in ALL_KINDS. Kinds hold no behaviour over time
(that is controllers/) and do no input or output.
"""

from ..kind import KindRegistry
from . import (
    config_map,
    controller_revision,
    custom_resource_definition,
    daemon_set,
    deployment,
    docker_host,
    event,
    explanation,
    job,
    lease,
    namespace,
    node,
    node_metrics,
    persistent_volume,
    persistent_volume_claim,
    placement,
    pod,
    pod_disruption_budget,
    pod_group,
    pod_metrics,
    priority_class,
    rebalance,
    replica_set,
    replication_controller,
    secret,
    service,
    service_account,
    simulation,
    stateful_set,
    storage_class,
)

ALL_KINDS = (
    config_map.KIND,
    event.KIND,
    namespace.KIND,
    node.KIND,
    persistent_volume.KIND,
    persistent_volume_claim.KIND,
    pod.KIND,
    replication_controller.KIND,
    secret.KIND,
    service.KIND,
    service_account.KIND,
    deployment.KIND,
    replica_set.KIND,
    daemon_set.KIND,
    stateful_set.KIND,
    controller_revision.KIND,
    job.KIND,
    lease.KIND,
    priority_class.KIND,
    storage_class.KIND,
    pod_disruption_budget.KIND,
    docker_host.KIND,
    pod_group.KIND,
    placement.KIND,
    rebalance.KIND,
    simulation.KIND,
    explanation.KIND,
    node_metrics.KIND,
    pod_metrics.KIND,
    custom_resource_definition.KIND,
)

REGISTRY = KindRegistry(ALL_KINDS)
