"""Pages and links inside the Airflow UI, behind Airflow's own login."""
