"""Tables: for the terminal, and for the documentation."""

import statistics
import textwrap

from plan import DELIVERY, MIB, PEERS, SCENARIOS, TARGETS

# Keys of which more is better.
MORE_IS_BETTER = {"share"}
# Above it the generator itself may be what limits.
GENERATOR_SHARE_MAX = 0.95
# Of prose in the documentation.
WIDTH = 99
WHOLE_WORDS = {"break_long_words": False, "break_on_hyphens": False}


class Missing(Exception):
    """There is no result for a figure."""


def values(results, scenario, peer, key="value"):
    runs = results.get(scenario, {}).get(peer, [])
    return [run[key] for run in runs if key in run]


def best_of(results):
    def best(scenario, peer, key="value"):
        found = values(results, scenario, peer, key)
        if not found:
            raise Missing
        return max(found) if key in MORE_IS_BETTER else min(found)

    return best


def number(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def against(best, scenario, peer, other):
    try:
        return f"{best(scenario, peer) / best(scenario, other):.2f}"
    except (Missing, ZeroDivisionError):
        return ""


def rows(results, scenario):
    """A row for each peer; all cells are text."""
    best, plan = best_of(results), SCENARIOS[scenario]
    for peer in results[scenario]:
        found = values(results, scenario, peer)
        if not found:
            yield [peer, "failed", "", "", "", ""]
            continue
        notes = []
        if p99 := values(results, scenario, peer, "p99_us"):
            notes.append(f"p99 {number(min(p99) / 1000)} ms")
        if values(results, scenario, peer, "share"):
            notes.append(f"{best(scenario, peer, 'share'):.1%} delivered")
        if grown := values(results, scenario, peer, "memory_grown"):
            closed = all(values(results, scenario, peer, "slow_closed"))
            notes.append(f"server grew by {min(grown) / MIB:.1f} MiB")
            notes.append("slow one closed" if closed else "slow one kept")
        if max(values(results, scenario, peer, "generator_share"), default=0) > GENERATOR_SHARE_MAX:
            notes.append("generator at its limit")
        if len(found) < len(results[scenario][peer]):
            notes.append("some runs failed")
        ratios = [against(best, scenario, peer, other) for other in ("roomcast", plan.floor)]
        yield [peer, number(min(found)), number(statistics.median(found)), *ratios, ", ".join(notes)]


def header(scenario):
    plan = SCENARIOS[scenario]
    return ["", f"{plan.unit}: min", "median", "x roomcast", f"x {plan.floor}", ""]


def targets(results):
    best = best_of(results)
    for target in TARGETS:
        bound = f"{'at least' if target.at_least else 'at most'} {target.limit:,g}"
        try:
            figure = target.figure(best)
        except (Missing, ZeroDivisionError):
            yield [target.text, bound, "", "not measured"]
            continue
        met = figure >= target.limit if target.at_least else figure <= target.limit
        shown = f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"
        yield [target.text, bound, shown, "met" if met else "missed"]


def text(results):
    out = []
    for scenario in results:
        out += ["", SCENARIOS[scenario].title, aligned([header(scenario), *rows(results, scenario)])]
    out += ["", "Targets", aligned(targets(results))]
    return "\n".join(out)


def aligned(table):
    table = list(table)
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = []
    for name, *cells in table:
        cells = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:]))
        lines.append("  ".join([f"  {name:{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)


def markdown(table):
    first, *rest = table
    last = "---:" if rest and rest[0][-1][:1].isdigit() else "---"
    lines = [first, ["---", *["---:"] * (len(first) - 2), last], *rest]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def marked(results, scenario, peer):
    """Marks of a figure, for the footnotes of the table of costs."""
    runs = results[scenario][peer]
    at_limit = max(values(results, scenario, peer, "generator_share"), default=0) > GENERATOR_SHARE_MAX
    return "*" * at_limit + "†" * any("value" not in run for run in runs)


def titled(scenario):
    """The title of a row, with its unit where it is not that of most."""
    plan = SCENARIOS[scenario]
    return plan.title if plan.unit == DELIVERY else f"{plan.title}; {plan.unit}"


def costs(results):
    """A row for each scenario, a column for each peer: Roomcast's minimum, and the ratios of the others to it."""
    best = best_of(results)
    yield ["roomcast in µs per delivery, the others as multiples of it", *PEERS]
    for scenario in results:
        plan = SCENARIOS[scenario]
        # Of a slow reader the others' latency counts, which is among the targets.
        if plan.only_roomcast or "slow" in plan.load:
            continue
        row = []
        for peer in PEERS:
            found = values(results, scenario, peer)
            ratio = against(best, scenario, peer, "roomcast")
            figure = ratio if peer != "roomcast" and ratio else number(min(found, default=0))
            row.append(figure + marked(results, scenario, peer) if found else "failed")
        yield [titled(scenario), *row]


def footnotes(results):
    """Explains the marks, and tells the noise of the machine: the distance of medians from minima."""
    spread = {peer: 0 for peer in PEERS}
    for scenario in results:
        for peer in results[scenario]:
            if found := values(results, scenario, peer):
                spread[peer] = max(spread[peer], statistics.median(found) / min(found) - 1)
    return (
        "Minima over the rounds. \\* the generator was at its limit. † some runs failed. Medians were up to "
        f"{max(spread.values()):.0%} above the minima, those of Roomcast up to {spread['roomcast']:.0%}."
    )


def write(path, results, machine_lines):
    wrapped = (textwrap.fill(line, WIDTH, subsequent_indent="  ", **WHOLE_WORDS) for line in machine_lines)
    parts = ["\n".join(wrapped)]
    judged = ([text, bound, figure + " missed" * (verdict == "missed")] for text, bound, figure, verdict in targets(results))
    parts += ["### Targets", markdown([["target", "bound", "figure"], *judged])]
    parts += ["### Costs", markdown(costs(results)), textwrap.fill(footnotes(results), WIDTH)]
    replace(path, "tests/bench/run", parts)


def replace(path, script, parts):
    """Puts paragraphs between the two markers of a script."""
    begin, end = (f"<!-- generated by {script}: {which} -->" for which in ("begin", "end"))
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ends, after = rest.partition(end)
    assert found and ends, f"{path} lacks the markers of {script}"
    path.write_text("\n\n".join([before + begin, *parts, end]) + after, encoding="utf-8")


assert all(SCENARIOS[scenario].floor in PEERS for scenario in SCENARIOS)
