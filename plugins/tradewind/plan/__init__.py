"""Pipeline + profile → Plan: steps, edges and datasets as pure data. Never imports Airflow.

Nothing is imported here: a DAG's parsing needs the model alone, not what builds it.
"""
