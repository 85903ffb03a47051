"""Registers Tradewind where the plugins folder is mounted and the wheel's entry point is not installed."""

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="tradewind"):  # Airflow calls the second of a name an error
    from tradewind.plugin import TradewindPlugin

    __all__ = ["TradewindPlugin"]
