"""`plans.yaml`, and the DAGs that are made of it."""
