"""The ledger: our own lasting record of jobs, since the instance shows its last few only.

`records` and `findings` are the words, `reconcile` decides (pure), `tables` and `migrations` are how it is stored,
`database` opens it, `store` reads and writes it, `recorder` is what a run writes of its own jobs.
"""
