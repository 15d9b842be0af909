"""A stand-in AEM Guides author: the bulk processing API over real HTTP, on a real content tree.

Run it with this folder's parent on the import path::

    python -m emulator --port 4502 --data DIR --content FOLDER:/content/dam/NAME

`--content` may be repeated. The password of the user (`--user`, default admin) comes from the environment variable
EMULATOR_PASSWORD (default admin), bearer tokens from EMULATOR_TOKENS (separated by commas). `--port 0` takes any
free port; `--port-file` gets the port once the emulator answers. `--window` and `--rate` (assets a second) are
settings of their own, `--settings` takes all others as JSON. What lies in `--data` outlives a restart: jobs, logs,
ids, counters, requests, tokens, virtual folders, and settings changed while running, which go ahead of the command
line's. Faults do not.

Administration, without login, on loopback only. What cannot be taken is answered with 400 and a `message` that
names field, value and remedy.

=======================================  ==========================================================================
`GET /emulator/health`                   `{"status": "up", "now", "active", "jobs"}`: how many jobs are active, and how
                                         many there ever were
`GET /emulator/jobs`                     every job ever (`store.JobRecord`), and whether it is `in_window`;
                                         `?path=` and `?processingId=` choose among them
`GET /emulator/log?processingId=`        the whole log of a job as text; also `/emulator/jobs/{seq}/log`
`GET /emulator/assets?path=`             id, title, type, state, reason and `times_processed` of every asset
`GET /emulator/requests`                 every API request: endpoint, method, query, user, status (null: no
                                         answer); `?endpoint=` and `?after=NUMBER` choose among them
`GET, PATCH /emulator/settings`          `settings.Settings`
`POST /emulator/clock`                   `{"advance_seconds"}`: let emulated time pass
`POST /emulator/clients`                 `{"kind": "oauth" or "jwt", "client_id", "secret", ...}`: register a client of
                                         `/ims/token/v3` or `/ims/exchange/jwt`; fields as in `settings.Settings`
`DELETE /emulator/tokens`                withdraw every access and CSRF token that was given out
`GET, POST, DELETE /emulator/faults`     `faults.Fault`, with `remaining` strikes
`GET, POST /emulator/virtual-folders`    `virtual.VirtualFolder`, or many as `{"folders": [...]}`
`POST /emulator/creation-times`          `{path: epoch milliseconds}` for real files
`POST /emulator/jobs/fail`               `{"processingId", "resumable"}`: fail an active job
`POST /emulator/jobs/lose`               `{"processingId"}`: forget a job
`POST /emulator/reset`                   back to the beginning
`GET /emulator/nodes`                    the paths where a POST has made a node, as Sling does of any POST
=======================================  ==========================================================================

Faults strike an endpoint (`faults.ENDPOINTS`, `*` for all) `count` times (null: for ever) after letting `after` calls
pass, then every call or each of `every`. Kinds: reset_before (not acted on), reset_after (acted on), reset_body,
slow_body (a pause of `seconds` ahead of every 64 KiB but the first), delay, timeout_after, status, echo (an answer
that holds the whole request, credentials and all), redirect_login, login_page, html, empty_body, truncated_json,
wrong_shape, and those of `odd_answers`: odd_fields, odd_lines, charset, byte_order_mark, and of `endless`: trickle,
trickle_headers, trickle_status, gzip_bomb, endless_body, broken_chunks; for logs shrink, repeat_page, ignore_limit,
more_forever, huge_line, invalid_utf8; for download zip_crc, zip_truncated, zip_torn, zip_empty, zip_html,
zip_traversal, zip_zero_entry, zip_bomb, zip_odd (`odd_archives.Oddities`); for status and history unknown_state,
lose_job; for start missing_id; for history history_lag, history_bad_entry.
"""
