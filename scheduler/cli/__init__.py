"""The `ironfree` command: starts the service and speaks its HTTP API. Holds no logic of its own.
"""
