"""The control plane of Tradewind: from a YAML file to Airflow DAGs."""

__version__ = "0.1.0"
