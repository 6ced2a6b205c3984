"""Write the report as one page: verdicts, figures, tables; and its headlines, which `compare` puts side by side."""

# Sentences and tables are laid out by hand.
# fmt: off
import html
from collections.abc import Mapping

from .draw import curves, dots, estimate, note, shell, spread, table, written

UNABLE = """This model cannot do the task. All that follows was measured on request: heads and channels of a task that a
 model cannot do mean nothing."""
STOPPED = "The report stops here: heads and channels of a task that a model cannot do mean nothing. See --anyway."
INTRO = """Intervals are 95%, over n prompts. Heads, components and settings were chosen on one half of the names,
 templates and nouns (the choosing half); all other numbers are from the other half."""


def page(report: Mapping) -> str:
    """Return the page of a report, as read from `report.json`."""
    model, sections = report["model"], report["sections"]
    title = f"Talking heads of {model['name']}"
    sizes = f"{model['layers']} layers of {model['heads']} heads, d_model {model['d_model']}. "
    parts = [f"<h1>{html.escape(title)}</h1>", note(sizes + INTRO)]
    for name, (heading, write) in WRITERS.items():
        if (found := sections.get(name)) is None:
            continue
        said, rest = (f"Not measured: {found['refused']}", "") if "refused" in found else write(found)
        parts.append(f"<section id='{name}'><h2>{heading}</h2>" + note(said, "verdict") + f"{rest}</section>")
        if name == "task" and not found["able"]:
            parts.append(note(UNABLE if len(sections) > 1 else STOPPED, "verdict"))
    minutes = sum(found["seconds"] for found in sections.values()) / 60
    made = [f"Measured {report['made']} in {minutes:.1f} min, with {report['peak_gb']} GB at the peak.",
            f"Model {report['key']['fingerprint']}, code {report['key']['code']}, schema {report['schema']}.",
            *(f"{name.capitalize()}: {', '.join(f'{k} {v}' for k, v in of.items())}."
              for name, of in (("settings", report["key"]["settings"]), ("versions", report["versions"])))]
    return shell(title, "".join(parts) + "<footer><h2>How this was made</h2>" + "".join(map(note, made)) + "</footer>")


def task(found: Mapping) -> tuple[str, str]:
    """Say whether the model can do IOI, and how well."""
    said = (f"The model prefers the right name in {written(found['accuracy'])} of {found['n']} prompts. By our rule, "
            f"an interval above {found['needed']} where chance is {found['chance']}, it "
            f"{'can' if found['able'] else 'cannot'} do the task.")
    rows = [("right name preferred", found["accuracy"]), ("right name most likely of all tokens", found["top1"]),
            ("logit difference, right − wrong name", found["logit_difference"]),
            *((f"logit difference, {order}", of) for order, of in found["orders"].items()),
            ("control: logit difference, no name repeated", found["control"]["no name repeated"])]
    rows = [(name, of, of["n"]) for name, of in rows]
    return said, note(f"For example: “{found['example']} …”") + table(["", "estimate", "n"], rows)


def circuit(found: Mapping) -> tuple[str, str]:
    """Say which heads have which role, and whether they are enough."""
    faith, other, forced = found["faithfulness"], found["control"], ", ".join(found["forced"])
    kept, out = faith["control"]["kept"], faith["control"]["out"]
    better = "is better than all of them" if faith["keep"]["low"] > max(kept) else "does not stand out from them"
    said = (f"{faith['size']} of {faith['of']} heads have a role. Kept alone, the others resample-ablated, they leave "
            f"{written(faith['keep'])} of the logit difference. Random circuits with as many heads per layer leave "
            f"{min(kept):.2f} to {max(kept):.2f}: the circuit {better}.")
    rows = [(one["role"], one["head"], one["what"], one, one["n"]) for one in found["heads"]]
    rows.append(("control: strongest other head", other["head"], "mean share of the movers' gap", other, found["n"]))
    how = (f"No head passed for {forced}: the strongest candidate stands in. " if forced else "") + (
        "Choosing half. Thresholds: " + ", ".join(f"{name} {x}" for name, x in found["thresholds"].items())
        + ". Heads in each role: " + ", ".join(f"{role} {len(heads)}" for role, heads in found["roles"].items()) + "."
    )
    figure = dots({"circuit kept": faith["keep"], "random circuits kept": kept, "circuit taken out": faith["out"],
                   "random circuits taken out": out}, "Is the circuit enough, and is it needed?",
                  f"share of the logit difference left, n = {faith['n']}", {"nothing": 0.0, "all": 1.0})
    return said, figure + table(["role", "head", "measure", "estimate", "n"], rows) + note(how)


def components(found: Mapping) -> tuple[str, str]:
    """Say how far the weights alone show the channel."""
    best = max(found["edges"], key=lambda edge: edge["z"])
    carry = sum(abs(one["carried"]) > 0.1 for one in found["top"])
    said = (f"The best component of an S-inhibition head, {written(best['component'])}, ranks {best['rank']} of "
            f"{best['of']:,} into mover {written(best['mover'])}. Among directions turned at random in its own head "
            f"its z is {best['z_rotated']:.1f}. Of the {len(found['top'])} highest scores of all heads {carry} "
            "move the gap by more than a tenth.")
    edges = [(e["component"], e["mover"], e["score"], e["null_high"], e["z_rotated"], e["z"],
              f"{e['rank']} of {e['of']:,}") for e in found["edges"]]
    figure = dots({f"components of {name}": values for name, values in found["scores"].items()},
                  f"Component scores into the query of mover {written(found['mover'])}", "composition score (Q)",
                  {"99.9% of random directions": found["control"]["any direction"][1]})
    top = [(one["component"], one["mover"], one["score"], one["carried"]) for one in found["top"]]
    return said, (
        figure + table(["component", "mover", "score", "99.9% of turned", "z, turned", "z, all", "rank"], edges)
        + note(f"Weights have no sampling error. Turned: {found['n']} directions of the same head. The highest pairs "
               "of all earlier heads, and what they carry in the choosing half:")
        + table(["component", "mover", "score", "share of the gap"], top)
    )


def channel(found: Mapping) -> tuple[str, str]:
    """Say whether a few numbers steer the movers."""
    said, rows, about, panels = [], [], [], {"movers' attention, IO − S1": {}, "logit difference": {}}
    if "weights" not in found["channels"]:
        said.append(f"By weights there is no channel: none of the {len(found['tried'])} best-ranked components takes "
                    f"more than {found['needed']:.0%} of the gap with it.")
    if "data" not in found["channels"]:
        said.append("By data there is none: no S-inhibition head writes the two orders differently, beyond chance.")
    for how, one in found["channels"].items():
        doses = {dose["factor"]: dose for dose in one["doses"]}
        before, after, random = doses[1]["gap"], doses[-1]["gap"], doses[-1]["control"]["gap"]
        does = ("turns it around" if after["high"] < 0 < before["low"] else "lowers it" if after["high"] < before["low"]
                else "does not lower it beyond the intervals")
        said.append(f"By {how} the channel is {named(one)}. Mirrored, it {does}: the movers' gap goes "
                    f"from {written(before)} to {written(after)}. Random directions of the same heads leave "
                    f"{written(random)}.")
        for panel, key in zip(panels, ("gap", "logit_difference"), strict=True):
            panels[panel][f"by {how}"] = {f: doses[f][key] for f in sorted(doses)}
            panels[panel][f"random, as {how}"] = {f: doses[f]["control"][key] for f in sorted(doses)}
        rows += [(f"by {how}", d["factor"], d["gap"], d["control"]["gap"], d["logit_difference"],
                  d["control"]["logit_difference"], d["accuracy"]) for d in one["doses"]]
        about += [(f"by {how}", name, near["component"], near["cosine"], area)
                  for name, near, area in zip(one["names"], one["nearest"], one["tells_order"], strict=True)]
    tried = [(one["component"], one["score"], one["lost"]) for one in found["tried"]]
    body = table(["tried by weights, best score first", "score", "share of the gap it takes, choosing half"], tried)
    if rows:
        columns = ["channel", "factor", "gap", "gap, random", "logit difference", "the same, random", "right name"]
        body = (curves(panels, "The channel, turned", "factor (1 natural, −1 mirrored)", ["attention", "logits"])
                + table(columns, rows)
                + table(["channel", "direction", "nearest component", "cosine", "tells the order, AUROC"], about)
                + body)
    return "\n".join(said), body + note(
        "A coordinate c becomes m + factor·(c − m), with m the middle of the two orders in the choosing half. By data: "
        "the direction of the mean difference between the orders in what an S-inhibition head writes. "
        f"n = {found['n']}. {'. '.join(found['left_out'])}")


def named(one: Mapping) -> str:
    """Name a channel in a sentence."""
    names = [name.removesuffix(" by data") for name in one["names"]]
    return ", ".join(names) if names == one["names"] else f"one direction each of {' and '.join(names)}"


def lists(found: Mapping) -> tuple[str, str]:
    """Say how accuracy falls with the length of the list, and what steering adds."""
    lengths, steer = {int(n): of for n, of in found["lengths"].items()}, found["steering"]
    (first, start), *_, (last, end) = lengths.items()
    over = ", ".join(str(n) for n, of in lengths.items() if of["accuracy"]["low"] > of["chance"])
    said = (f"With {first} items the model finds the right one in {written(start['accuracy'])} of the lists. With "
            f"{last} items it finds it in {written(end['accuracy'])}. It is above chance with {over or 'no'} items.")
    panels = {"by length": {name: {n: of[key] for n, of in lengths.items()}
                            for name, key in (("among the items", "accuracy"), ("chance", "chance"))},
              "by place of the answer": {f"{n} items": dict(enumerate(of["places"], 1)) for n, of in lengths.items()}}
    body = curves(panels, "The Laundry List", "items, or place", ["share correct"] * 2) + table(
        ["items", "accuracy", "top-1 of all tokens", "chance", "n"],
        [(n, of["accuracy"], of["top1"], of["chance"], of["accuracy"]["n"]) for n, of in lengths.items()])
    for how, one in steer.items():
        control, noise = one["control"], one["control"]["contrasts"]
        more = "more" if one["contrast"]["low"] > max(0, *noise) else "no more"
        said += (f"\nSet by an oracle that knows the place, the channel by {how} changes accuracy with {one['items']} "
                 f"items by {estimate(one['gain']):+.2f}. Set to the right instead of a wrong place it changes it by "
                 f"{estimate(one['contrast']):+.2f}. Random directions searched as hard do so by {min(noise):+.2f} to "
                 f"{max(noise):+.2f}: the channel commands the place {more} than they do.")
        body += dots(
            {"unsteered": one["unsteered"], "set to the right place": one["steered"],
             "set to a wrong place": control["wrong place"], "random directions, right place": control["steered"]},
            f"Steering by {how}, {named(one)}, with {one['items']} items, on nouns never searched",
            f"share correct, n = {one['n']}", {"chance": 1 / one["items"]})
    return said if steer else f"{said} There is no channel to steer with.", body


WRITERS = {"task": ("Can it do the task?", task), "circuit": ("The circuit", circuit),
           "components": ("What the weights say", components), "channel": ("The channel", channel),
           "lists": ("The Laundry List", lists)}


def headlines(report: Mapping) -> dict[str, object]:
    """Gather the numbers that reports are compared by: name -> estimate, number or text."""
    found, rows = {n: s for n, s in report["sections"].items() if "refused" not in s}, {}
    if one := found.get("task"):
        rows |= {"IOI: right name preferred": one["accuracy"], "IOI: logit difference": one["logit_difference"],
                 "IOI: logit difference, no name repeated": one["control"]["no name repeated"]}
    if one := found.get("circuit"):
        faith = one["faithfulness"]
        rows |= {f"circuit: {role}": ", ".join(map(written, one["roles"][role]))
                 for role in ("name mover", "S-inhibition")}
        rows |= {"circuit: share of all heads": faith["size"] / faith["of"], "circuit: kept alone": faith["keep"],
                 "circuit: random ones kept": spread(faith["control"]["kept"]), "circuit: taken out": faith["out"]}
    if one := found.get("components"):
        best = max(one["edges"], key=lambda edge: edge["z"])
        rows |= {"weights: best component": f"{written(best['component'])}, {best['rank']} of {best['of']:,}",
                 "weights: its z among turned directions": best["z_rotated"]}
    for how, one in found.get("channel", {}).get("channels", {}).items():
        for dose in one["doses"]:
            at = f"channel by {how}, factor {dose['factor']}:"
            rows |= {f"{at} gap": dose["gap"], f"{at} gap, random": dose["control"]["gap"],
                     f"{at} logit difference": dose["logit_difference"]}
    if one := found.get("lists"):
        rows |= {f"list of {n}: accuracy": of["accuracy"] for n, of in one["lengths"].items()}
        for how, steer in one["steering"].items():
            rows |= {f"steering by {how}: gain": steer["gain"],
                     f"steering by {how}: right minus wrong": steer["contrast"],
                     f"steering by {how}: the same, random": spread(steer["control"]["contrasts"])}
    return rows
