"""The Kubernetes filters and scorers of Ironfree."""
