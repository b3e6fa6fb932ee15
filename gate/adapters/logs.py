"""What this process says while it runs: one line an event on standard error, as text or as JSON.

- Only what the program itself words: a message, its level, where it comes from, the failure's trace. Never a request's
  body, a header, a cookie or an option of a source; a trace shows lines of code, never the values in hand.
"""

from __future__ import annotations

import logging
import sys

import structlog

FORMS = ("text", "json")


def configure(form: str) -> None:
    """Sends every log record of this process to standard error in this form."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        last: list[structlog.typing.Processor] = [
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    form_of = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove, *last])
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(form_of)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("tuf", "alembic", "dulwich", "urllib3", "securesystemslib"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
