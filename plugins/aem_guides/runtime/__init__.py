"""What Airflow stores and shows of a task, and the values that a task gets."""
