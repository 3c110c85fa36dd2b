"""Timed measurements in rounds, and the ratios between proxies."""

import contextlib
import os
import statistics
import time
from dataclasses import dataclass

from .load import Load, generate
from .process import CannotRun, Refused, core_times, say
from .servers import all_started

# A proxy whose core is idle while the generator's is full is woken for less work at a time than at
# its own limit, and so costs more per request: 4 % (nginx) to 8 % (relay) more when the generator
# was held to half its pace. On two cores the cheapest proxies are always held back (idle for 20 %
# to 30 %), which favours what is compared with them by a few per cent. With more than half of the
# core idle the figures mean nothing.
MOST_IDLE = 0.5

# Other work on the proxy's core, or on the processor beneath a virtual one, costs every proxy more,
# and most of all the one that has most to keep in caches: a round in which it took more than this
# is made again, as often as there are rounds.
MOST_OTHERS = 0.10


@dataclass
class Sample:
    """One measurement of one proxy."""

    requests: int
    cpu_seconds: float
    seconds: float
    idle: float  # share of the proxy's core that was not used, 0…1
    others: float  # share of the proxy's core that other work took, 0…1


@dataclass
class Ratio:
    """Median and quartiles of the rounds' ratios."""

    median: float
    lower: float
    upper: float

    def __str__(self):
        return f"{self.median:.2f} [{self.lower:.2f}–{self.upper:.2f}]"


def measure(setting, proxy, load=Load()):
    """One timed measurement."""
    began = time.monotonic()
    cpu, own, generator = (
        proxy.child.cpu_seconds(),
        core_times(setting.proxy_core),
        core_times(setting.generator_core),
    )
    requests, seconds = generate(setting, proxy, load)
    cpu = proxy.child.cpu_seconds() - cpu
    own = [after - before for before, after in zip(own, core_times(setting.proxy_core))]
    generator = [
        after - before for before, after in zip(generator, core_times(setting.generator_core))
    ]
    if proxy.access_log and proxy.access_log.exists():
        os.truncate(proxy.access_log, 0)  # a run writes hundreds of MB otherwise
    wall = time.monotonic() - began
    idle = own[1] / wall
    if idle > MOST_IDLE and generator[1] < 0.02 * wall:
        raise Refused(f"the generator's core was the full one (the proxy's was idle {idle:.0%})")
    return Sample(requests, cpu, seconds, idle, max(0.0, own[0] + own[2] - cpu) / wall)


def compared(case, proxies):
    """Those of the proxies that take part in a case."""
    return [proxy for proxy in proxies if proxy.name in (*case.peers, "keyward")]


def one_round(setting, cases, names, programs):
    """Each case once: {case: {proxy: four samples}}. The proxies are started afresh, so that the
    luck of where they came to lie in memory is part of the spread."""
    taken = {}
    with all_started(setting, names, programs) as proxies:
        for case in cases:
            each = compared(case, proxies)
            samples = {proxy.name: [] for proxy in each}
            for proxy in each:
                with contextlib.suppress(Refused):
                    generate(setting, proxy, case.load)  # pools, caches, allocators
            for proxy in [*each, *reversed(each)] * 2:
                try:
                    samples[proxy.name].append(measure(setting, proxy, case.load))
                except Refused as error:
                    raise Refused(f"{case.name}, {proxy.name}: {error}") from error
            taken[case.name] = samples
    return taken


def measure_rounds(setting, cases, names, programs, rounds):
    """The timed rounds: a list of {case: {proxy: samples}}, and how many rounds were refused."""
    taken, refused, noisy = [], 0, 0
    while len(taken) < rounds:
        try:
            current = one_round(setting, cases, names, programs)
        except Refused as error:
            refused += 1
            say(f"round refused: {error}")
            if refused > rounds:
                raise CannotRun(
                    f"{refused} rounds were refused, the last one because of {error}"
                ) from error
            continue
        others = max(
            sample.others
            for by_name in current.values()
            for samples in by_name.values()
            for sample in samples
        )
        if others > MOST_OTHERS and noisy < rounds:
            noisy += 1
            say(f"round refused: other work took {others:.0%} of the proxy's core")
            continue
        taken.append(current)
        for case, by_name in current.items():
            costs = "  ".join(
                f"{name} {cpu_us_per_request(samples):.1f}" for name, samples in by_name.items()
            )
            say(f"{case}, round {len(taken)} of {rounds}, CPU µs/request: {costs}")
    return taken, refused + noisy


def cpu_us_per_request(samples):
    """Processor time per request, in µs, over samples of one proxy."""
    return (
        1e6
        * sum(sample.cpu_seconds for sample in samples)
        / sum(sample.requests for sample in samples)
    )


def ratio(rounds, name, base):
    """What `name` costs as a share of what `base` costs; rounds are {proxy: samples}."""
    if name not in rounds[0] or base not in rounds[0]:
        return None
    each = [
        cpu_us_per_request(samples[name]) / cpu_us_per_request(samples[base]) for samples in rounds
    ]
    lower, median, upper = (
        statistics.quantiles(each, n=4, method="inclusive") if len(each) > 1 else each * 3
    )
    return Ratio(median, lower, upper)
