module tradewind.dev/pause

go 1.24.0
