"""The ledger held against the instance's history: remedies, report, alerts."""
