"""The data plane of Tradewind: steps, and what they stand on. Never imports Airflow."""
