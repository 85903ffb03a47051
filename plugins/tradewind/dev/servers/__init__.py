"""One small file a server; `tradewind dev up` and the tests start them by the same code."""
