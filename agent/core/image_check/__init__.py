"""What the facts about a disk mean for an image of it (SPEC M8): pure rules, item by item, with the guide's advice."""

from agent.core.image_check.item import Item, Level
from agent.core.image_check.report import Report, report, unreadable

__all__ = ["Item", "Level", "Report", "report", "unreadable"]
