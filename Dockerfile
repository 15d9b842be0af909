# syntax=docker/dockerfile:1
# The image of every Airflow service in docker-compose.yaml and kubernetes/values.yaml, and of the emulator.
# Everything is installed while it is built, in the versions of constraints.txt; nothing when a container starts.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.11

FROM ${AIRFLOW_IMAGE} AS wheel
COPY --chown=airflow:root LICENSE README.md pyproject.toml /tmp/source/
COPY --chown=airflow:root plugins /tmp/source/plugins
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /tmp/wheels /tmp/source

FROM ${AIRFLOW_IMAGE}
COPY --chown=airflow:root constraints.txt /opt/airflow/constraints.txt
COPY --from=wheel --chown=airflow:root /tmp/wheels /opt/airflow/wheels
RUN pip install --no-cache-dir --constraint /opt/airflow/constraints.txt \
      "$(ls /opt/airflow/wheels/*.whl)[distributed,emulator,s3]" \
 && pip check
COPY --chown=airflow:root plugins/aem_guides_plugin.py /opt/airflow/plugins/
COPY --chown=airflow:root dags /opt/airflow/dags
COPY --chown=airflow:root include /opt/airflow/include
# A named volume takes owner and mode of the folder that it is mounted on when it is first used.
RUN mkdir -p /opt/airflow/archive /opt/airflow/auth /opt/airflow/emulator /opt/airflow/logs \
 && chmod 700 /opt/airflow/auth
