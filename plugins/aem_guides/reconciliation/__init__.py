"""Compare the ledger with the instance's history: remedies, report, alerts."""
