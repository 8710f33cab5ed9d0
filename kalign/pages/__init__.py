"""One HTML page that needs nothing else: no script, no font, no picture and no line from the network."""

from kalign.pages.charts import bars, curves
from kalign.pages.page import Cell, Section, fold, page, table, text

__all__ = ["Cell", "Section", "bars", "curves", "fold", "page", "table", "text"]
