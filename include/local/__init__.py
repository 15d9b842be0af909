"""The local stack: PostgreSQL, the emulator and Airflow as plain processes on loopback, all state in one folder."""
