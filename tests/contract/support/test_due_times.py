"""Due times: a table worked out by hand, then laws held against a clock that walks minute by minute."""

# ruff: noqa: E501 - a table reads best with a case a line

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from monitor.contract.instant import instant, rfc3339
from monitor.contract.support import (
    SEVERITIES,
    OpeningHours,
    Promise,
    Severity,
    SupportTerms,
    UpdateRule,
)
from monitor.contract.support.hours import NINE_TO_FIVE, public_holidays

# The calendars, from the governments' pages: what closes a desk from Monday to Friday.
ENGLAND = (
    "2026-01-01 2026-04-03 2026-04-06 2026-05-04 2026-05-25 2026-08-31 2026-12-25 2026-12-28 "
    "2027-01-01 2027-03-26 2027-03-29 2027-05-03 2027-05-31 2027-08-30 2027-12-27 2027-12-28"
)
NEW_YORK_STATE = (
    "2026-01-01 2026-01-19 2026-02-12 2026-02-16 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-10-12 "
    "2026-11-03 2026-11-11 2026-11-26 2026-12-25 "
    "2027-01-01 2027-01-18 2027-02-12 2027-02-15 2027-05-31 2027-06-18 2027-07-05 2027-09-06 2027-10-11 "
    "2027-11-02 2027-11-11 2027-11-25 2027-12-24 2027-12-31"
)
NEW_SOUTH_WALES = (
    "2026-01-01 2026-01-26 2026-04-03 2026-04-06 2026-04-27 2026-06-08 2026-10-05 2026-12-25 2026-12-28 "
    "2027-01-01 2027-01-26 2027-03-26 2027-03-29 2027-04-26 2027-06-14 2027-10-04 2027-12-27 2027-12-28"
)

LONDON = SupportTerms()
NEW_YORK = SupportTerms(hours=OpeningHours("America/New_York", country="US", subdivision="NY"))
SYDNEY = SupportTerms(hours=OpeningHours("Australia/Sydney", country="AU", subdivision="NSW"))
ALWAYS = SupportTerms(hours=OpeningHours(week=(((0, 1440),),) * 7, country="", subdivision=""))
SHUTDOWN = SupportTerms(hours=OpeningHours(company_holidays=frozenset(date(2026, 12, day) for day in (24, 29, 30, 31))))
EARLY_SUNDAY = SupportTerms(hours=OpeningHours(week=((),) * 6 + (((30, 270),),), country="", subdivision=""))
ENHANCED = SupportTerms(
    "enhanced",
    OpeningHours(week=(((8 * 60, 20 * 60),),) * 6 + ((),)),
    (Promise(60, UpdateRule(1, "business_day")), *LONDON.promises[1:]),
)

# desk, severity, opened, first response due, next update due, why
TABLE = [
    # --- an ordinary week in London, Monday 16 to Friday 20 November 2026, GMT
    (LONDON, "P1", "2026-11-16T10:00Z", "2026-11-16T14:00:00Z", "2026-11-17T17:00:00Z", "4 hours the same day; update by the end of Tuesday"),
    (LONDON, "P2", "2026-11-16T10:00Z", "2026-11-16T16:00:00Z", "2026-11-19T17:00:00Z", "6 hours; the third working day after Monday is Thursday"),
    (LONDON, "P3", "2026-11-16T10:00Z", "2026-11-17T10:00:00Z", "2026-11-23T17:00:00Z", "7 hours Monday, 1 Tuesday; a week later is Monday"),
    (LONDON, "P4", "2026-11-16T10:00Z", "2026-11-17T14:00:00Z", "2026-12-16T17:00:00Z", "7 hours Monday, 5 Tuesday; the 16th of December is a Wednesday"),
    (LONDON, "P1", "2026-11-16T09:00Z", "2026-11-16T13:00:00Z", "2026-11-17T17:00:00Z", "opened as the desk opens"),
    (LONDON, "P2", "2026-11-16T11:00Z", "2026-11-16T17:00:00Z", "2026-11-19T17:00:00Z", "6 hours end at closing time, not next morning"),
    (LONDON, "P3", "2026-11-16T09:00Z", "2026-11-16T17:00:00Z", "2026-11-23T17:00:00Z", "8 hours are the whole day"),
    (LONDON, "P4", "2026-11-16T09:00Z", "2026-11-17T13:00:00Z", "2026-12-16T17:00:00Z", "a whole day and 4 hours"),
    (LONDON, "P1", "2026-11-16T13:00Z", "2026-11-16T17:00:00Z", "2026-11-17T17:00:00Z", "4 hours end at closing time"),
    (LONDON, "P1", "2026-11-16T13:01Z", "2026-11-17T09:01:00Z", "2026-11-17T17:00:00Z", "a minute more falls into Tuesday"),
    (LONDON, "P1", "2026-11-16T08:59Z", "2026-11-16T13:00:00Z", "2026-11-17T17:00:00Z", "a minute early counts from 09:00"),
    (LONDON, "P1", "2026-11-16T16:59Z", "2026-11-17T12:59:00Z", "2026-11-17T17:00:00Z", "1 minute Monday, 3:59 Tuesday; Monday is its day"),
    (LONDON, "P1", "2026-11-16T17:00Z", "2026-11-17T13:00:00Z", "2026-11-18T17:00:00Z", "at closing time the desk is closed: Tuesday is its day"),
    (LONDON, "P1", "2026-11-16T23:30Z", "2026-11-17T13:00:00Z", "2026-11-18T17:00:00Z", "at night counts from Tuesday 09:00"),
    (LONDON, "P1", "2026-11-17T03:00Z", "2026-11-17T13:00:00Z", "2026-11-18T17:00:00Z", "later the same night changes nothing"),
    (LONDON, "P1", "2026-11-16T10:00:30.250Z", "2026-11-16T14:00:30.250Z", "2026-11-17T17:00:00Z", "seconds and milliseconds are kept"),
    (LONDON, "P1", "2026-11-16T15:30+05:30", "2026-11-16T14:00:00Z", "2026-11-17T17:00:00Z", "15:30 in India is 10:00 in London"),
    # --- Friday 16:59 and the weekend
    (LONDON, "P1", "2026-11-20T16:59Z", "2026-11-23T12:59:00Z", "2026-11-23T17:00:00Z", "1 minute Friday, 3:59 Monday"),
    (LONDON, "P2", "2026-11-20T16:59Z", "2026-11-23T14:59:00Z", "2026-11-25T17:00:00Z", "5:59 on Monday; Monday, Tuesday, Wednesday"),
    (LONDON, "P3", "2026-11-20T16:59Z", "2026-11-23T16:59:00Z", "2026-11-27T17:00:00Z", "7:59 on Monday; a week later is Friday"),
    (LONDON, "P4", "2026-11-20T16:59Z", "2026-11-24T12:59:00Z", "2026-12-21T17:00:00Z", "8 hours Monday, 3:59 Tuesday; 20 December is a Sunday"),
    (LONDON, "P1", "2026-11-20T17:00Z", "2026-11-23T13:00:00Z", "2026-11-24T17:00:00Z", "a minute later belongs to Monday"),
    (LONDON, "P1", "2026-11-21T12:00Z", "2026-11-23T13:00:00Z", "2026-11-24T17:00:00Z", "Saturday counts from Monday 09:00"),
    (LONDON, "P1", "2026-11-22T23:59:59Z", "2026-11-23T13:00:00Z", "2026-11-24T17:00:00Z", "so does the end of Sunday"),
    # --- Christmas and New Year 2026: closed on 25, 26, 27, 28 December, and 1, 2, 3 January
    (LONDON, "P1", "2026-12-24T16:59Z", "2026-12-29T12:59:00Z", "2026-12-29T17:00:00Z", "straddles four closed days"),
    (LONDON, "P2", "2026-12-24T10:00Z", "2026-12-24T16:00:00Z", "2026-12-31T17:00:00Z", "working days 29, 30, 31"),
    (LONDON, "P3", "2026-12-18T10:00Z", "2026-12-21T10:00:00Z", "2026-12-29T17:00:00Z", "a week later is Christmas Day: rolls to the 29th"),
    (LONDON, "P1", "2026-12-25T12:00Z", "2026-12-29T13:00:00Z", "2026-12-30T17:00:00Z", "Christmas Day counts from Tuesday the 29th"),
    (LONDON, "P1", "2026-12-31T16:00Z", "2027-01-04T12:00:00Z", "2027-01-04T17:00:00Z", "1 hour on New Year's Eve, 3 on Monday the 4th"),
    (LONDON, "P2", "2026-12-31T16:00Z", "2027-01-04T14:00:00Z", "2027-01-06T17:00:00Z", "5 hours on Monday; 4, 5, 6 January"),
    (LONDON, "P3", "2026-12-31T16:00Z", "2027-01-04T16:00:00Z", "2027-01-07T17:00:00Z", "7 hours on Monday; a week is the 7th"),
    (LONDON, "P4", "2026-12-31T16:00Z", "2027-01-05T12:00:00Z", "2027-02-01T17:00:00Z", "1 + 8 + 3 hours; 31 January is a Sunday"),
    (LONDON, "P1", "2026-12-31T23:59Z", "2027-01-04T13:00:00Z", "2027-01-05T17:00:00Z", "New Year's Eve at night counts from Monday"),
    (LONDON, "P1", "2027-01-01T09:00Z", "2027-01-04T13:00:00Z", "2027-01-05T17:00:00Z", "09:00 on a public holiday is closed"),
    # --- Christmas 2027: a Saturday, so 27 and 28 are given in lieu; New Year 2028 on Monday the 3rd
    (LONDON, "P1", "2027-12-24T15:00Z", "2027-12-29T11:00:00Z", "2027-12-29T17:00:00Z", "2 hours Friday, 2 Wednesday"),
    (LONDON, "P1", "2027-12-28T10:00Z", "2027-12-29T13:00:00Z", "2027-12-30T17:00:00Z", "the day in lieu is closed"),
    (LONDON, "P2", "2027-12-22T10:00Z", "2027-12-22T16:00:00Z", "2027-12-29T17:00:00Z", "23, 24, then 29"),
    (LONDON, "P1", "2027-12-31T16:59Z", "2028-01-04T12:59:00Z", "2028-01-04T17:00:00Z", "Monday 3 January 2028 is in lieu"),
    # --- Easter, 2027 with the clock change inside
    (LONDON, "P1", "2026-04-02T16:00+01:00", "2026-04-07T11:00:00Z", "2026-04-07T16:00:00Z", "Good Friday to Easter Monday closed; 12:00 BST"),
    (LONDON, "P1", "2026-04-05T12:00+01:00", "2026-04-07T12:00:00Z", "2026-04-08T16:00:00Z", "Easter Sunday counts from Tuesday 09:00 BST"),
    (LONDON, "P1", "2027-03-25T16:00Z", "2027-03-30T11:00:00Z", "2027-03-30T16:00:00Z", "opened in GMT, due at 12:00 BST"),
    (LONDON, "P4", "2027-03-25T15:00Z", "2027-03-31T10:00:00Z", "2027-04-26T16:00:00Z", "2 + 8 + 2 hours: 11:00 BST; 25 April is a Sunday"),
    # --- both clock changes in London
    (LONDON, "P1", "2026-03-27T16:00Z", "2026-03-30T11:00:00Z", "2026-03-30T16:00:00Z", "the weekend is an hour short: Monday 12:00 BST"),
    (LONDON, "P1", "2026-03-29T00:30Z", "2026-03-30T12:00:00Z", "2026-03-31T16:00:00Z", "half an hour before the change: Monday 13:00 BST"),
    (LONDON, "P1", "2026-10-23T16:00+01:00", "2026-10-26T12:00:00Z", "2026-10-26T17:00:00Z", "the weekend is an hour long: Monday 12:00 GMT"),
    (LONDON, "P1", "2026-10-25T01:30+01:00", "2026-10-26T13:00:00Z", "2026-10-27T17:00:00Z", "the first 01:30 of that Sunday"),
    (LONDON, "P1", "2026-10-25T01:30+00:00", "2026-10-26T13:00:00Z", "2026-10-27T17:00:00Z", "the second 01:30"),
    (LONDON, "P1", "2027-10-29T16:59+01:00", "2027-11-01T12:59:00Z", "2027-11-01T17:00:00Z", "Friday 16:59 BST to Monday 12:59 GMT"),
    (LONDON, "P4", "2026-10-16T10:00+01:00", "2026-10-19T13:00:00Z", "2026-11-16T17:00:00Z", "opened in BST, update due in GMT"),
    # --- bank holidays and months' ends in London
    (LONDON, "P1", "2026-05-01T16:30+01:00", "2026-05-05T11:30:00Z", "2026-05-05T16:00:00Z", "the May bank holiday makes the weekend three days"),
    (LONDON, "P2", "2026-05-21T10:00+01:00", "2026-05-21T15:00:00Z", "2026-05-27T16:00:00Z", "Friday, Tuesday, Wednesday: Monday the 25th is closed"),
    (LONDON, "P3", "2026-08-24T10:00+01:00", "2026-08-25T09:00:00Z", "2026-09-01T16:00:00Z", "a week later is the August bank holiday"),
    (LONDON, "P4", "2026-07-31T12:00+01:00", "2026-08-03T15:00:00Z", "2026-09-01T16:00:00Z", "5 + 7 hours; 31 August is closed"),
    (LONDON, "P4", "2026-01-30T09:00Z", "2026-02-02T13:00:00Z", "2026-03-02T17:00:00Z", "no 30 February: the 28th, a Saturday, rolls to Monday"),
    (LONDON, "P4", "2027-01-29T09:00Z", "2027-02-01T13:00:00Z", "2027-03-01T17:00:00Z", "no 29 February in 2027: the 28th is a Sunday"),
    (LONDON, "P4", "2026-10-30T10:00Z", "2026-11-02T14:00:00Z", "2026-11-30T17:00:00Z", "30 November is a Monday"),
    (LONDON, "P1", "2027-04-30T16:00+01:00", "2027-05-04T11:00:00Z", "2027-05-04T16:00:00Z", "the May bank holiday of 2027"),
    (LONDON, "P2", "2027-05-26T12:00+01:00", "2027-05-27T09:00:00Z", "2027-06-01T16:00:00Z", "27, 28 May, 1 June: the 31st is closed"),
    (LONDON, "P3", "2027-08-23T09:00+01:00", "2027-08-23T16:00:00Z", "2027-08-31T16:00:00Z", "30 August is closed"),
    # --- New York: 09:00 to 17:00 is 14:00Z to 22:00Z in winter, 13:00Z to 21:00Z in summer
    (NEW_YORK, "P1", "2026-11-16T10:00-05:00", "2026-11-16T19:00:00Z", "2026-11-17T22:00:00Z", "14:00 EST"),
    (NEW_YORK, "P1", "2026-11-16T09:00Z", "2026-11-16T18:00:00Z", "2026-11-17T22:00:00Z", "London's morning is New York's night"),
    (NEW_YORK, "P1", "2026-11-25T16:00-05:00", "2026-11-27T17:00:00Z", "2026-11-27T22:00:00Z", "Thanksgiving between: Friday 12:00 EST"),
    (NEW_YORK, "P2", "2027-11-24T13:00-05:00", "2027-11-26T16:00:00Z", "2027-11-30T22:00:00Z", "4 hours Wednesday, 2 Friday; 26, 29, 30"),
    (NEW_YORK, "P1", "2026-07-02T15:00-04:00", "2026-07-06T15:00:00Z", "2026-07-06T21:00:00Z", "Independence Day 2026 is kept on Friday the 3rd"),
    (NEW_YORK, "P1", "2027-07-02T16:59-04:00", "2027-07-06T16:59:00Z", "2027-07-06T21:00:00Z", "and in 2027 on Monday the 5th"),
    (NEW_YORK, "P1", "2026-03-06T16:00-05:00", "2026-03-09T16:00:00Z", "2026-03-09T21:00:00Z", "clocks forward on 8 March: Monday 12:00 EDT"),
    (NEW_YORK, "P3", "2027-03-12T12:00-05:00", "2027-03-15T16:00:00Z", "2027-03-19T21:00:00Z", "clocks forward on 14 March 2027"),
    (NEW_YORK, "P1", "2026-10-30T16:00-04:00", "2026-11-02T17:00:00Z", "2026-11-02T22:00:00Z", "clocks back on 1 November: Monday 12:00 EST"),
    (NEW_YORK, "P1", "2027-11-05T16:30-04:00", "2027-11-08T17:30:00Z", "2027-11-08T22:00:00Z", "clocks back on 7 November 2027"),
    (NEW_YORK, "P2", "2026-11-02T12:00-05:00", "2026-11-04T15:00:00Z", "2026-11-06T22:00:00Z", "Election Day closes New York; 4, 5, 6 November"),
    (NEW_YORK, "P1", "2027-12-30T16:00-05:00", "2028-01-03T17:00:00Z", "2028-01-03T22:00:00Z", "New Year's Eve 2027 is the day in lieu"),
    # --- Sydney: 09:00 is 22:00Z of the day before in summer time, 23:00Z in winter
    (SYDNEY, "P1", "2026-11-16T10:00+11:00", "2026-11-16T03:00:00Z", "2026-11-17T06:00:00Z", "14:00 AEDT"),
    (SYDNEY, "P1", "2026-11-15T22:30Z", "2026-11-16T02:30:00Z", "2026-11-17T06:00:00Z", "Sunday evening in London is Monday 09:30 in Sydney"),
    (SYDNEY, "P1", "2026-11-20T16:59+11:00", "2026-11-23T01:59:00Z", "2026-11-23T06:00:00Z", "Friday 16:59"),
    (SYDNEY, "P1", "2026-04-02T16:00+11:00", "2026-04-07T02:00:00Z", "2026-04-07T07:00:00Z", "Easter 2026 with clocks back on Sunday: 12:00 AEST"),
    (SYDNEY, "P1", "2027-04-02T16:00+11:00", "2027-04-05T02:00:00Z", "2027-04-05T07:00:00Z", "clocks back on 4 April 2027"),
    (SYDNEY, "P1", "2026-10-02T16:00+10:00", "2026-10-06T01:00:00Z", "2026-10-06T06:00:00Z", "clocks forward, then Labour Day: Tuesday 12:00 AEDT"),
    (SYDNEY, "P1", "2027-10-01T15:00+10:00", "2027-10-05T00:00:00Z", "2027-10-05T06:00:00Z", "the same in 2027: 2 hours Friday, 2 Tuesday"),
    (SYDNEY, "P2", "2026-01-23T14:00+11:00", "2026-01-27T01:00:00Z", "2026-01-29T06:00:00Z", "Australia Day on a Monday; 27, 28, 29"),
    (SYDNEY, "P1", "2027-01-25T16:30+11:00", "2027-01-27T01:30:00Z", "2027-01-27T06:00:00Z", "Australia Day on a Tuesday"),
    (SYDNEY, "P1", "2026-12-31T16:59+11:00", "2027-01-04T01:59:00Z", "2027-01-04T06:00:00Z", "New Year's Eve"),
    (SYDNEY, "P4", "2026-05-08T09:00+10:00", "2026-05-11T03:00:00Z", "2026-06-09T07:00:00Z", "8 June is the King's Birthday"),
    # --- other terms: round the clock in London, where the changes of the clock lie inside the hours
    (ALWAYS, "P1", "2026-03-28T23:00Z", "2026-03-29T03:00:00Z", "2026-03-29T23:00:00Z", "4 real hours, though the clock shows 04:00; Sunday's end"),
    (ALWAYS, "P4", "2026-03-29T00:00Z", "2026-03-29T12:00:00Z", "2026-04-29T23:00:00Z", "12 real hours of a day of 23; midnight BST"),
    (ALWAYS, "P1", "2026-10-25T00:30+01:00", "2026-10-25T03:30:00Z", "2026-10-27T00:00:00Z", "4 real hours, though the clock shows 03:30"),
    (ALWAYS, "P3", "2027-10-30T23:00+01:00", "2027-10-31T06:00:00Z", "2027-11-07T00:00:00Z", "8 real hours over the change; Saturday's end"),
    # --- Sunday 00:30 to 04:30 in London: 3 hours when clocks go forward, 5 when they go back
    (EARLY_SUNDAY, "P1", "2026-03-29T00:30Z", "2026-04-05T00:30:00Z", "2026-04-05T03:30:00Z", "3 hours that Sunday, 1 the next"),
    (EARLY_SUNDAY, "P1", "2026-10-25T00:30+01:00", "2026-10-25T03:30:00Z", "2026-11-01T04:30:00Z", "4 of that Sunday's 5 hours"),
    # --- a company that closes from 24 December to 3 January
    (SHUTDOWN, "P1", "2026-12-23T16:59Z", "2027-01-04T12:59:00Z", "2027-01-04T17:00:00Z", "straddles eleven closed days"),
    (SHUTDOWN, "P3", "2026-12-23T10:00Z", "2027-01-04T10:00:00Z", "2027-01-04T17:00:00Z", "a week later is closed: rolls to the 4th"),
    (SHUTDOWN, "P2", "2026-12-23T10:00Z", "2026-12-23T16:00:00Z", "2027-01-04T17:00:00Z", "the third working day is the 6th; never later than P3"),
    # --- an enhanced package: Monday to Saturday 08:00 to 20:00, P1 within an hour
    (ENHANCED, "P1", "2026-11-21T19:30Z", "2026-11-23T08:30:00Z", "2026-11-23T20:00:00Z", "half an hour Saturday, half Monday"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("terms", "severity", "opened", "first", "update", "why"),
    TABLE,
    ids=[f"{row[1]} {row[2]}: {row[5]}" for row in TABLE],
)
def test_due_times_are_those_worked_out_by_hand(
    terms: SupportTerms, severity: Severity, opened: str, first: str, update: str, why: str
) -> None:
    at = instant(opened)
    assert (rfc3339(terms.first_response_due(severity, at)), rfc3339(terms.update_due(severity, at))) == (first, update)


# severity, opened, last answer, warning, next update due, why: in London
AFTER_AN_ANSWER = [
    ("P1", "2026-11-16T10:00Z", "2026-11-16T14:00Z", "2026-11-17T16:00:00Z", "2026-11-17T17:00:00Z", "answered Monday: Tuesday"),
    ("P1", "2026-11-16T10:00Z", "2026-11-16T17:00Z", "2026-11-17T16:00:00Z", "2026-11-17T17:00:00Z", "at closing time is Monday's still"),
    ("P1", "2026-11-16T10:00Z", "2026-11-16T20:00Z", "2026-11-17T16:00:00Z", "2026-11-17T17:00:00Z", "so is the evening"),
    ("P1", "2026-11-16T10:00Z", "2026-11-17T03:00Z", "2026-11-17T16:00:00Z", "2026-11-17T17:00:00Z", "an answer at night does not do for Tuesday"),
    ("P1", "2026-11-16T10:00Z", "2026-11-17T08:59Z", "2026-11-17T16:00:00Z", "2026-11-17T17:00:00Z", "nor one a minute before opening"),
    ("P1", "2026-11-16T10:00Z", "2026-11-17T09:00Z", "2026-11-18T16:00:00Z", "2026-11-18T17:00:00Z", "at 09:00 it is Tuesday's"),
    ("P1", "2026-11-16T10:00Z", "2026-11-20T11:00Z", "2026-11-23T16:00:00Z", "2026-11-23T17:00:00Z", "Friday: Monday"),
    ("P1", "2026-11-16T10:00Z", "2026-11-21T11:00Z", "2026-11-23T16:00:00Z", "2026-11-23T17:00:00Z", "Saturday is Friday's: Monday"),
    ("P1", "2026-11-21T10:00Z", "2026-11-21T11:00Z", "2026-11-24T16:00:00Z", "2026-11-24T17:00:00Z", "opened Saturday starts Monday: Tuesday"),
    ("P1", "2026-12-24T10:00Z", "2026-12-24T11:00Z", "2026-12-29T16:00:00Z", "2026-12-29T17:00:00Z", "over Christmas"),
    ("P2", "2026-11-16T10:00Z", "2026-11-16T11:00Z", "2026-11-18T17:00:00Z", "2026-11-19T17:00:00Z", "warned at 2 days, late after 3"),
    ("P2", "2026-11-16T10:00Z", "2026-11-19T11:00Z", "2026-11-23T17:00:00Z", "2026-11-24T17:00:00Z", "Thursday: Friday, Monday, Tuesday"),
    ("P3", "2026-11-16T10:00Z", "2026-11-18T11:00Z", "2026-11-25T16:00:00Z", "2026-11-25T17:00:00Z", "a week"),
    ("P4", "2026-11-16T10:00Z", "2026-11-30T11:00Z", "2026-12-30T16:00:00Z", "2026-12-30T17:00:00Z", "a month"),
    ("P4", "2026-11-16T10:00Z", "2026-12-31T11:00Z", "2027-02-01T16:00:00Z", "2027-02-01T17:00:00Z", "31 January is a Sunday"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("severity", "opened", "answered", "warning", "due", "why"),
    AFTER_AN_ANSWER,
    ids=[f"{row[0]} {row[2]}: {row[5]}" for row in AFTER_AN_ANSWER],
)
def test_the_next_update_is_counted_from_the_working_day_of_the_last_answer(
    severity: Severity, opened: str, answered: str, warning: str, due: str, why: str
) -> None:
    counted = (severity, instant(opened), instant(answered))
    assert (rfc3339(LONDON.update_warning(*counted)), rfc3339(LONDON.update_due(*counted))) == (warning, due)


def test_people_are_warned_an_open_hour_before_a_first_response_is_due() -> None:
    # Due at Tuesday 09:01: one minute of that morning, and 59 of Monday's afternoon.
    assert rfc3339(LONDON.first_response_warning("P1", instant("2026-11-16T13:01Z"))) == "2026-11-16T16:01:00Z"


def test_hours_that_the_clock_shows_twice_are_open_twice_and_those_it_skips_never() -> None:
    hours = OpeningHours(week=((),) * 6 + (((75, 105),),))  # Sunday 01:15 to 01:45
    back = [(rfc3339(start), rfc3339(end)) for start, end in hours.spans(date(2026, 10, 25))]
    assert back == [
        ("2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z"),
        ("2026-10-25T01:15:00Z", "2026-10-25T01:45:00Z"),
    ]
    assert hours.spans(date(2026, 3, 29)) == ()
    assert rfc3339(hours.roll(instant("2026-03-29T00:00Z"))) == "2026-04-05T00:15:00Z"


def test_a_day_that_the_zone_left_out_is_no_working_day() -> None:
    # Samoa went from Thursday 29 to Saturday 31 December 2011.
    hours = OpeningHours("Pacific/Apia", country="", subdivision="")
    assert hours.spans(date(2011, 12, 30)) == ()
    assert hours.working_day(date(2011, 12, 29), 1) == date(2012, 1, 2)


@pytest.mark.parametrize(
    ("country", "subdivision", "days"),
    [("GB", "ENG", ENGLAND), ("US", "NY", NEW_YORK_STATE), ("AU", "NSW", NEW_SOUTH_WALES)],
)
def test_public_holidays_are_those_that_the_governments_name(country: str, subdivision: str, days: str) -> None:
    found = public_holidays(country, subdivision, 2026) | public_holidays(country, subdivision, 2027)
    assert sorted(day.isoformat() for day in found if day.weekday() < 5) == days.split()


def test_other_terms_must_keep_the_order_of_severities() -> None:
    with pytest.raises(
        ValueError, match="no first response sooner for a less severe request, found \\[240, 360, 60, 720\\]"
    ):
        SupportTerms(promises=(*LONDON.promises[:2], Promise(60, UpdateRule(1, "week")), LONDON.promises[3]))


# --- the second clock: it walks, and knows nothing of spans

DESKS: dict[str, tuple[SupportTerms, str]] = {
    "London": (LONDON, ENGLAND + " 2028-01-03"),
    "New York": (NEW_YORK, NEW_YORK_STATE + " 2028-01-17"),
    "Sydney": (SYDNEY, NEW_SOUTH_WALES + " 2028-01-03 2028-01-26"),
    "always": (ALWAYS, ""),
    "shutdown": (SHUTDOWN, ENGLAND + " 2026-12-24 2026-12-29 2026-12-30 2026-12-31 2028-01-03"),
    "early Sunday": (EARLY_SUNDAY, ""),
}
WALK = 30
"""Minutes of a step: every edge and every change of these desks' clocks lies on a half hour."""


def shown(terms: SupportTerms, minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC).astimezone(ZoneInfo(terms.hours.zone))


def walks_open(terms: SupportTerms, closed: str, minute: int) -> bool:
    wall = shown(terms, minute)
    time = wall.hour * 60 + wall.minute
    return wall.date().isoformat() not in closed and any(a <= time < b for a, b in terms.hours.week[wall.weekday()])


def walked_first_response(terms: SupportTerms, closed: str, minute: int, left: int) -> int:
    while left:
        left -= walks_open(terms, closed, minute)
        minute += 1
    return minute


def walked_days(terms: SupportTerms, closed: str, minute: int) -> Iterator[tuple[date, int]]:
    """From an open minute on, working days with the minute after their last open one."""
    day, last = shown(terms, minute).date(), minute
    while True:
        if walks_open(terms, closed, minute):
            if shown(terms, minute).date() != day:
                yield day, last
                day = shown(terms, minute).date()
            last = minute - minute % WALK + WALK
        minute += WALK - minute % WALK


def walked_update(terms: SupportTerms, closed: str, minute: int) -> list[int]:
    """The due times for P1 to P4 of a request opened at the minute, each by its own rule, then never later than a milder one's."""
    while not walks_open(terms, closed, minute):
        minute += 1
    start = shown(terms, minute).date()
    month = date(start.year + start.month // 12, start.month % 12 + 1, 1)
    month = month.replace(day=min(start.day, monthrange(month.year, month.month)[1]))
    days, due = [], {}
    for day, end in walked_days(terms, closed, minute):
        days.append(end)
        if len(days) == 2:
            due["P1"] = end
        if len(days) == 4:
            due["P2"] = end
        if day >= start + timedelta(days=7):
            due.setdefault("P3", end)
        if day >= month:
            due.setdefault("P4", end)
        if len(due) == 4:
            return [min(due[milder] for milder in SEVERITIES[place:]) for place in range(4)]
    raise AssertionError


minutes = st.integers(instant("2026-01-01T00:00Z") // 60_000, instant("2027-12-20T00:00Z") // 60_000)
desks = st.sampled_from(sorted(DESKS))
severities = st.sampled_from(SEVERITIES)


@settings(max_examples=200, deadline=None)
@given(desks, severities, minutes)
@example("London", "P1", instant("2026-12-31T16:59Z") // 60_000)
@example("always", "P4", instant("2026-10-24T23:30Z") // 60_000)
@example("early Sunday", "P1", instant("2026-03-29T00:45Z") // 60_000)
def test_a_clock_that_walks_minute_by_minute_finds_the_same_first_response(
    desk: str, severity: Severity, minute: int
) -> None:
    terms, closed = DESKS[desk]
    left = terms.promise(severity).first_response_minutes
    expected = walked_first_response(terms, closed, minute, left)
    assert terms.first_response_due(severity, minute * 60_000) == expected * 60_000


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(set(DESKS) - {"early Sunday"})), minutes)
@example("London", instant("2027-03-25T16:00Z") // 60_000)
@example("shutdown", instant("2026-12-23T10:00Z") // 60_000)
@example("always", instant("2026-10-25T00:30+01:00") // 60_000)
def test_a_clock_that_walks_finds_the_same_updates(desk: str, minute: int) -> None:
    terms, closed = DESKS[desk]
    expected = [due * 60_000 for due in walked_update(terms, closed, minute)]
    assert [terms.update_due(severity, minute * 60_000) for severity in SEVERITIES] == expected


opened_at = st.integers(instant("2026-01-01T00:00Z"), instant("2027-12-20T00:00Z"))


@given(desks, severities, opened_at, st.integers(0, 10**9))
def test_moving_an_opening_within_closed_hours_changes_no_due_time(
    desk: str, severity: Severity, at: int, by: int
) -> None:
    terms, _ = DESKS[desk]
    if terms.hours.is_open(at):
        at = terms.hours.closing(terms.hours.business_day(at))
    moved = min(at + by, terms.hours.roll(at))
    for clock in (terms.first_response_due, terms.first_response_warning, terms.update_due, terms.update_warning):
        assert clock(severity, moved) == clock(severity, at)


@given(desks, opened_at, st.none() | st.integers(0, 10**10))
def test_more_severe_is_never_due_later(desk: str, at: int, answered: int | None) -> None:
    terms, _ = DESKS[desk]
    first = [terms.first_response_due(severity, at) for severity in SEVERITIES]
    update = [terms.update_due(severity, at, None if answered is None else at + answered) for severity in SEVERITIES]
    assert (first, update) == (sorted(first), sorted(update))


@given(desks, severities, opened_at, st.integers(0, 10**8))
def test_opened_later_is_never_due_sooner(desk: str, severity: Severity, at: int, by: int) -> None:
    terms, _ = DESKS[desk]
    assert terms.first_response_due(severity, at) <= terms.first_response_due(severity, at + by)
    assert terms.update_due(severity, at) <= terms.update_due(severity, at + by)


@given(desks, severities, opened_at)
def test_a_due_time_falls_within_opening_hours_or_ends_them_and_its_warning_comes_before(
    desk: str, severity: Severity, at: int
) -> None:
    terms, _ = DESKS[desk]
    for due, warning in (
        (terms.first_response_due(severity, at), terms.first_response_warning(severity, at)),
        (terms.update_due(severity, at), terms.update_warning(severity, at)),
    ):
        assert terms.hours.is_open(due - 1)
        assert warning < due


@given(desks, opened_at, st.integers(0, 3000))
def test_counting_open_minutes_forward_and_back_ends_at_the_same_open_time(desk: str, at: int, count: int) -> None:
    hours = DESKS[desk][0].hours
    there = hours.after(at, count)
    assert hours.after(hours.before(there, count), count) == there
    assert hours.roll(hours.before(there, count)) == hours.roll(at)


def test_the_standard_week_has_forty_open_hours() -> None:
    hours = OpeningHours()
    week = [hours.spans(date(2026, 11, day)) for day in range(16, 23)]
    assert sum(end - start for spans in week for start, end in spans) == 40 * 3_600_000
    assert hours.week == (NINE_TO_FIVE,) * 5 + ((), ())
