"""Plan → Airflow DAGs: the only stage that imports Airflow."""

from tradewind.factory.dags import dags_of, warm

__all__ = ["dags_of", "warm"]
