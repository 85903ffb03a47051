"""Pipeline + profile → Plan: steps, edges and datasets as pure data. Never imports Airflow."""

from tradewind.plan.build import build
from tradewind.plan.model import Plan, PlanDag, PlanStep, Schedule

__all__ = ["Plan", "PlanDag", "PlanStep", "Schedule", "build"]
