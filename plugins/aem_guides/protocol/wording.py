"""Texts for people about what was seen."""

from __future__ import annotations

from datetime import UTC, datetime

from aem_guides.protocol.models import Job


def in_words(seconds: float) -> str:
    """A duration for people: "45 s", "2 min", "3 h 20 min", "2 days 4 h"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count for people: "1 path", "2,000 paths". `many` is the plural if it is not formed with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def crowd(active: int, allowed: int) -> str:
    """Why a start has to wait: "4 jobs are active on the instance, 4 are allowed"."""
    is_active, is_allowed = ("is" if count == 1 else "are" for count in (active, allowed))
    return f"{counted(active, 'job')} {is_active} active on the instance, {allowed:,} {is_allowed} allowed"


def describe_progress(job: Job, rate: float | None) -> str:
    """Progress for people, as in "12,340 of 50,000 assets (24.7 %), 310/s, about 2 min left"."""
    done = job.triggered_count or 0
    if job.total_files is None:
        counting = "counting the assets" if not done else f"{done:,} assets so far"
        return f"{job.status_word}: {counting}"
    share = f" ({100 * done / job.total_files:.1f} %)" if job.total_files else ""
    parts = [f"{done:,} of {job.total_files:,} assets{share}"]
    if rate and done < job.total_files:
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
    remaining = _remaining(job, rate)
    if job.is_active and remaining is not None:
        parts.append(f"about {in_words(remaining)} left")
    return ", ".join(parts)


def _remaining(job: Job, rate: float | None) -> float | None:
    if job.eta_seconds is not None:
        return job.eta_seconds
    if rate and job.total_files is not None:
        return max(0.0, (job.total_files - (job.triggered_count or 0)) / rate)
    return None


def iso_time(at: int | None) -> str | None:
    """Epoch milliseconds as ISO 8601 in UTC, to the millisecond; None stays None."""
    return None if at is None else datetime.fromtimestamp(at / 1000, tz=UTC).isoformat(timespec="milliseconds")
