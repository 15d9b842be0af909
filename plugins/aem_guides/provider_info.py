"""What Airflow shows of this provider: its connection type and its configuration options."""

from __future__ import annotations

from aem_guides import __version__


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
                "hook-class-name": "aem_guides.hook.AemGuidesHook",
                "hook-name": "AEM Guides",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "Base URL", "login": "User", "password": "Password or access token"},
                    "placeholders": {"host": "https://author.example.com"},
                },
                "conn-fields": _connection_fields(),
            }
        ],
        "config": {"aem_guides": {"description": "Options of the AEM Guides provider.", "options": _options()}},
    }


def _connection_fields() -> dict[str, object]:
    def field(label: str, description: str, kind: str = "string", **more: object) -> dict[str, object]:
        return {"label": label, "description": description, "schema": {"type": [kind, "null"], **more}}

    return {
        "auth": field(
            "Authentication",
            "How to log in. Empty: basic with a user, else bearer.",
            enum=["basic", "bearer", "oauth", "service_credentials", None],
        ),
        "client_id": field("Client id", "OAuth server-to-server: the client id. Empty: the user."),
        "client_secret": field("Client secret", "OAuth server-to-server: the secret.", format="password"),
        "scopes": field("Scopes", "OAuth server-to-server: the scopes, separated by commas."),
        "service_credentials": field(
            "Service credentials", "The JSON document of the Developer Console, as it is.", format="password"
        ),
        "ims_url": field("Identity service", "Its URL, where it is not the usual one."),
        "verify": field("Verify TLS", "Whether the TLS certificate is checked.", "boolean"),
        "ca_file": field("CA file", "A PEM file with further trust roots, on every worker and triggerer."),
        "proxy": field("Proxy", "The URL of an HTTP proxy. Empty: as the environment says."),
        "connect_timeout": field("Connect time-out", "Seconds until connecting is given up (10).", "number"),
        "read_timeout": field("Read time-out", "Seconds without an answer until a call is given up (60).", "number"),
    }


def _options() -> dict[str, object]:
    return {
        "archive_uri": {
            "description": "Where log archives are stored: an object storage URI. Empty: below AIRFLOW_HOME.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "s3://aws_default@bucket/aem-guides",
            "default": "",
        },
        "first_retry_seconds": {
            "description": "Seconds before the first retry of a task; doubled for each further one, up to ten minutes.",
            "version_added": "0.1.0",
            "type": "float",
            "example": "60",
            "default": "30",
        },
        "plans_file": {
            "description": "The file with the scheduled plans. Empty: include/plans.yaml beside the DAG folder.",
            "version_added": "0.1.0",
            "type": "string",
            "example": "/opt/airflow/include/plans.yaml",
            "default": "",
        },
        **_reconcile_options(),
    }


def _reconcile_options() -> dict[str, object]:
    def option(description: str, default: str, example: str, kind: str = "string") -> dict[str, object]:
        return {
            "description": description,
            "version_added": "0.1.0",
            "type": kind,
            "example": example,
            "default": default,
        }

    return {
        "reconcile_schedule": option(
            "When the history is reconciled: a cron expression, a preset, or `never`.", "*/5 * * * *", "*/10 * * * *"
        ),
        "reconcile_connections": option(
            "The connections whose instances are reconciled, separated by commas.",
            "aem_guides_default",
            "aem_guides_default, aem_guides_stage",
        ),
        "reconcile_remedies": option(
            "What the reconciliation mends by itself: some of `archive`, `resume`, `adopt`, `alert`, or `none`.",
            "archive, adopt, alert",
            "archive, resume, adopt, alert",
        ),
        "reconcile_archive": option(
            "Whose logs the reconciliation archives: `ours`, or those of `all` jobs it sees.", "ours", "all"
        ),
        "reconcile_stall_minutes": option(
            "Minutes without progress after which an active job is reported.", "60", "30", "integer"
        ),
        "reconcile_max_resumes": option("How often the reconciliation resumes one job.", "2", "1", "integer"),
        "ledger_retention_days": option(
            "Days after which the ledger forgets a job that has ended; 0: never. Archives stay.",
            "730",
            "365",
            "integer",
        ),
        "alert_notifier": option(
            "Notifiers for the findings of the reconciliation, as JSON: one, or a list, of `class` and `kwargs`. Their "
            "templates have the text as `aem_guides_alert`. Empty: none.",
            "",
            '{"class": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", '
            '"kwargs": {"to": "docs@example.com", "subject": "AEM Guides", "html_content": "{{ aem_guides_alert }}"}}',
        ),
    }
