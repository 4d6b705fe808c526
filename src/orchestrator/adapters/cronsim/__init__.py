"""Cron expressions by cronsim."""

from orchestrator.adapters.cronsim.calendar import CronSimCalendar

__all__ = ["CronSimCalendar"]
