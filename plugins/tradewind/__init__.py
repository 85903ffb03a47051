"""The control plane of Tradewind: from a YAML file to Airflow DAGs."""
