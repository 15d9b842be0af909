"""What Airflow shows of this provider: connection type with its form, configuration options, extra links."""

from __future__ import annotations

from aem_guides import __version__

_SERVES_AS = "Password; or an access token, the OAuth secret, or the service credentials, if its field is empty"


def get_provider_info() -> dict[str, object]:
    """Answer the entry point `apache_airflow_provider`."""
    return {
        "package-name": "airflow-provider-aem-guides",
        "name": "AEM Guides",
        "description": "Bulk processing of DITA content in Adobe Experience Manager Guides.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "aem_guides",
                "hook-class-name": "aem_guides.hooks.hook.AemGuidesHook",
                "hook-name": "AEM Guides",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {"host": "Base URL", "login": "User", "password": "Password"},
                    "placeholders": {
                        "host": "https://author.example.com",
                        "login": "An AEM user; empty for tokens",
                        "password": _SERVES_AS,
                    },
                },
                "conn-fields": _connection_fields(),
            }
        ],
        "extra-links": [
            "aem_guides.operators.links.AemFolderLink",
            "aem_guides.operators.links.BulkProcessorLink",
            "aem_guides.operators.links.ArchiveLink",
        ],
        "config": {"aem_guides": {"description": "Options of the AEM Guides provider.", "options": _options()}},
    }


def _connection_fields() -> dict[str, object]:
    return {**_login_fields(), **_network_fields(), **_console_fields()}


def _field(label: str, description: str, kind: str = "string", **schema: object) -> dict[str, object]:
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}


def _login_fields() -> dict[str, object]:
    names = {
        "basic": "User and password",
        "bearer": "Access token",
        "oauth": "OAuth server-to-server",
        "service_credentials": "Service credentials (JWT)",
    }
    return {
        "auth": _field(
            "Authentication",
            "How to log in. Each field below says for which kind it is. Empty: User and password if a user is given, "
            "otherwise Access token.",
            enum=[*names, None],
            values_display={**names, "null": "As the filled-in fields say"},
        ),
        "token": _field(
            "Access token",
            "For Access token only: the token, in one line, such as a local development access token (24 hours).",
            format="password",
        ),
        "client_id": _field("Client id", "For OAuth server-to-server only: the client id. Empty: the user."),
        "client_secret": _field(
            "Client secret", "For OAuth server-to-server only: the secret. Empty: the password.", format="password"
        ),
        "scopes": _field("Scopes", "For OAuth server-to-server only: the scopes, separated by commas."),
        "service_token": _field(
            "Service credentials",
            "For Service credentials (JWT) only: the JSON document of the Developer Console (service_token.json), "
            "pasted whole. Empty: the password.",
            format="password",
        ),
        "ims_url": _field(
            "Identity service",
            "For OAuth and service credentials: the URL of the identity service. Empty: "
            "https://ims-na1.adobelogin.com, or the URL in the service credentials.",
        ),
    }


def _network_fields() -> dict[str, object]:
    return {
        "verify": _field(
            "Verify TLS", "For https: check the TLS certificate of the instance. Leave it on.", "boolean", default=True
        ),
        "ca_file": _field(
            "CA file",
            "For https: the path of a PEM file with additional trusted authorities. The file must exist on every "
            "worker, triggerer and API server.",
        ),
        "proxy": _field(
            "Proxy",
            "An HTTP proxy, such as http://user:password@proxy.example.com:3128. Empty: the proxy in HTTP_PROXY, "
            "HTTPS_PROXY and NO_PROXY.",
        ),
        "connect_timeout": _seconds("Connect time-out", "Seconds to wait for a connection.", 10),
        "read_timeout": _seconds("Read time-out", "Seconds to wait for an answer.", 60),
        "requests_per_second": _field(
            "Requests a second",
            "The most requests that a process sends to the instance in a second, for all of its tasks together. "
            "Starts, cancels and the parts of logs are not limited.",
            "number",
            default=2,
            exclusiveMinimum=0,
            maximum=1000,
        ),
    }


def _seconds(label: str, description: str, default: int) -> dict[str, object]:
    return _field(label, description, "number", default=default, exclusiveMinimum=0, maximum=3600)


def _console_fields() -> dict[str, object]:
    return {
        "bulk_processor_page": _field(
            "Bulk Processor page",
            "For the links of tasks: the path that the browser shows after Tools > Guides > Bulk Processor. Empty: "
            "the links lead to the start page of the instance.",
        ),
    }


def _option(description: str, default: str, example: str, kind: str = "string") -> dict[str, object]:
    return {"description": description, "version_added": "0.1.0", "type": kind, "example": example, "default": default}


def _options() -> dict[str, object]:
    return {
        "archive_uri": _option(
            "Where log archives are stored: an object storage URI. Empty: below AIRFLOW_HOME.",
            "",
            "s3://aws_default@bucket/aem-guides",
        ),
        "archive_url": _option(
            "For the links of tasks: the web address of the archives, on a web server or in a storage console. "
            "<instance host>/<yyyy>/<mm>/<dd>/<job>/ is appended to it. Empty: the link leads to the XComs of the "
            "task, which have the URI and the checksum of the archive.",
            "",
            "https://console.cloud.google.com/storage/browser/bucket/aem-guides/",
        ),
        "first_retry_seconds": _option(
            "Seconds before the first retry of a task. Each further retry waits twice as long, up to ten minutes.",
            "30",
            "60",
            "float",
        ),
        "plans_file": _option(
            "The file with the scheduled plans. Empty: include/plans.yaml beside the DAG folder.",
            "",
            "/opt/airflow/include/plans.yaml",
        ),
        "paths_files_folder": _option(
            "The folder on the workers in which local files for paths_file must be. Empty: aem_guides/paths below "
            "AIRFLOW_HOME.",
            "",
            "/opt/airflow/data/paths",
        ),
        **_reconcile_options(),
    }


def _reconcile_options() -> dict[str, object]:
    return {
        "reconcile_schedule": _option(
            "When the history is reconciled: a cron expression, a preset, or `never`.", "*/5 * * * *", "*/10 * * * *"
        ),
        "reconcile_connections": _option(
            "The connections whose instances are reconciled, separated by commas.",
            "aem_guides_default",
            "aem_guides_default, aem_guides_stage",
        ),
        "reconcile_remedies": _option(
            "The remedies that the reconciliation applies: some of `archive`, `resume`, `adopt`, `alert`, or `none`.",
            "archive, adopt, alert",
            "archive, resume, adopt, alert",
        ),
        "reconcile_archive": _option(
            "Whose logs the reconciliation archives: `ours`, or those of `all` jobs it sees.", "ours", "all"
        ),
        "reconcile_stall_minutes": _option(
            "Report an active job after so many minutes without progress.", "60", "30", "integer"
        ),
        "reconcile_max_resumes": _option("How often the reconciliation resumes one job.", "2", "1", "integer"),
        "reconcile_max_active_jobs": _option(
            "The reconciliation resumes a job only while fewer jobs are active on its instance.", "4", "2", "integer"
        ),
        "ledger_retention_days": _option(
            "Delete an ended job from the ledger after so many days. 0: never. Its archive is kept.",
            "730",
            "365",
            "integer",
        ),
        "state_retention_days": _option(
            "Delete the states of a run's paths so many days after the run. 0: never. After that, *Clear* starts a "
            "new job.",
            "30",
            "90",
            "integer",
        ),
        "alert_notifier": _option(
            "Notifiers for the findings of the reconciliation, as JSON: one, or a list, of `class` and `kwargs`. In "
            "their templates, `aem_guides_alert` is the text of the findings. Empty: none.",
            "",
            '{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", '
            '"kwargs": {"to": "docs@example.com", "subject": "AEM Guides", "html_content": "{{ aem_guides_alert }}"}}',
        ),
    }
