"""`plans.yaml`, and the DAGs that are built from it."""
