"""Which failures of a task Airflow retries, and when."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Context, RetryDecision, RetryPolicy
from airflow.sdk.configuration import conf

from aem_guides.protocol.errors import AemGuidesError, AnswerError, Retry

_DEFAULT_FIRST_SECONDS = 30.0
_LONGEST_SECONDS = 600.0
_BRIEF_TRIES = 3


def first_retry_seconds() -> float:
    """`[aem_guides] first_retry_seconds`: the delay before the first retry, doubled for each further one."""
    return float(conf.getfloat("aem_guides", "first_retry_seconds", fallback=_DEFAULT_FIRST_SECONDS))


def is_worth_a_retry(exception: BaseException, try_number: int) -> bool:
    """Whether a next try may succeed after the try with this number (1 is the first) failed."""
    worth = exception.retry if isinstance(exception, AemGuidesError) else Retry.USEFUL
    return worth is Retry.USEFUL or (worth is Retry.BRIEFLY and try_number <= _BRIEF_TRIES)


class AemGuidesRetryPolicy(RetryPolicy):
    """Fail at once if no retry can help, otherwise retry after 30 seconds, later up to ten minutes.

    The error says whether a retry can help (`AemGuidesError.retry`): it cannot for bad input, a wrong credential, a
    missing scope or a job that cannot be resumed. A missing endpoint is tried three more times, because an instance
    that is starting gives the same answer. A `Retry-After` of the instance is followed if it is longer.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the exception and the number of the try that failed (1 is the first)."""
        if not is_worth_a_retry(exception, try_number):
            return RetryDecision.fail(reason=f"{type(exception).__name__}: a retry would fail again")
        seconds = min(_LONGEST_SECONDS, first_retry_seconds() * 2.0 ** max(0, min(try_number, 30) - 1))
        if isinstance(exception, AnswerError) and exception.retry_after is not None:
            seconds = min(_LONGEST_SECONDS, max(seconds, exception.retry_after))
        return RetryDecision.retry(delay=timedelta(seconds=seconds))
