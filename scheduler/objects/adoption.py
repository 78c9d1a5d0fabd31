"""How a pod says that it is a container which runs already (see docs/hosts.md)."""

SCHEDULER = "ironfree-adoption"
"""The schedulerName of such pods: placement leaves them alone."""
CONTAINER = "ironfree.dev/adopts"
"""The annotation with the full id of the container, on its engine."""
