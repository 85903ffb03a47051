"""Kafka to table: what a process takes for it, beside bare consumption and Spark."""
