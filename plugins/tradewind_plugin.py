"""Registers Tradewind where the plugins folder is mounted and the wheel's entry point is not installed."""

from tradewind.plugin import TradewindPlugin

__all__ = ["TradewindPlugin"]
