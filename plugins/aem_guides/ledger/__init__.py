"""The ledger: our own lasting record of jobs, since the instance shows only its last few.

`records` and `findings` have the types, `reconcile` decides (pure), `tables` and `migrations` have the schema,
`database` opens it, `store` reads and writes it, `recorder` writes the jobs of a run.
"""
