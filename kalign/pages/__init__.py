"""One HTML page that needs nothing else: no script, no font, no picture and no line from the network."""

from kalign.pages.charts import bars, curves
from kalign.pages.page import Cell, Section, fold, page, table, text
from kalign.pages.parallel import parallel

__all__ = ["Cell", "Section", "bars", "curves", "fold", "page", "parallel", "table", "text"]
