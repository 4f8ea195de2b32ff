"""The backtest on a small population: relations that must hold, and files that people hand in."""

import json
from itertools import pairwise
from time import process_time

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from monitor.cli.backtest import BadCsv, backtest, from_csv, populations_of, report
from monitor.contract.period import month, month_after
from monitor.forecast.backtest import THRESHOLDS, Look, Spent, Trail, replay
from monitor.forecast.baselines import NAMES, TOLD
from monitor.forecast.generate import WORLDS, Crowd, Outage, counts, outages
from monitor.forecast.judge import judge
from monitor.forecast.mixture import Forecast

SEED = 3
HEADER = "tenant,start,end,failing_share,requests_per_day\n"


@pytest.fixture(scope="module")
def judged():
    print("seed", SEED)
    spent = Spent()
    population = populations_of(2400, SEED)[1]
    trails = list(replay(population, process_time, spent))
    return report(trails, spent, SEED), trails


def run(*arguments):
    app = typer.Typer()
    app.command()(backtest)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_forecast_is_ahead_of_the_simpler_ways(judged):
    result, _ = judged
    for kind in ("random", "incident"):
        for name in ("hold", "climatology", "linear"):
            assert result["brier"]["99"][kind] < result["baselines"][name]["brier"]["99"][kind], (name, kind)
        # So few tenants cannot tell it from the best of them.
        assert result["brier"]["99"][kind] < 1.1 * result["baselines"]["day-block"]["brier"]["99"][kind]


def test_who_is_told_when_the_failure_ends_does_better_while_it_lasts_and_alike_at_other_times(judged):
    result, trails = judged
    assert result["told_the_end"]["brier"]["99"]["incident"] < 0.9 * result["brier"]["99"]["incident"]
    quiet = [look for t in trails for look in t.looks if look.kind == "random" and not look.made.failing]
    assert len(quiet) > 200
    for look in quiet:
        assert look.baselines["told the end"].tolist() == list(look.made.probability.values())


def test_what_is_said_to_be_likely_is(judged):
    result, _ = judged
    assert result["calibration_error"]["random"] < 0.08
    assert result["calibration_error"]["incident"] < 0.15


@pytest.mark.parametrize(("off", "told_apart"), [(0.0, False), (0.25, True)])
def test_an_error_of_calibration_is_told_from_what_chance_makes_of_a_right_forecast(off, told_apart):
    """Months in which five tenants share their fate; what is said of them is right, or too high by `off`."""
    rng = np.random.default_rng(SEED)
    trails = []
    for number, period in enumerate(consecutive(48)):
        p = rng.uniform(0.05, 0.7)
        crossed = period.end - 1 if rng.random() < p else None
        trails += [trail_of(f"tenant {i} of {number}", period, p + off, crossed) for i in range(5)]
    result = judge(trails)
    error, chance = result["calibration_error"]["random"], result["calibration_by_chance"]["random"]
    assert 0.05 < chance["mean"] < chance["one_in_twenty"] < 0.2
    assert (error > chance["one_in_twenty"]) == told_apart


def consecutive(many):
    made = [month(2025, 1)]
    while len(made) < many:
        made.append(month_after(made[-1]))
    return made


def trail_of(name, period, p, crossed):
    told = dict.fromkeys(THRESHOLDS, p)
    made = Forecast(100.0, 0.9, 0.95, 1.0, told, dict.fromkeys(THRESHOLDS), None, failing=False, severity=0.0)
    simpler = dict.fromkeys((*NAMES, TOLD), np.zeros(len(THRESHOLDS)))
    look = Look("random", period.start + 1, 0, made, simpler)
    return Trail("one fate", name, period, 100, 5, dict.fromkeys(THRESHOLDS, crossed), None, False, [], [look])


def test_how_fast_months_are_lost_is_measured_from_the_start_of_the_failure_that_loses_them():
    first, second, third = consecutive(3)
    trails = [
        trail_of("slow", first, 0.5, first.start + 700),
        trail_of("fast", second, 0.5, second.start + 130),
        trail_of("kept", third, 0.5, None),
    ]
    trails[0].outages = [Outage(first.start - 500, first.start + 90, 1.0), Outage(first.start + 100, first.end, 0.5)]
    trails[1].outages = [Outage(second.start + 100, second.start + 130, 1.0)]
    trails[2].outages = [Outage(third.start, third.start + 60, 1.0)]
    assert judge(trails)["crossing"] == {"median_hours": (10 + 0.5) / 2, "within_an_hour": 0.5}


def test_the_interval_holds_about_nine_months_of_ten(judged):
    result, _ = judged
    assert 0.8 < result["coverage"]["random"] < 0.98
    # Eight tenants have few long failures, and the looks at one of them hold or fail together.
    assert 0.65 < result["coverage"]["incident"] < 0.98


def test_a_surer_page_is_a_rarer_and_a_later_one(judged):
    policies = judged[0]["policies"]
    levels = [policies[f"P>={p}"] for p in (0.5, 0.8, 0.9, 0.95)]
    for early, late in pairwise(levels):
        assert early["pages_per_tenant_month"] >= late["pages_per_tenant_month"]
        assert early["median_lead_hours"] >= late["median_lead_hours"]
    assert levels[1]["precision"] > policies["multi-window burn rate"]["precision"]


def test_a_page_at_certainty_has_no_lead_left(judged):
    _, trails = judged
    for trail in trails:
        crossed = trail.crossed[9900]
        sure = [look for look in trail.looks if look.made.probability[9900] == 1.0]
        if crossed is None:
            assert not sure, trail
        elif sure:
            assert sure[0].now > crossed - 2 * 1440


def test_the_figures_are_json_with_the_names_that_are_documented(judged):
    result = json.loads(json.dumps(judged[0]))
    assert set(result["brier"]) == set(result["base_rate"]) == {"99", "95", "90"}
    assert set(result["brier"]["99"]) == set(result["coverage"]) == {"random", "incident", "failing"}
    assert set(result["baselines"]) == {"burn rate", "hold", "climatology", "linear", "day-block"}
    assert result["seconds_per_tenant"] > 0


def test_a_forecast_sees_nothing_of_what_comes(judged):
    """Two populations that are alike up to a month have alike forecasts up to it."""
    population = populations_of(100, SEED)[0]
    cut = population.periods[1].end
    changed = [
        type(t)(t.name, t.crowd, [o for o in t.outages if o.start < cut], t.first) for t in population.tenants[:2]
    ]
    known = type(population)("a", population.periods[:3], population.tenants[:2], population.seed)
    other = type(population)("a", population.periods[:3], changed, population.seed)
    looks = [
        {
            (t.tenant, look.now): look.made
            for t in replay(p, process_time, Spent())
            if t.period.end <= cut
            for look in t.looks
        }
        for p in (known, other)
    ]
    assert looks[0] == looks[1]


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.name)
def test_a_seed_brings_the_same_world_back(world):
    periods = [month(2026, 1), month_after(month(2026, 1))]
    first, again = outages(world, periods, 5), outages(world, periods, 5)
    assert first == again != outages(world, periods, 6)
    crowd = Crowd.of(world, 5, 0)
    one, two = (counts(crowd, first[0], periods[0], [5, 0]) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert (one[1] <= one[0]).all()


def test_the_worlds_together_have_the_durations_and_the_rate_that_were_measured_on_real_histories():
    durations, months = [], 0
    for seed in (1, 2, 3):
        for population in populations_of(5000, seed):
            months += len(population.periods) * len(population.tenants)
            durations += [o.end - o.start for tenancy in population.tenants for o in tenancy.outages]
    found = np.quantile(durations, (0.5, 0.75, 0.9, 0.99))
    assert found == pytest.approx([123, 205, 546, 5008], rel=0.3)
    assert len(durations) / months == pytest.approx(1.6, abs=0.3)


def test_the_worlds_together_miss_months_as_often_and_as_fast_as_was_measured_on_real_histories():
    months, hours = 0, []
    for population in populations_of(2400, 1):
        for number, period in enumerate(population.periods[1:], 1):
            for index, tenancy in enumerate(population.tenants):
                demand, bad = counts(tenancy.crowd, tenancy.outages, period, [population.seed, 3, index, number])
                over = np.cumsum(bad) > demand.sum() / 100
                months += 1
                if over.any():
                    crossed = period.start + int(np.argmax(over))
                    since = min((o.start for o in tenancy.outages if o.start <= crossed < o.end), default=crossed)
                    hours.append((crossed - since) / 60)
    assert len(hours) / months == pytest.approx(0.16, abs=0.03)
    assert np.median(hours) == pytest.approx(4.0, rel=0.35)
    assert np.mean(np.array(hours) < 1) == pytest.approx(0.14, abs=0.06)


def test_a_file_of_failures_becomes_tenants_from_their_first_month(tmp_path):
    file = tmp_path / "failures.csv"
    file.write_text(
        HEADER
        + "b,2026-01-31T23:30:00+01:00,2026-02-01T00:10:30+01:00,0.5,1000\n"
        + "a,2026-03-02T10:00:00Z,2026-03-02T11:00:00Z,1,\n\n"
    )
    made = from_csv([file], 1)
    assert [p.name for p in made.periods] == ["2026-01", "2026-02", "2026-03"]
    assert [(t.name, t.first, [(o.end - o.start, o.share) for o in t.outages]) for t in made.tenants] == [
        ("a", 2, [(60, 1.0)]),
        ("b", 0, [(41, 0.5)]),
    ]
    assert made.tenants[1].crowd.requests == 1000


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (
            "a,2026-01-31T23:30:00,2026-02-01T00:10:00Z,0.5,",
            "start: expected a time like 2026-11-23T09:30:00Z, found 2026-01-31T23:30:00",
        ),
        ("a,2026-01-31T23:30:00Z,2026-01-31T23:30:00Z,0.5,", "end: expected a time after the start"),
        ("a,2026-01-31T23:30:00Z,2026-02-01T00:10:00Z,50,", "failing_share: expected over 0 and at most 1, found 50"),
        ("a,2026-01-31T23:30:00Z,2026-02-01T00:10:00Z,much,", "failing_share: expected a number, found much"),
        ("a,2026-01-31T23:30:00Z,,0.5,", "end: expected a time like 2026-11-23T09:30:00Z, found nothing"),
        (",2026-01-31T23:30:00Z,2026-02-01T00:10:00Z,0.5,", "tenant: expected a name, found nothing"),
        ("a,2026-01-31T23:30:00Z,2026-02-01T00:10:00Z,0.5,0", "requests_per_day: expected over 0"),
        ("a,2026-01-31T23:30:00Z", "expected 5 fields, found 2"),
    ],
)
def test_a_bad_row_is_refused_by_its_line_with_what_was_expected(tmp_path, row, complaint):
    file = tmp_path / "failures.csv"
    file.write_text(HEADER + "a,2026-01-30T23:30:00Z,2026-01-31T00:10:00Z,0.5,\n" + row + "\n")
    with pytest.raises(BadCsv) as fault:
        from_csv([file], 1)
    assert f"{file}: line 3: {complaint}" in str(fault.value)


def test_a_file_without_its_header_is_refused(tmp_path):
    file = tmp_path / "failures.csv"
    file.write_text("a,2026-01-30T23:30:00Z,2026-01-31T00:10:00Z,0.5\n")
    done = run(file)
    assert done.exit_code == 2
    assert "line 1: expected the columns tenant,start,end,failing_share, found a,2026-01" in done.stderr


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x9a\x01\xff\n", "expected a CSV file in UTF-8, found bytes that are none"),
        (
            b'tenant,start,end,failing_share\n"' + b"a" * 200_000,
            "expected a CSV file in UTF-8, found bytes that are none",
        ),
        (b"", "line 1: expected the columns tenant,start,end,failing_share, found nothing"),
        (None, "expected a CSV file, found nothing of that name"),
    ],
    ids=["bytes", "endless field", "empty", "absent"],
)
def test_a_file_that_is_no_csv_is_refused_in_one_line(tmp_path, content, complaint):
    file = tmp_path / "failures.csv"
    if content is not None:
        file.write_bytes(content)
    done = run(file)
    assert (done.exit_code, done.stderr) == (2, f"{file}: {complaint}\n")


def test_files_and_generated_histories_are_one_or_the_other():
    assert run().exit_code == 2
    assert run("--synthetic", "failures.csv").exit_code == 2


def test_a_file_is_judged_with_tables_json_and_plots(tmp_path):
    rows = [
        f"t{i},2026-0{m}-1{i}T10:00:00Z,2026-0{m}-1{i}T{12 + i}:00:00Z,0.8,2000" for i in range(4) for m in (1, 2, 3)
    ]
    file = tmp_path / "failures.csv"
    file.write_text(HEADER + "\n".join(rows) + "\n")
    done = run(file, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["tenant_months"] == 8
    pytest.importorskip("matplotlib")
    done = run(file, "--plots", tmp_path / "plots")
    assert "Point of no return" in done.stdout
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == ["paging.png", "quarters.png", "reliability.png"]
