"""`make demo`: the flights of 2013 through a real Airflow, and what the systems themselves say of it."""
