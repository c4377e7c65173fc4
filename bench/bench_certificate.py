"""How often a certificate is right: on runs whose truth is known, and on real ones cut short.

The first part certifies families of traces with analytic truth and counts right, wrong and
undecided by property, the coverage of every interval and the bounds that are broken; some families
and other seeds of all are held back from tuning. The second part cuts long real runs into prefixes,
and counts what the rest of the run refutes; those on half of the data sets are held back.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import real_runs
from certificate_families import FAMILIES, HELD_BACK, Case
from common import folder, heading, options_parser, write

import amcore
from amcore.analysis import Certificate, certify

Families = Mapping[str, Callable[[np.random.Generator], Case]]

HELD_BACK_FROM = 1000  # the first seed


def certified(case: Case) -> Certificate:
    options = dict(case.options)
    dtype = options.pop("dtype", None)
    trace = amcore.Trace.from_arrays(case.f, case.g, case.decrease, dtype=dtype)
    return certify(trace, **options)


def score(case: Case, cert: Certificate) -> dict[str, Any]:
    """Outcome by property (right, wrong, undecided, open), coverage by interval, bound."""
    verdicts = {name: told.verdict for name, told in cert.verdicts.items()}
    truth, kl, decay = case.truth, cert.kl, cert.kl.decay
    outcome: dict[str, str] = {}

    def put(name: str, said: Any, right: bool, area: str) -> None:
        told = "undecided" if said in (None, "undecided") else "right" if right else "wrong"
        outcome[name] = "open" if told == "undecided" and area in case.open else told

    for name in ("A1", "A2", "critical"):
        if name in truth:
            put(name, verdicts[name], verdicts[name] == truth[name], name)
    if truth.get("KL") == "not holds":
        if verdicts["KL"] == "holds":
            outcome["KL"] = "wrong"
    elif "theta" in truth:
        said = kl.theta
        right = said is not None and abs(said - truth["theta"]) <= 0.05
        put("KL", said, right, "KL")
    if "kind" in truth:
        put("decay", decay.kind, decay.kind == truth["kind"], "decay")
    elif truth.get("rate") == "not holds" and decay.kind != "undecided":
        outcome["rate"] = "wrong" if verdicts["rate"] == "holds" else "right"
    if "theorem" in truth:
        theorem = cert.rate.theorem if verdicts["rate"] == "holds" else None
        same = theorem == truth["theorem"] or (theorem == "4.2" and truth["theorem"] == "4.1 (ii)")
        put("rate", theorem, same, "rate")

    covered: dict[str, bool] = {}

    def cover(name: str, interval: Any, value: float | None) -> None:
        if interval is not None and value is not None:
            slack = 1e-12 * abs(value)
            covered[name] = bool(interval[0] - slack <= value <= interval[1] + slack)

    if "theta" in truth:
        cover("theta", kl.theta_interval, truth["theta"])
    cover("eta", decay.eta_interval, truth.get("eta"))
    cover("p", decay.exponent_interval, truth.get("exponent"))
    if case.gap is not None and kl.remainder is not None and not kl.f_star_given:
        cover("remainder", kl.remainder_interval, float(case.gap[-1]))
    broken = False
    values = cert.rate.values
    if verdicts["rate"] == "holds" and values.size and case.gap is not None:
        stated = np.isfinite(values)
        broken = bool((values[stated] < case.gap[stated] * (1 - 1e-6)).any())
    return {"outcome": outcome, "covered": covered, "broken": broken}


def known_truth(families: Families, seeds: range, verbose: bool = False) -> dict[str, Any]:
    outcomes: Counter[tuple[str, str]] = Counter()
    coverage: dict[str, list[bool]] = {}
    broken, errors, wrong = 0, [], Counter()
    for name, make in families.items():
        for seed in seeds:
            case = make(np.random.default_rng([seed, len(name)]))
            try:
                cert = certified(case)
            except Exception as error:  # counted: certify has no right to raise here
                errors.append(f"{name} {seed}: {error!r}")
                continue
            scored = score(case, cert)
            outcomes.update(scored["outcome"].items())
            for interval, hit in scored["covered"].items():
                coverage.setdefault(interval, []).append(hit)
                if verbose and not hit:
                    print("  missed", name, seed, interval)
            broken += scored["broken"]
            for prop, told in scored["outcome"].items():
                if told in ("wrong", "undecided"):
                    wrong[told, prop, name] += 1
            if verbose and scored["broken"]:
                print("  broken", name, seed)
    table = {}
    for prop in sorted({prop for prop, _ in outcomes}):
        right, bad, undecided, open_ = (
            outcomes[prop, told] for told in ("right", "wrong", "undecided", "open")
        )
        decided = right + bad
        table[prop] = {
            "right": right,
            "wrong": bad,
            "undecided": undecided,
            "open": open_,
            "right_of_decided": right / decided if decided else math.nan,
            "decided": decided / (decided + undecided) if decided + undecided else math.nan,
        }
    covered = {
        name: {"count": len(hits), "share": float(np.mean(hits))} for name, hits in coverage.items()
    }
    if verbose:
        for key, count in sorted(wrong.items()):
            print("  ", *key, count)
    return {"properties": table, "coverage": covered, "bounds_broken": broken, "errors": errors}


def refuted(cert: Certificate, trace: amcore.Trace) -> list[str]:
    """What the whole run says against the certificate of its prefix."""
    against = []
    verdicts = {name: told.verdict for name, told in cert.verdicts.items()}
    sweeps = len(cert.trace)
    f, g = trace.objective, trace.subgradient_distance
    noise = 64 * np.finfo(trace.dtype).eps * abs(f[-1])
    interval = cert.kl.f_star_interval
    if interval is not None and f[-1] < interval[0] - noise:
        against += [name for name in ("KL", "rate") if verdicts[name] == "holds"]
    a1 = next((a for a in cert.decrease if a.verdict.verdict == "holds"), None)
    if verdicts["A1"] == "holds" and a1 is not None:
        later = amcore.sufficient_decrease(trace, a1.j)
        if np.nanmin(later.ratio[sweeps:], initial=np.inf) < 0 or later.verdict.verdict == "fails":
            against.append("A1")
    if (
        verdicts["A1"] == "fails"
        and amcore.analysis.certify(trace).verdicts["A1"].verdict == "holds"
    ):
        against.append("A1 fails")
    if verdicts["critical"] == "holds" and np.nanmin(g[len(g) // 2 :]) > g[sweeps] * 1.5:
        against.append("critical")
    if verdicts["critical"] == "fails" and np.nanmin(g) < 0.1 * g[sweeps]:
        against.append("critical")
    return against


def cut_short(runs: Iterable[real_runs.Recorded], verbose: bool = False) -> dict[str, Any]:
    said: Counter[str] = Counter()
    against: Counter[str] = Counter()
    cut = deep = spoken = 0
    slowest = 0.0
    for made in runs:
        trace = made.trace
        for sweeps, run in made.cuts():
            began = time.perf_counter()
            cert = certify(run)
            slowest = max(slowest, time.perf_counter() - began)
            holds = [p for p, told in cert.verdicts.items() if told.verdict == "holds"]
            holds += [f"{p} fails" for p, told in cert.verdicts.items() if told.verdict == "fails"]
            said.update(holds)
            wrong = refuted(cert, trace)
            against.update(wrong)
            cut += 1
            g = cert.trace.subgradient_distance
            if np.nanmax(g) > 1e3 * g[-1]:
                deep += 1
                spoken += "KL" in holds or "critical" in holds
            if verbose and wrong:
                print("  refuted", made.stem.name, sweeps, wrong)
    total = sum(said.values())
    return {
        "prefixes": cut,
        "said": dict(said),
        "refuted": dict(against),
        "share_refuted": sum(against.values()) / total if total else 0.0,
        "g_down_1e3": deep,
        "limit_spoken_of": spoken,
        "seconds_at_most": slowest,
    }


def longest() -> float:
    """Seconds that 1e5 sweeps take."""
    k = np.arange(100_001.0)
    gap = (1 + k / 5) ** -2.0
    began = time.perf_counter()
    certify(objective=gap, subgradient_distance=gap**0.75)
    return time.perf_counter() - began


def show(result: dict[str, Any]) -> None:
    for prop, row in result["properties"].items():
        print(
            f"{prop:>9}: {row['right']:4} right {row['wrong']:3} wrong {row['undecided']:4}"
            f" undecided {row['open']:4} open   {row['right_of_decided']:.1%} of decided,"
            f" {row['decided']:.1%} decided"
        )
    told = ", ".join(f"{n} {c['share']:.1%} of {c['count']}" for n, c in result["coverage"].items())
    print(f"coverage: {told}\nbounds broken: {result['bounds_broken']}, errors {result['errors']}")


def main() -> None:
    parser = options_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="seeds of each half")
    parser.add_argument("--verbose", action="store_true", help="name what is wrong")
    parser.add_argument("--runs", type=folder, help="a folder of real runs, kept there")
    options = parser.parse_args()
    seeds = 2 if options.quick else options.seeds
    result = heading("certificate", options)
    for half, families, first in (
        ("tuning", FAMILIES, 1),
        ("held_back", FAMILIES | HELD_BACK, HELD_BACK_FROM),
    ):
        result[half] = known_truth(
            families, range(first, 2 * seeds + first, 2), options.verbose and first == 1
        )
        print(f"{half} half")
        show(result[half])
    with tempfile.TemporaryDirectory() as place:
        runs = list(real_runs.recorded(options.runs or Path(place)))
        result["real"] = {}
        for half, held_back in (("tuning", False), ("held_back", True)):
            part = [made for made in runs if made.held_back == held_back]
            result["real"][half] = cut_short(part, options.verbose and not held_back)
            print(f"{half} half of the real runs: {result['real'][half]}")
    result["seconds_for_1e5_sweeps"] = longest()
    write(result, Path(options.output) / "certificate.json")


if __name__ == "__main__":
    main()
