"""Plan → Airflow DAGs: the only stage that imports Airflow."""

from tradewind.factory.dags import dags_of

__all__ = ["dags_of"]
