"""How a row is run: its contestants one after another, again and again, and what each of them reached."""

import subprocess

from around import Run
from machinery import ROOT, Failed, Figures

# Of each run, the part before this is warm-up.
WARM = 0.3


def measured(meter, contestants, events, patience=300):
    """Events a second after the warm-up, processor seconds for a million events, the peak in MB of all its processes."""
    contestants = contestants if isinstance(contestants, list) else [contestants]
    first = int(events * WARM)
    meter.until(first, patience, *contestants)
    before = sum(one.cpu() for one in contestants)
    begun = meter.lines()[-1]
    meter.until(events, patience, *contestants)
    cpu = sum(one.cpu() for one in contestants) - before
    end = next(line for line in meter.lines() if line[1] >= events)
    count, seconds = end[1] - begun[1], end[0] - begun[0]
    if count <= 0 or seconds <= 0:
        # All of it came between two looks of the meter: too few events to say a rate.
        count, seconds = events, end[0]
    return Run(count / seconds, cpu / count * 1e6, sum(one.peak_mb() for one in contestants))


def contest(around, title, contestants, runs, unit="events/s", less_is_better=False):
    """Runs each contestant so many times, one after another, and gives their figures. A rival that cannot be built
    or does not do the work is named in the table with the reason."""
    contestants = {name: one for name, one in contestants.items() if around.takes_part(name)}
    figures = {name: Figures(name, unit) for name in contestants}
    for run in range(runs):
        for name, one in contestants.items():
            try:
                done = one(run)
            except (subprocess.CalledProcessError, Failed) as error:
                told = " ".join(str(error).split()).replace(f"{ROOT}/", "")
                figures[name].notes.append(f"run {run + 1} failed: {told[:300]}")
                print(f"  {title} · run {run + 1} · {name}: FAILED: {error}", flush=True)
                continue
            finally:
                around.machinery.stop_contestants()
            shown = ", ".join(f"{what} {value:,.2f}" for what, value in done.more.items())
            print(f"  {title} · run {run + 1} · {name}: {done.value:,.2f} {unit}, {done.cpu:.1f} CPU s/million, "
                  f"{done.peak:.0f} MB{', ' if shown else ''}{shown}", flush=True)
            for fault in done.faults:
                print(f"    INVALID: {fault}", flush=True)
            figures[name].add(done, run)
    return title + (", less is better" if less_is_better else ""), list(figures.values())
