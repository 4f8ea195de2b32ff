"""Where the month will end, and how sure that is: made only of counts by minute.

`History` is a tenant's past, `Fleet` what tenants have in common, `MonthSoFar` the question and `Forecast` the answer
of `forecast`; `calibration` corrects it by how those of past months came true. Everything here is a pure function of its
arguments; the draws are seeded by tenant and period, so a replay gives the same.
"""

from monitor.forecast.fleet import Fleet
from monitor.forecast.history import History
from monitor.forecast.mixture import Forecast, MonthSoFar, forecast, warm

__all__ = ["Fleet", "Forecast", "History", "MonthSoFar", "forecast", "warm"]
