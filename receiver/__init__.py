"""rollback-receiver: undoes a bad Kubernetes release when Alertmanager says that it is bad."""

__version__ = "0.1.0"
