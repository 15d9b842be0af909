"""What Airflow keeps and tells of a task, and what a task is given."""
