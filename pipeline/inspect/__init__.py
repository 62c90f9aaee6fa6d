"""Look at datasets and stores: scan, inspect, verify, show."""
