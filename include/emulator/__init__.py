"""A stand-in AEM Guides author: the bulk processing API over real HTTP, on a real content tree.

Run it with this folder's parent on the import path::

    python -m emulator --port 4502 --data DIR --content FOLDER:/content/dam/NAME

The password of the user (`--user`, default admin) comes from the environment variable EMULATOR_PASSWORD (default
admin), bearer tokens from EMULATOR_TOKENS (separated by commas). `--port 0` takes any free port; `--port-file`
gets the port once the emulator answers. Jobs, their logs, ids and counters lie in `--data` and outlive a restart.

Administration, without login, on loopback only:

=======================================  ==========================================================================
`GET /emulator/health`                   `{"status": "up"}`
`GET /emulator/jobs`                     every job ever, also those that have left the window
`GET /emulator/log?processingId=`        the whole log of a job as text
`GET /emulator/assets?path=`             id, title, type, state, reason and `times_processed` of every asset
`GET /emulator/requests`                 every API request: endpoint, method, query, user, status
`GET, PATCH /emulator/settings`          `settings.Settings`
`GET, POST, DELETE /emulator/faults`     `faults.Fault`
`POST /emulator/virtual-folders`         `content.VirtualFolder`
`POST /emulator/jobs/fail`               `{"processingId", "resumable"}`: fail an active job
=======================================  ==========================================================================
"""
